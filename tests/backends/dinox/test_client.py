"""Faults of the service and the network, and what a call does about them."""

import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from dinox_mcp.backends.base import Call
from dinox_mcp.backends.dinox.backend import DinoxBackend
from dinox_mcp.backends.dinox.tasks import RetrySettings
from dinox_mcp.errors import (
    BackendError,
    BusyError,
    DeadlineError,
    KeyRejectedError,
    QuotaError,
    ServiceError,
    UnreachableError,
)
from dinox_mcp.types.detection import DetectionRequest
from tests.backends.dinox.conftest import QUICK, Connect, plain
from tests.emulator import Emulator

pytestmark = pytest.mark.anyio

DOG = DetectionRequest(prompts=("dog",))
REFUSALS = [
    ("bad-key", KeyRejectedError, r"HTTP 401.*check DINOX_API_KEY.*X-DINOX-API-Key"),
    ("403", KeyRejectedError, "HTTP 403"),
    ("quota", QuotaError, "Token out of Quota.*add credit"),
    ("402", QuotaError, "HTTP 402"),
    ("400", ServiceError, "HTTP 400.*bbox_threshold: out of range"),
    ("413", ServiceError, "too large.*DINOX_MCP_UPLOAD_MAX_SIDE"),
    ("html", ServiceError, r"text/html.*HTTP 200.*DINOX_API_BASE_URL"),
    ("truncated", ServiceError, "application/json that is not a JSON object"),
    ("302", ServiceError, "redirects.*DINOX_API_BASE_URL"),
]
BREAKDOWNS = [
    ("500", ServiceError, "HTTP 500.*try again"),
    ("503", ServiceError, "HTTP 503"),
    ("429", BusyError, "HTTP 429.*wait 5 s"),
    ("202001", BusyError, "code 202001"),
    ("rate", BusyError, "Token exceeds Rate Limit"),
    ("drop", UnreachableError, "127.0.0.1.*check the network"),
]


@pytest.mark.parametrize(("fault", "error", "words"), REFUSALS)
async def test_a_refusal_of_the_request_is_raised_at_once(
    dinox: DinoxBackend, emulator: Emulator, fault: str, error: type[BackendError], words: str
) -> None:
    emulator.faults.create.append(fault)

    with pytest.raises(error, match=words):
        await dinox.detect(plain(), DOG, Call())

    assert emulator.stats().requests == 1


@pytest.mark.parametrize(("fault", "error", "words"), [REFUSALS[2], REFUSALS[7]])
async def test_a_refusal_of_a_poll_is_raised_at_once(
    dinox: DinoxBackend, emulator: Emulator, fault: str, error: type[BackendError], words: str
) -> None:
    emulator.faults.poll.append(fault)

    with pytest.raises(error, match=words):
        await dinox.detect(plain(), DOG, Call())

    assert (emulator.stats().creates, emulator.stats().polls) == (1, 1)


@pytest.mark.parametrize(
    ("where", "fault"), [*(("create", fault) for fault, _, _ in BREAKDOWNS), ("poll", "500"), ("poll", "drop")]
)
@pytest.mark.slow
async def test_a_breakdown_is_tried_again_and_paid_once(
    dinox: DinoxBackend, emulator: Emulator, where: str, fault: str
) -> None:
    getattr(emulator.faults, where).extend([fault, fault])

    found = await dinox.detect(plain(), DOG, Call())

    assert len(found.objects) == 1
    assert emulator.stats().requests == 4
    assert emulator.stats().paid == 1


@pytest.mark.parametrize(("fault", "error", "words"), BREAKDOWNS)
@pytest.mark.slow
async def test_a_breakdown_that_stays_is_raised_in_the_end(
    dinox: DinoxBackend, emulator: Emulator, fault: str, error: type[BackendError], words: str
) -> None:
    emulator.faults.every_create = fault

    with pytest.raises(error, match=words):
        await dinox.detect(plain(), DOG, Call())

    assert emulator.stats().requests == QUICK.attempts


async def test_a_breakdown_of_polls_that_stays_is_raised_in_the_end(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.faults.every_poll = "500"

    with pytest.raises(ServiceError, match=r"HTTP 500.*try again"):
        await dinox.detect(plain(), DOG, Call())

    assert emulator.stats().requests == 1 + QUICK.attempts


async def test_a_task_id_that_would_lead_elsewhere_is_not_followed(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.faults.create.append("bad-uuid")

    with pytest.raises(ServiceError, match=r"no usable task_uuid.*elsewhere"):
        await dinox.detect(plain(), DOG, Call())

    assert emulator.stats().polls == 0


async def test_a_lost_reply_is_asked_for_again_and_paid_once(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.faults.create.append("drop-after")

    await dinox.detect(plain(), DOG, Call())

    assert (emulator.stats().creates, emulator.stats().paid) == (2, 1)


async def test_a_request_that_hangs_is_given_up_and_sent_again(connect: Connect, emulator: Emulator) -> None:
    emulator.faults.create.append("hang")
    backend = connect(retry=RetrySettings(first_s=0.01, first_poll_s=0.01, reply_s=0.1))

    found = await backend.detect(plain(), DOG, Call())

    assert len(found.objects) == 1


@pytest.mark.parametrize(
    ("fault", "words"), [("failed", "failed .without a reason.*try again"), ("empty", "succeeded without a result")]
)
async def test_a_task_that_fails_is_reported(dinox: DinoxBackend, emulator: Emulator, fault: str, words: str) -> None:
    emulator.faults.create.append(fault)

    with pytest.raises(ServiceError, match=words):
        await dinox.detect(plain(), DOG, Call())


async def test_the_service_is_waited_for_as_long_as_it_asks(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.faults.create.append("429:0.3")
    start = time.perf_counter()

    await dinox.detect(plain(), DOG, Call())

    assert time.perf_counter() - start >= 0.3


async def test_a_pause_beyond_the_deadline_is_not_begun(connect: Connect, emulator: Emulator) -> None:
    emulator.faults.create.append("503:3600")

    with anyio.fail_after(10), pytest.raises(ServiceError, match="HTTP 503"):
        await connect(timeout_s=60).detect(plain(), DOG, Call())


@pytest.mark.parametrize(
    ("fault", "words"),
    [("never", "task goes on there.*not paid twice"), ("hang", "no sign that it took the request")],
)
@pytest.mark.slow
async def test_the_deadline_ends_a_call_and_says_what_became_of_the_task(
    connect: Connect, emulator: Emulator, fault: str, words: str
) -> None:
    emulator.faults.create.append(fault)

    with pytest.raises(DeadlineError, match=rf"within \d s.*{words}.*DINOX_MCP_TIMEOUT_S"):
        await connect(timeout_s=1).detect(plain(), DOG, Call())


async def test_a_service_that_is_not_there_names_its_address(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"

    with pytest.raises(UnreachableError, match=f"{address}.*DINOX_API_BASE_URL"):
        await connect(api_base_url=f"http://{address}").detect(plain(), DOG, Call())


async def test_the_outcome_of_each_request_is_logged_without_key_or_picture(
    dinox: DinoxBackend, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dinox_mcp")
    emulator.faults.create.extend(["500", "drop"])

    await dinox.detect(plain(), DOG, Call())

    lines = [record.getMessage() for record in caplog.records if record.name.startswith("dinox_mcp")]
    assert "POST /v2/task/dinox/detection: HTTP 500" in lines[0]
    assert "POST /v2/task/dinox/detection: no reply" in lines[1]
    assert "POST /v2/task/dinox/detection: HTTP 200" in lines[2]
    assert "GET /v2/task_status/" in lines[3]
    assert emulator.key not in "".join(lines)
    assert "base64" not in "".join(lines)


async def test_a_closed_backend_asks_no_more(dinox: DinoxBackend, emulator: Emulator) -> None:
    await dinox.detect(plain(), DOG, Call())
    await dinox.aclose()

    with pytest.raises(UnreachableError, match="closed"):
        await dinox.detect(plain(colour="red"), DOG, Call())

    assert emulator.stats().creates == 1


async def test_closing_ends_the_calls_that_still_run(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.faults.create.append("hang")

    async def ask() -> None:
        with pytest.raises(UnreachableError):
            await dinox.detect(plain(), DOG, Call())

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.sleep(0.1)
            await dinox.aclose()


async def test_a_call_that_was_about_to_be_sent_when_the_backend_closed_is_not(
    dinox: DinoxBackend, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def closing(_key: object) -> AsyncIterator[None]:
        await dinox.aclose()
        yield

    monkeypatch.setattr(dinox._client._limiter, "slot", closing)

    with pytest.raises(UnreachableError, match="closed"):
        await dinox.detect(plain(), DOG, Call())

    assert emulator.stats().requests == 0
