"""One request is one paid task, however often it is interrupted or repeated; and requests keep to the rate of a key."""

import math
import random
import re
import statistics
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from uuid import UUID

import anyio
import pytest
from pydantic import SecretStr

from dinox_mcp.backends.base import Call
from dinox_mcp.backends.dinox import client
from dinox_mcp.backends.dinox.backend import DinoxBackend
from dinox_mcp.backends.dinox.request import ApiRequest
from dinox_mcp.backends.dinox.tasks import Durations, RateLimiter, RetrySettings, TasksInFlight
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert len(tasks._shared) + len(tasks._unfinished) <= 12


def test_a_finished_task_is_not_remembered_but_counted() -> None:
    tasks = TasksInFlight(life_s=60)

    with tasks.use("request"):
        tasks.close("request", finished=True)

    assert not tasks._shared
    assert not tasks._unfinished
    with tasks.use("request") as shared:
        assert shared.task.number == 1


pytestmark = pytest.mark.anyio


async def test_a_key_sends_no_more_than_its_limit_in_any_window() -> None:
    limiter = RateLimiter(limit=3, window_s=0.1)
    times: list[float] = []

    async def send() -> None:
        async with limiter.slot("key"):
            times.append(anyio.current_time())

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(send)

    assert min(late - early for early, late in zip(times, times[3:], strict=False)) >= 0.099
    assert times[-1] - times[0] < 0.5


async def test_turns_come_in_the_order_of_asking() -> None:
    limiter = RateLimiter(limit=2, window_s=0.03)
    order: list[int] = []

    async def send(number: int) -> None:
        async with limiter.slot("key"):
            order.append(number)

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(send, number)

    assert order == list(range(8))


async def test_keys_do_not_wait_for_each_other() -> None:
    limiter = RateLimiter(limit=1, window_s=60)

    with anyio.fail_after(1):
        for key in range(20):
            async with limiter.slot(key):
                pass


async def test_one_who_leaves_the_queue_takes_no_turn() -> None:
    limiter = RateLimiter(limit=1, window_s=0.3)
    async with limiter.slot("key"):
        pass
    start = anyio.current_time()
    for _ in range(5):
        with anyio.move_on_after(0.01):
            async with limiter.slot("key"):
                pass

    async with limiter.slot("key"):
        pass

    assert anyio.current_time() - start < 1.5  # five more turns would take 1.5 seconds


async def test_keys_are_forgotten_once_their_requests_are_past() -> None:
    limiter = RateLimiter(limit=1, window_s=0.02)
    for key in range(1000):
        async with limiter.slot(key):
            pass
    await anyio.sleep(0.03)

    async with limiter.slot("one more"):
        pass

    assert len(limiter._keys) == 1


async def test_a_key_that_waits_is_not_forgotten() -> None:
    limiter = RateLimiter(limit=1, window_s=0.1)
    times: list[float] = []

    async def send() -> None:
        async with limiter.slot("waits"):
            times.append(anyio.current_time())

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(send)
        for key in range(30):
            async with limiter.slot(key):
                pass
            await anyio.sleep(0.01)

    assert all(late - early >= 0.099 for early, late in pairwise(times))


def polled(durations: Durations, takes: float) -> tuple[int, float]:
    """Poll a task as planned; tell how often, and how long after its end that saw it."""
    before = None
    for count, due in enumerate(durations.plan("kind"), start=1):
        if due >= takes:
            durations.learn("kind", due, before, due)
            return count, due - takes
        before = due
    raise AssertionError("a plan has no end")


@pytest.mark.parametrize("takes", [0.05, 0.4, 1.7, 6.0])
def test_what_always_takes_as_long_is_polled_when_it_is_due(takes: float) -> None:
    durations = Durations()
    for _ in range(5):
        polled(durations, takes)

    counts, delays = zip(*(polled(durations, takes) for _ in range(100)), strict=True)

    assert max(counts) <= 4
    assert statistics.mean(counts) <= 2.5
    assert max(delays) <= max(0.1, 0.08 * takes)


def test_what_varies_is_polled_across_its_spread() -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    durations = Durations()
    for _ in range(5):
        polled(durations, chance.uniform(0.3, 1.2))

    counts, delays = zip(*(polled(durations, chance.uniform(0.3, 1.2)) for _ in range(300)), strict=True)

    assert max(counts) <= 8
    assert statistics.mean(counts) <= 4
    assert statistics.mean(delays) <= 0.13


@pytest.mark.parametrize(("first", "then"), [(0.4, 2.0), (2.0, 0.4)])
def test_a_change_is_learned(first: float, then: float) -> None:
    durations = Durations()
    for takes in [first] * 20 + [then] * 12:
        polled(durations, takes)

    counts, delays = zip(*(polled(durations, then) for _ in range(20)), strict=True)

    assert max(counts) <= 4
    assert max(delays) <= 0.25


def test_a_poll_that_went_out_late_proves_nothing() -> None:
    durations = Durations()
    polled(durations, 0.4)
    expected = durations.expected("kind")

    durations.learn("kind", due=0.4, before=None, found=3.0)

    assert durations.expected("kind") == expected


def test_kinds_are_learned_apart() -> None:
    durations = Durations()
    polled(durations, 3.0)

    assert durations.expected("kind") == pytest.approx(3.0, rel=0.3)
    assert durations.expected("other kind") is None


def test_a_task_that_never_ends_is_polled_ever_more_rarely() -> None:
    plan = Durations().plan("kind")

    due = [next(plan) for _ in range(30)]

    pauses = [late - early for early, late in pairwise(due)]
    assert pauses == pytest.approx(sorted(pauses))
    assert max(pauses) == pytest.approx(2.0)


@pytest.mark.slow
async def test_after_a_few_calls_a_call_needs_few_polls(connect: Connect, emulator: Emulator) -> None:
    emulator.model_time = 0.1
    backend = connect()
    polls = []
    for number in range(6):
        before = emulator.stats().polls
        await backend.detect(plain(), DetectionRequest(prompts=(f"thing {number}",)), Call())
        polls.append(emulator.stats().polls - before)

    assert statistics.mean(polls[4:]) <= 4


@pytest.mark.slow
async def test_many_calls_of_a_key_stay_within_its_rate(
    connect: Connect, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine a request may take seconds to arrive: each counts here until it is answered.
    monkeypatch.setattr(client, "RateLimiter", partial(RateLimiter, slow_s=60.0))
    dinox = connect()
    emulator.keys.add("visitor")

    async def ask(number: int, key: str) -> None:
        request = DetectionRequest(prompts=(f"thing {number}",))
        await dinox.detect(plain(), request, Call(api_key=SecretStr(key)))

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(ask, number, emulator.key)
            group.start_soon(ask, number, "visitor")

    for key in (emulator.key, "visitor"):
        assert emulator.stats(key).busiest_second() <= 10
        assert emulator.stats(key).paid == emulator.stats(key).creates == 8


@pytest.mark.slow
async def test_progress_says_what_goes_on_and_only_grows(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.model_time = 0.2
    reported: list[tuple[float, str]] = []

    async def progress(fraction: float, message: str) -> None:
        reported.append((fraction, message))

    for _ in range(10):  # nothing is learned from a poll that this machine sends late
        reported.clear()
        await dinox.detect(plain(), DetectionRequest(), Call(progress))
        if "about" in reported[2][1]:
            break

    messages = [message for _, message in reported]
    fractions = [fraction for fraction, _ in reported]
    assert messages[:2] == ["preparing", "uploading 1 KB"]
    assert re.fullmatch(r"waiting \(about 0\.[1-9] s\)", messages[2])
    assert messages.count(messages[2]) >= 2
    assert all(early <= late < 1 for early, late in pairwise(fractions))


async def test_progress_reports_a_second_try(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.faults.create.append("503")
    messages: list[str] = []

    async def progress(_fraction: float, message: str) -> None:
        messages.append(message)

    await dinox.detect(plain(), DetectionRequest(), Call(progress))

    assert any(message.startswith("trying again in 0.0 s (") and "HTTP 503" in message for message in messages)
