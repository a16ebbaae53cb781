import json
import logging
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio
import pytest
from pydantic import SecretStr

from dinox_mcp.backends.base import Call
from dinox_mcp.backends.dinox.backend import DinoxBackend
from dinox_mcp.backends.dinox.pacing import Patience
from dinox_mcp.backends.dinox.replies import Failure, Verdict, read_reply, read_status
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
    ("truncated", ServiceError, "application/json that is no JSON object"),
    ("302", ServiceError, "redirects.*DINOX_API_BASE_URL"),
]
BREAKDOWNS = [
    ("500", ServiceError, "HTTP 500.*ask again"),
    ("503", ServiceError, "HTTP 503"),
    ("429", BusyError, "HTTP 429.*wait 5 s"),
    ("202001", BusyError, "code 202001"),
    ("rate", BusyError, "Token exceeds Rate Limit"),
    ("drop", UnreachableError, "127.0.0.1.*check the network"),
]


@pytest.mark.parametrize(("fault", "error", "words"), REFUSALS)
async def test_a_refusal_of_the_question_is_told_at_once(
    dinox: DinoxBackend, emulator: Emulator, fault: str, error: type[BackendError], words: str
) -> None:
    emulator.faults.create.append(fault)

    with pytest.raises(error, match=words):
        await dinox.detect(plain(), DOG, Call())

    assert emulator.stats().requests == 1


@pytest.mark.parametrize(("fault", "error", "words"), REFUSALS)
async def test_a_refusal_of_a_poll_is_told_at_once(
    dinox: DinoxBackend, emulator: Emulator, fault: str, error: type[BackendError], words: str
) -> None:
    emulator.faults.poll.append(fault)

    with pytest.raises(error, match=words):
        await dinox.detect(plain(), DOG, Call())

    assert (emulator.stats().creates, emulator.stats().polls) == (1, 1)


@pytest.mark.parametrize("fault", [fault for fault, _, _ in BREAKDOWNS])
@pytest.mark.parametrize("where", ["create", "poll"])
async def test_a_breakdown_is_tried_again_and_paid_once(
    dinox: DinoxBackend, emulator: Emulator, where: str, fault: str
) -> None:
    getattr(emulator.faults, where).extend([fault, fault])

    found = await dinox.detect(plain(), DOG, Call())

    assert len(found.objects) == 1
    assert emulator.stats().requests == 4
    assert emulator.stats().paid == 1


@pytest.mark.parametrize(("fault", "error", "words"), BREAKDOWNS)
@pytest.mark.parametrize("where", ["create", "poll"])
async def test_a_breakdown_that_stays_is_told_in_the_end(
    dinox: DinoxBackend, emulator: Emulator, where: str, fault: str, error: type[BackendError], words: str
) -> None:
    setattr(emulator.faults, f"every_{where}", fault)

    with pytest.raises(error, match=words):
        await dinox.detect(plain(), DOG, Call())

    assert emulator.stats().requests == QUICK.attempts + (where == "poll")


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
    backend = connect(patience=Patience(first_s=0.01, first_poll_s=0.01, reply_s=0.1))

    found = await backend.detect(plain(), DOG, Call())

    assert len(found.objects) == 1


@pytest.mark.parametrize(
    ("fault", "words"), [("failed", "failed .without a reason.*try again"), ("empty", "succeeded without a result")]
)
async def test_a_task_that_fails_is_told(dinox: DinoxBackend, emulator: Emulator, fault: str, words: str) -> None:
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
    [("never", "task goes on there.*not paid twice"), ("hang", "not even that it took the question")],
)
async def test_the_deadline_ends_a_call_and_says_what_became_of_the_task(
    connect: Connect, emulator: Emulator, fault: str, words: str
) -> None:
    emulator.faults.create.append(fault)

    with pytest.raises(DeadlineError, match=f"within 0 s.*{words}.*DINOX_MCP_TIMEOUT_S"):
        await connect(timeout_s=0.2).detect(plain(), DOG, Call())


async def test_a_service_that_is_not_there_is_told_with_its_address(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"

    with pytest.raises(UnreachableError, match=f"{address}.*DINOX_API_BASE_URL"):
        await connect(api_base_url=f"http://{address}").detect(plain(), DOG, Call())


async def test_a_broken_proxy_setting_is_told(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1")

    with pytest.raises(UnreachableError, match="proxy"):
        await connect().detect(plain(), DOG, Call())


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("ALL_PROXY", "socks5://user:sesame@127.0.0.1:1", r"ALL_PROXY is 'socks5://127.0.0.1:1'.*socksio"),
        ("ALL_PROXY", "ftp://proxy", "ALL_PROXY is 'ftp://proxy'"),
        ("HTTP_PROXY", "http://127.0.0.1:99999", "HTTP_PROXY is .* from 0 to 65535"),
        ("all_proxy", "http://[::1", "all_proxy is"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "SSL_CERT_FILE is '/nowhere/ca.pem', which is no file"),
        ("SSL_CERT_FILE", __file__, "SSL_CERT_FILE is .*which holds no certificates"),
    ],
)
async def test_a_setting_of_the_environment_that_does_not_work_is_named(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv(variable, value)
    backend = connect(api_base_url="http://192.0.2.1:1")  # a proxy is not asked about this machine

    with pytest.raises(UnreachableError, match=words) as caught:
        await backend.detect(plain(), DOG, Call())

    assert f"correct or unset {variable}" in str(caught.value)
    assert "sesame" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_where_nothing_is_wrong_with_the_environment_the_variables_that_are_set_are_named(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused.getsockname()[1]}")
        backend = connect(api_base_url="http://192.0.2.1:1")

        with pytest.raises(UnreachableError, match=r"check the network, HTTP_PROXY \(which is set\)"):
            await backend.detect(plain(), DOG, Call())


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


@pytest.mark.parametrize("status", ["failed", "error", "ERROR", "cancelled", "timeout", "expired"])
async def test_a_task_that_ends_without_a_result_ends_the_call(status: str) -> None:
    with pytest.raises(Failure, match=r"the DINO-X task failed .*out of memory") as caught:
        read_status({"status": status, "error": "out of memory"}, SecretStr("sesame"))

    assert caught.value.verdict is Verdict.FINAL


@pytest.mark.parametrize("status", ["waiting", "running", "pending", "queued", "thinking", None])
async def test_a_task_of_any_other_status_goes_on(status: str | None) -> None:
    assert read_status({"status": status, "error": ""}, SecretStr("sesame")) is None


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


@pytest.mark.parametrize(("own", "words"), [(None, "none is set.*DINOX_API_KEY"), ("", "none is set")])
async def test_without_a_key_the_error_says_where_to_put_it(connect: Connect, own: str | None, words: str) -> None:
    call = Call(api_key=None if own is None else SecretStr(own))

    with pytest.raises(KeyRejectedError, match=f"{words}.*X-DINOX-API-Key"):
        await connect(api_key=None).detect(plain(), DOG, call)


@pytest.mark.parametrize("key", ["two words", "line\r\nX-Injected: yes", "schlüssel", "\x00"])
async def test_what_cannot_be_a_key_is_refused_without_showing_it(dinox: DinoxBackend, key: str) -> None:
    with pytest.raises(KeyRejectedError) as caught:
        await dinox.detect(plain(), DOG, Call(api_key=SecretStr(key)))

    assert key not in str(caught.value)


async def test_a_callers_own_key_pays_for_the_call(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.keys.add("visitor")

    await dinox.detect(plain(), DOG, Call(api_key=SecretStr("visitor")))

    assert (emulator.stats("visitor").paid, emulator.stats().paid) == (1, 0)


@pytest.mark.parametrize("key", ["wrong-key", "odd\"key\\with/all'kinds"])
async def test_a_key_that_the_service_echoes_is_not_passed_on(
    connect: Connect, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    backend = connect(api_key=key)

    with pytest.raises(KeyRejectedError, match=r"Token \[key\] is invalid") as caught:
        await backend.detect(plain(), DOG, Call())

    shown = repr(caught.value) + str(caught.value.__dict__) + repr(backend) + caplog.text
    assert "/v2/task/dinox/detection" in caplog.text
    assert key not in shown


def reply(status: int, content: bytes, **headers: str) -> Failure:
    with pytest.raises(Failure) as caught:
        read_reply(status, headers, content, SecretStr("sesame"))
    return caught.value


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}",
        b'{"code": 0}',
        b'{"code": 0, "data": null}',
        b'{"code": 0, "data": [1]}',
        b'{"code": 0, "msg": {"a": 1}, "data": 1}',
        b"1" * 5000,
    ],
    ids=lambda content: repr(content[:30]),
)
def test_no_content_breaks_the_reader(content: bytes) -> None:
    failure = reply(200, content)

    assert isinstance(failure.error, ServiceError)
    assert failure.verdict is Verdict.UNCLEAR


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("Token is invalid", KeyRejectedError),
        ("invalid token", KeyRejectedError),
        ("Unauthorized", KeyRejectedError),
        ("Token out of Quota", QuotaError),
        ("Token exceeds Rate Limit", BusyError),
        ("Resource Not Found", ServiceError),
        ("prompt exceeds 77 tokens", ServiceError),
        (None, ServiceError),
        (["a", 1], ServiceError),
    ],
    ids=str,
)
def test_a_code_in_a_200_is_told_by_its_message(message: object, error: type[BackendError]) -> None:
    failure = reply(200, json.dumps({"code": 17, "msg": message}).encode())

    assert type(failure.error) is error
    assert "code 17" in str(failure)


@pytest.mark.parametrize(
    ("text", "pause"),
    [
        ("3", 3),
        (" 0.5 ", 0.5),
        ("-1", 0),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("1e300", 86_400),
        (format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True), 0),
    ],
)
def test_retry_after_is_read_in_all_its_forms(text: str, pause: float | None) -> None:
    assert reply(429, b"", **{"retry-after": text}).after == pause


def test_retry_after_may_be_a_date() -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)

    assert reply(503, b"", **{"retry-after": then}).after == pytest.approx(30, abs=2)


@pytest.mark.parametrize("status", [200, 201, 202])
def test_data_is_data_with_any_status_of_success(status: int) -> None:
    assert read_reply(status, {}, b'{"code": "0", "data": {"a": 1}}', SecretStr("sesame")) == {"a": 1}


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 413, 418, 429, 500, 504, 599])
def test_every_failure_is_one_line_of_bounded_length_without_the_key(status: int) -> None:
    body = '{"msg": "Sesame\\nopen sesame", "errors": ["' + "sesame x" * 1000 + '"]}'

    message = str(reply(status, body.encode()))

    assert len(message) < 900
    assert "\n" not in message
    assert "sesame" not in message.lower()
    assert f"HTTP {status}" in message
    assert "; " in message
