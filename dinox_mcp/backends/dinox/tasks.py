"""Paid tasks of the service: shared by equal requests, never paid twice, and sent and polled at the right time."""

import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from cachetools import LRUCache, TTLCache

from dinox_mcp.errors import BackendError


@dataclass
class Task:
    """One paid task of the service; its id and time of creation once they are known.

    `number` counts the earlier tasks of the same request, and `begun` is the time of day at which this one was first
    requested, in seconds. Together with the request they make its idempotency key.
    """

    number: int = 0
    begun: float = field(default_factory=time.time)
    uuid: str | None = None
    created: float = 0.0

    def renew(self) -> None:
        """Become the next task of the same request: the service has forgotten this one."""
        self.number, self.begun, self.uuid = self.number + 1, time.time(), None


@dataclass
class SharedTask:
    """The task of equal requests: the call that holds the lock runs it, the others wait for its outcome."""

    task: Task
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    outcome: dict[str, Any] | BackendError | None = None
    users: int = 0


class TasksInFlight:
    """The tasks that calls wait for, and the last `limit` tasks without a result for `life_s` seconds each, by request.

    The number of finished tasks of a request is kept too, as the next one needs another idempotency key.
    """

    def __init__(self, life_s: float, limit: int = 1000) -> None:
        self._shared: dict[Hashable, SharedTask] = {}
        self._unfinished: TTLCache[Hashable, Task] = TTLCache(limit, life_s)
        self._finished: LRUCache[Hashable, int] = LRUCache(limit)

    @contextmanager
    def use(self, request: Hashable) -> Iterator[SharedTask]:
        """Join the task of an equal request, or take up the one that an earlier call left unfinished."""
        shared = self._shared.get(request)
        if shared is None:
            task = self._unfinished.pop(request, None) or Task(self._finished.get(request, 0))
            shared = self._shared[request] = SharedTask(task)
        shared.users += 1
        try:
            yield shared
        finally:
            shared.users -= 1
            if not shared.users and self._shared.get(request) is shared:
                self.close(request, finished=False)

    def close(self, request: Hashable, *, finished: bool) -> None:
        """Let later calls start anew: with the same task, unless it is finished.

        Calls that wait for the closed task still see its result or error.
        """
        task = self._shared.pop(request).task
        if finished:
            self._finished[request] = task.number + 1
        else:
            self._unfinished[request] = task


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """Attempts for one request, the pauses between them, and time limits.

    All times are in seconds. Pauses double from `first_s` up to `longest_s`. Each is shortened at random, to half at
    the least, so that calls that failed together do not come back together. Unfinished tasks are kept for
    `remember_s`. This is also the window of time in which equal requests have the same idempotency key, even after a
    restart. Progress is reported every `heartbeat_s`.
    """

    attempts: int = 5
    first_s: float = 0.5
    longest_s: float = 8.0
    first_poll_s: float = 0.25
    connect_s: float = 10.0
    reply_s: float = 20.0
    remember_s: float = 3600.0
    heartbeat_s: float = 1.0

    def pause(self, attempt: int, required_s: float | None) -> float:
        """Choose the pause after an attempt (1 for the first), at least what the service requires."""
        pause = min(self.first_s * 2.0 ** (attempt - 1), self.longest_s)
        return max(pause * random.uniform(0.5, 1), required_s or 0.0)  # noqa: S311 - spreads load, guards nothing


@dataclass
class _Slot:
    """One request: when it was sent, and when it was answered or given up (None: not yet)."""

    start: float
    end: float | None = None


@dataclass
class _Recent:
    """The requests of one key that still count; the call that will send the next one holds the lock."""

    slots: list[_Slot] = field(default_factory=list)
    lock: anyio.Lock = field(default_factory=anyio.Lock)


class RateLimiter:
    """Allows at most `limit` requests of one key in any `window_s` seconds, first come first served.

    The limit holds at the service too: a request may arrive there at any time before its answer, so it counts until
    `window_s` after the answer. An upload that takes longer than `slow_s` counts as sent by then, so that large
    uploads do not hold back small polls.
    """

    def __init__(self, limit: int = 10, window_s: float = 1.02, slow_s: float = 1.0) -> None:
        self._limit = limit
        self._window_s = window_s
        self._slow_s = slow_s
        self._keys: OrderedDict[Hashable, _Recent] = OrderedDict()

    @asynccontextmanager
    async def slot(self, key: Hashable) -> AsyncIterator[None]:
        """Wait until a request may be sent, and count it; a call that is cancelled while it waits does not count."""
        self._forget()
        recent = self._keys.setdefault(key, _Recent())
        self._keys.move_to_end(key)
        async with recent.lock:
            slot = await self._next(recent)
        try:
            yield
        finally:
            slot.end = anyio.current_time()

    async def _next(self, recent: _Recent) -> _Slot:
        while True:
            now = anyio.current_time()
            recent.slots = self._counting(recent)
            if len(recent.slots) < self._limit:
                recent.slots.append(_Slot(now))
                return recent.slots[-1]
            await anyio.sleep_until(min(self._counts_until(slot, now) for slot in recent.slots))

    def _counting(self, recent: _Recent) -> list[_Slot]:
        now = anyio.current_time()
        return [slot for slot in recent.slots if self._counts_until(slot, now) > now]

    def _counts_until(self, slot: _Slot, now: float) -> float:
        """Give the time until which a request counts, at the least."""
        return min(now if slot.end is None else slot.end, slot.start + self._slow_s) + self._window_s

    def _forget(self) -> None:
        """Drop the keys that were used longest ago, of which no request counts or waits any more."""
        while self._keys:
            key, recent = next(iter(self._keys.items()))
            if recent.lock.locked() or self._counting(recent):
                return
            del self._keys[key]


@dataclass
class _Estimate:
    """Mean and mean deviation of durations in seconds. Recent ones count most, as in TCP's estimate of its time-out."""

    mean: float
    spread: float
    count: int = 1

    @property
    def step(self) -> float:
        """The time between polls: four or five over the spread, and never less than 40 ms."""
        return max(0.04, 0.03 * self.mean, 0.9 * self.spread)

    def learn(self, duration: float) -> None:
        gain = max(0.25, 1 / (self.count + 1))
        error = duration - self.mean
        self.count += 1
        self.mean += gain * error
        # The floor keeps the first poll a little early, and so finds out when tasks become faster.
        self.spread = max(self.spread + gain * (abs(error) - self.spread), 0.02 * self.mean)


class Durations:
    """Learns how long tasks of a kind take, and plans when to poll for them.

    The first poll is due when the fastest tasks were done. More follow over the usual spread, then ever fewer. A task
    ended between two polls: the middle between them counts as its end.
    """

    SLOWEST_S = 2.0
    TOLERANCE_S = 0.05

    def __init__(self, first_s: float = 0.25) -> None:
        self._first_s = first_s
        self._known: dict[str, _Estimate] = {}

    def expected(self, kind: str) -> float | None:
        """Give the mean duration of a task in seconds; None before the first."""
        known = self._known.get(kind)
        return known.mean if known else None

    def plan(self, kind: str) -> Iterator[float]:
        """Give the times to poll, in seconds since the task was created, without end."""
        known = self._known.get(kind)
        if known is None:
            due, step, end, growth = self._first_s, self._first_s / 2, 0.0, 1.3
        else:
            step = known.step
            due, end, growth = known.mean - 2 * known.spread + step / 2, known.mean + 2 * known.spread, 1.5
        due = max(due, step / 2)
        while True:
            yield due
            if due > end:
                step = min(step * growth, self.SLOWEST_S)
            due += step

    def learn(self, kind: str, due: float, before: float | None, found: float) -> None:
        """Learn from a task that was done at the poll at `found`, planned for `due`, but not at the poll at `before`.

        A poll that was sent late, because of the rate limit or an error, is ignored.
        """
        if found - due > self.TOLERANCE_S:
            return
        known = self._known.get(kind)
        if before is None:  # it was done at the first poll, perhaps long before
            before = max(0.0, found - 3 * known.step) if known else 0.0
        middle = (before + found) / 2
        if known:
            known.learn(middle)
        else:
            self._known[kind] = _Estimate(middle, (found - before) / 2)
