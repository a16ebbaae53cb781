"""When to send and how often to try: rates of a key, patience, and requests that are already under way."""

import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import anyio

from dinox_mcp.errors import BackendError


@dataclass(frozen=True, slots=True)
class Patience:
    """Attempts for one request, the pauses between them, and how long things are waited for or remembered.

    All times are in seconds. Pauses double from `first_s` up to `longest_s`, shortened by chance to as little
    as half, so that calls which failed together do not come back together. `remember_s` is also the window of time
    within which the same question has the same idempotency key, even after a restart.
    """

    attempts: int = 5
    first_s: float = 0.5
    longest_s: float = 8.0
    first_poll_s: float = 0.25
    connect_s: float = 10.0
    reply_s: float = 20.0
    remember_s: float = 3600.0
    heartbeat_s: float = 1.0

    def pause(self, attempt: int, asked_for: float | None) -> float:
        """Choose the pause after an attempt (1 for the first), at least what the service asked for."""
        pause = min(self.first_s * 2.0 ** (attempt - 1), self.longest_s)
        return max(pause * random.uniform(0.5, 1), asked_for or 0.0)  # noqa: S311 - spreads load, guards nothing


@dataclass
class Task:
    """One paid task of the service; its id and time of creation once they are known.

    `number` counts the earlier tasks of the same question, and `begun` is the time of day at which this one was first
    asked for, in seconds. Together with the question they make its idempotency key (see `Job.idempotency_key`).
    """

    number: int = 0
    begun: float = field(default_factory=time.time)
    uuid: str | None = None
    created: float = 0.0

    def renew(self) -> None:
        """Become the next task of the same question: the service has forgotten this one."""
        self.number, self.begun, self.uuid = self.number + 1, time.time(), None


@dataclass
class Ticket:
    """One question: whoever holds the lock works on its task, the others wait for what comes of it."""

    task: Task
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    outcome: dict[str, Any] | BackendError | None = None
    users: int = 0


class Tickets:
    """Open tickets by question, and the last `limit` tasks without an answer, for `life_s` seconds each.

    How many tasks of a question are finished is remembered too, as the next one needs another idempotency key.
    """

    def __init__(self, life_s: float, limit: int = 1000) -> None:
        self._life_s = life_s
        self._limit = limit
        self._open: dict[Hashable, Ticket] = {}
        self._unfinished: OrderedDict[Hashable, tuple[float, Task]] = OrderedDict()
        self._finished: OrderedDict[Hashable, int] = OrderedDict()

    def __len__(self) -> int:
        """Count what is remembered."""
        return len(self._open) + len(self._unfinished)

    @contextmanager
    def use(self, question: Hashable) -> Iterator[Ticket]:
        """Give the open ticket of a question, or one for the task that an earlier call left unfinished."""
        self._forget()
        if question not in self._open:
            _, task = self._unfinished.pop(question, (0.0, Task(self._finished.get(question, 0))))
            self._open[question] = Ticket(task)
        ticket = self._open[question]
        ticket.users += 1
        try:
            yield ticket
        finally:
            ticket.users -= 1
            if not ticket.users and self._open.get(question) is ticket:
                self.close(question, finished=False)

    def close(self, question: Hashable, *, finished: bool) -> None:
        """Let later callers ask anew, of the same task unless it is finished.

        Those who wait with the ticket that is closed see its result or error.
        """
        ticket = self._open.pop(question)
        if not finished:
            self._unfinished[question] = monotonic(), ticket.task
            return
        self._finished[question] = ticket.task.number + 1
        self._finished.move_to_end(question)
        while len(self._finished) > self._limit:
            self._finished.popitem(last=False)

    def _forget(self) -> None:
        oldest = monotonic() - self._life_s
        while self._unfinished:
            since, _ = next(iter(self._unfinished.values()))
            if since > oldest and len(self._unfinished) <= self._limit:
                break
            self._unfinished.popitem(last=False)


@dataclass
class _Slot:
    """One request: when it was sent, and when it was answered or given up."""

    start: float
    end: float | None = None


@dataclass
class _Lane:
    """The requests of one key that count yet, and how many calls of it wait or send now."""

    slots: list[_Slot] = field(default_factory=list)
    turn: anyio.Lock = field(default_factory=anyio.Lock)
    users: int = 0
    left: float = 0.0


class RateLimiter:
    """At most `limit` requests of one key in any `window_s` seconds, first come first served.

    That holds at the service too: a request counts until a window after its answer, as it may arrive there at
    any time before. One that is slow to be sent stops being waited for after `slow_s`, lest large uploads keep
    small polls from going out.
    """

    def __init__(self, limit: int = 10, window_s: float = 1.02, slow_s: float = 1.0) -> None:
        self._limit = limit
        self._window_s = window_s
        self._slow_s = slow_s
        self._busy: dict[Hashable, _Lane] = {}
        self._idle: OrderedDict[Hashable, _Lane] = OrderedDict()

    def __len__(self) -> int:
        """Count the keys that it remembers."""
        return len(self._busy) + len(self._idle)

    @asynccontextmanager
    async def turn(self, key: Hashable) -> AsyncIterator[None]:
        """Wait for a turn and take it for the block; a call that is cancelled while it waits takes none."""
        self._forget()
        if key not in self._busy:
            self._busy[key] = self._idle.pop(key, _Lane())
        lane = self._busy[key]
        lane.users += 1
        try:
            async with lane.turn:
                slot = await self._slot(lane)
            try:
                yield
            finally:
                slot.end = anyio.current_time()
        finally:
            lane.users -= 1
            if not lane.users:
                lane.left = anyio.current_time()
                self._idle[key] = self._busy.pop(key)

    async def _slot(self, lane: _Lane) -> _Slot:
        while True:
            now = anyio.current_time()
            lane.slots = [slot for slot in lane.slots if self._counts_until(slot, now) > now]
            if len(lane.slots) < self._limit:
                lane.slots.append(_Slot(now))
                return lane.slots[-1]
            await anyio.sleep_until(min(self._counts_until(slot, now) for slot in lane.slots))

    def _counts_until(self, slot: _Slot, now: float) -> float:
        """Tell until when a request counts, at the least."""
        return min(now if slot.end is None else slot.end, slot.start + self._slow_s) + self._window_s

    def _forget(self) -> None:
        """Drop the idle lanes of which no request counts any more: a new one would be no different."""
        past = anyio.current_time() - self._window_s
        while self._idle and next(iter(self._idle.values())).left < past:
            self._idle.popitem(last=False)


@dataclass
class _Estimate:
    """Mean and mean deviation of durations in seconds, recent ones counting most (as TCP learns its time-out)."""

    mean: float
    spread: float
    count: int = 1

    def learn(self, duration: float) -> None:
        gain = max(0.25, 1 / (self.count + 1))
        error = duration - self.mean
        self.count += 1
        self.mean += gain * error
        # The floor keeps the first poll a little early, and so finds out when tasks become faster.
        self.spread = max(self.spread + gain * (abs(error) - self.spread), 0.02 * self.mean)


class Durations:
    """Learns how long tasks of a kind take, and plans when to poll for them.

    The first poll goes out where the earliest tasks were done, the next ones follow across the usual spread, and
    then ever more rarely. A task is known to have ended between two polls; the middle counts.
    """

    SLOWEST_S = 2.0
    TOLERANCE_S = 0.05

    def __init__(self, first_s: float = 0.25) -> None:
        self._first_s = first_s
        self._known: dict[str, _Estimate] = {}

    def expected(self, kind: str) -> float | None:
        """Tell how long a task takes, None where there was none yet."""
        known = self._known.get(kind)
        return known.mean if known else None

    def plan(self, kind: str) -> Iterator[float]:
        """Give the times to poll, in seconds since the task was created, without end."""
        known = self._known.get(kind)
        if known is None:
            due, step, end, growth = self._first_s, self._first_s / 2, 0.0, 1.3
        else:
            step = self._step(known)
            due, end, growth = known.mean - 2 * known.spread + step / 2, known.mean + 2 * known.spread, 1.5
        due = max(due, step / 2)
        while True:
            yield due
            if due > end:
                step = min(step * growth, self.SLOWEST_S)
            due += step

    def learn(self, kind: str, due: float, before: float | None, found: float) -> None:
        """Take in that a poll planned for `due` and sent at `found` saw the task done, and one at `before` did not.

        A poll that went out late, because of the rate limit or an error, proves nothing.
        """
        if found - due > self.TOLERANCE_S:
            return
        known = self._known.get(kind)
        if before is None:  # it was done at the first poll, perhaps long before
            before = max(0.0, found - 3 * self._step(known)) if known else 0.0
        middle = (before + found) / 2
        if known:
            known.learn(middle)
        else:
            self._known[kind] = _Estimate(middle, (found - before) / 2)

    @staticmethod
    def _step(known: _Estimate) -> float:
        """Space the polls: four or five over the spread, not finer than anybody would notice."""
        return max(0.04, 0.03 * known.mean, 0.9 * known.spread)
