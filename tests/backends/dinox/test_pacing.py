import random
import statistics
from functools import partial
from itertools import pairwise

import anyio
import pytest
from pydantic import SecretStr

from dinox_mcp.backends.base import Call
from dinox_mcp.backends.dinox import client
from dinox_mcp.backends.dinox.backend import DinoxBackend
from dinox_mcp.backends.dinox.pacing import Durations, RateLimiter
from dinox_mcp.types.detection import DetectionRequest
from tests.backends.dinox.conftest import Connect, plain
from tests.emulator import Emulator

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

    assert len(limiter) == 1


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


async def test_progress_says_what_goes_on_and_only_grows(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.model_time = 0.2
    reported: list[tuple[float, str]] = []

    async def progress(fraction: float, message: str) -> None:
        reported.append((fraction, message))

    for _ in range(2):
        reported.clear()
        await dinox.detect(plain(), DetectionRequest(), Call(progress))

    messages = [message for _, message in reported]
    fractions = [fraction for fraction, _ in reported]
    assert messages[:3] == ["preparing", "uploading 1 KB", "waiting (about 0.2 s)"]
    assert messages.count("waiting (about 0.2 s)") >= 3
    assert all(early <= late < 1 for early, late in pairwise(fractions))


async def test_progress_reports_a_second_try(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.faults.create.append("503")
    messages: list[str] = []

    async def progress(_fraction: float, message: str) -> None:
        messages.append(message)

    await dinox.detect(plain(), DetectionRequest(), Call(progress))

    assert any(message.startswith("trying again in 0.0 s (") and "HTTP 503" in message for message in messages)
