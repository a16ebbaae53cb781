"""When to send: never faster than a key allows, and polls when an answer is due rather than on a tick."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio


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
