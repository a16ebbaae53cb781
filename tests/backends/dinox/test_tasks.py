"""One request is one paid task, however often it is interrupted or asked at the same time."""

import math
from collections.abc import Callable
from uuid import UUID

import anyio
import pytest
from pydantic import SecretStr

from dinox_mcp.backends.base import Call
from dinox_mcp.backends.dinox.backend import DinoxBackend
from dinox_mcp.backends.dinox.pacing import RetrySettings
from dinox_mcp.backends.dinox.tasks import TasksInFlight
from dinox_mcp.backends.dinox.wire.request import ApiRequest
from dinox_mcp.errors import BackendError, DeadlineError, QuotaError, ServiceError, UnreachableError
from dinox_mcp.types.detection import DetectionRequest, Detections
from tests.backends.dinox.conftest import QUICK, Connect, plain
from tests.emulator import Emulator

pytestmark = pytest.mark.anyio

DOG = DetectionRequest(prompts=("dog",))


async def ask(backend: DinoxBackend, call: Call | None = None) -> Detections:
    return await backend.detect(plain(), DOG, call or Call())


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - the emulator runs in a thread without events for it
            await anyio.sleep(0.005)


async def ask_and_cancel(backend: DinoxBackend, condition: Callable[[], bool]) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(ask, backend)
        await until(condition)
        group.cancel_scope.cancel()


async def leave_unfinished(backend: DinoxBackend, emulator: Emulator) -> None:
    """Ask and cancel once the task is polled; then let it finish."""
    emulator.model_time = math.inf
    await ask_and_cancel(backend, lambda: emulator.stats().polls > 0)
    emulator.model_time = 0.0
    emulator.finish()


async def test_a_cancelled_question_asked_again_is_picked_up(dinox: DinoxBackend, emulator: Emulator) -> None:
    await leave_unfinished(dinox, emulator)

    found = await ask(dinox)

    assert len(found.objects) == 1
    assert (emulator.stats().creates, emulator.stats().paid) == (1, 1)


async def test_a_request_past_its_deadline_is_picked_up(connect: Connect, emulator: Emulator) -> None:
    emulator.model_time = math.inf
    backend = connect(timeout_s=2)
    with pytest.raises(DeadlineError):
        await ask(backend)
    emulator.model_time = 0.0
    emulator.finish()

    found = await ask(backend)

    assert len(found.objects) == 1
    assert (emulator.stats().creates, emulator.stats().paid) == (1, 1)


async def test_a_request_that_lost_its_connection_is_picked_up(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.faults.every_poll = "drop"
    with pytest.raises(UnreachableError):
        await ask(dinox)
    emulator.faults.every_poll = ""

    await ask(dinox)

    assert (emulator.stats().creates, emulator.stats().paid) == (1, 1)


@pytest.mark.parametrize("fault", ["drop-after", "drop", "500", "202001"])
async def test_a_request_of_uncertain_fate_is_not_paid_twice(
    dinox: DinoxBackend, emulator: Emulator, fault: str
) -> None:
    emulator.faults.every_create = fault
    with pytest.raises(BackendError):
        await ask(dinox)
    emulator.faults.every_create = ""

    await ask(dinox)

    assert emulator.stats().paid == 1


async def test_a_request_cancelled_while_it_is_sent_is_not_paid_twice(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.faults.create.extend(["drop-after", "hang"])
    await ask_and_cancel(dinox, lambda: emulator.stats().creates == 2)

    await ask(dinox)

    assert (emulator.stats().creates, emulator.stats().paid) == (3, 1)


async def test_a_task_that_the_service_forgot_is_created_anew(dinox: DinoxBackend, emulator: Emulator) -> None:
    await leave_unfinished(dinox, emulator)
    emulator.faults.poll.append("lost")

    found = await ask(dinox)

    assert len(found.objects) == 1
    assert emulator.stats().paid == 2


async def test_a_task_that_is_not_known_everywhere_yet_is_asked_for_again(
    dinox: DinoxBackend, emulator: Emulator
) -> None:
    emulator.faults.poll.append("lost")

    await ask(dinox)

    assert (emulator.stats().paid, emulator.stats().polls) == (1, 2)


async def test_a_request_that_a_killed_server_asked_is_not_paid_again_after_its_restart(
    connect: Connect, emulator: Emulator
) -> None:
    emulator.model_time = math.inf
    await ask_and_cancel(connect(), lambda: emulator.stats().polls > 0)
    emulator.finish()

    found = await ask(connect())  # another process knows nothing of the first

    assert len(found.objects) == 1
    assert (emulator.stats().creates, emulator.stats().paid) == (2, 1)


async def test_a_request_that_is_answered_is_a_new_task_the_next_time(dinox: DinoxBackend, emulator: Emulator) -> None:
    await ask(dinox)
    await ask(dinox)

    assert emulator.stats().paid == 2


def test_the_idempotency_key_depends_on_who_pays_on_what_is_asked_and_on_the_window_of_time() -> None:
    def make(body: bytes = b"body", key: str = "owner", endpoint: str = "dinox/detection") -> ApiRequest:
        return ApiRequest(endpoint, body, SecretStr(key), "kind")

    key = make().idempotency_key(7000, 0, 3600)
    others = [
        make(b"another").idempotency_key(7000, 0, 3600),
        make(key="visitor").idempotency_key(7000, 0, 3600),
        make(endpoint="trex/detection").idempotency_key(7000, 0, 3600),
        make().idempotency_key(7000, 1, 3600),
        make().idempotency_key(7200, 0, 3600),
    ]

    assert key == make().idempotency_key(3600, 0, 3600)
    assert UUID(key).version == 4
    assert len({key, *others}) == 6


@pytest.mark.parametrize("fault", ["failed", "quota", "400"])
async def test_after_a_definite_no_the_request_is_a_new_one(
    dinox: DinoxBackend, emulator: Emulator, fault: str
) -> None:
    emulator.faults.create.append(fault)
    with pytest.raises((ServiceError, QuotaError)):
        await ask(dinox)

    found = await ask(dinox)

    assert len(found.objects) == 1


async def test_another_key_never_picks_up_a_task(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.keys.add("visitor")
    await leave_unfinished(dinox, emulator)

    await ask(dinox, Call(api_key=SecretStr("visitor")))

    assert (emulator.stats().paid, emulator.stats("visitor").paid) == (1, 1)


async def test_another_request_is_another_task(dinox: DinoxBackend, emulator: Emulator) -> None:
    await leave_unfinished(dinox, emulator)

    await dinox.detect(plain(), DetectionRequest(prompts=("dog",), min_score=0.5), Call())

    assert emulator.stats().paid == 2


async def test_a_task_is_remembered_for_a_while_only(connect: Connect, emulator: Emulator) -> None:
    backend = connect(retry=RetrySettings(first_poll_s=0.01, remember_s=0.05))
    await leave_unfinished(backend, emulator)
    await anyio.sleep(0.06)

    await ask(backend)

    assert emulator.stats().paid == 2


async def test_the_same_request_at_the_same_time_is_one_task(dinox: DinoxBackend, emulator: Emulator) -> None:
    answers: list[Detections] = []

    async def one() -> None:
        answers.append(await ask(dinox))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(one)

    assert len(answers) == 5
    assert all(answer == answers[0] for answer in answers)
    assert (emulator.stats().creates, emulator.stats().paid) == (1, 1)


@pytest.mark.parametrize("leaves", [0, 1], ids=["the first", "the second"])
async def test_one_of_two_may_leave(dinox: DinoxBackend, emulator: Emulator, leaves: int) -> None:
    emulator.model_time = math.inf
    answers: list[int] = []

    async def one(number: int, scope: anyio.CancelScope) -> None:
        with scope:
            await ask(dinox)
            answers.append(number)

    scopes = [anyio.CancelScope(), anyio.CancelScope()]
    async with anyio.create_task_group() as group:
        for number, scope in enumerate(scopes):
            group.start_soon(one, number, scope)
            await until(lambda: emulator.stats().polls > 0)
        await anyio.sleep(0.05)
        scopes[leaves].cancel()
        await anyio.sleep(0.05)
        emulator.finish()

    assert answers == [1 - leaves]
    assert (emulator.stats().creates, emulator.stats().paid) == (1, 1)


async def test_when_all_leave_the_polls_end(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.faults.create.append("never")
    async with anyio.create_task_group() as group:
        group.start_soon(ask, dinox)
        group.start_soon(ask, dinox)
        await until(lambda: emulator.stats().polls > 0)
        group.cancel_scope.cancel()
    await anyio.sleep(0.1)  # what was sent arrives
    polls = emulator.stats().polls

    await anyio.sleep(0.2)

    assert emulator.stats().polls == polls


async def test_those_who_ask_at_the_same_time_share_an_error(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.faults.every_create = "500"
    errors: list[str] = []

    async def one() -> None:
        with pytest.raises(ServiceError) as caught:
            await ask(dinox)
        errors.append(str(caught.value))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(one)

    assert len(errors) == 3
    assert len(set(errors)) == 1
    assert emulator.stats().creates == QUICK.attempts


async def test_a_second_asker_has_a_deadline_of_its_own(connect: Connect, emulator: Emulator) -> None:
    emulator.model_time = math.inf
    backend = connect(timeout_s=0.8, retry=RetrySettings(first_poll_s=0.1))
    ends: list[str] = []

    async def one(delay_s: float) -> None:
        await anyio.sleep(delay_s)
        try:
            ends.append((await ask(backend)).objects[0].label)
        except DeadlineError:
            ends.append("deadline")
            emulator.finish()

    async with anyio.create_task_group() as group:
        group.start_soon(one, 0)
        group.start_soon(one, 0.6)

    assert ends == ["deadline", "dog"]
    assert emulator.stats().paid == 1


def test_the_memory_of_unfinished_tasks_is_bounded() -> None:
    tasks = TasksInFlight(life_s=60, limit=10)
    for request in range(100):
        with tasks.use(request) as shared:
            shared.task.uuid = str(request)

    with tasks.use(99) as last, tasks.use(0) as first:
        assert last.task.uuid == "99"
        assert first.task.uuid is None
    assert len(tasks) <= 12


def test_a_finished_task_is_not_remembered_but_counted() -> None:
    tasks = TasksInFlight(life_s=60)

    with tasks.use("request"):
        tasks.close("request", finished=True)

    assert len(tasks) == 0
    with tasks.use("request") as shared:
        assert shared.task.number == 1
