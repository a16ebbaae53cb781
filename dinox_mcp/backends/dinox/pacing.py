"""When to send: never faster than a key allows, and polls when an answer is due rather than on a tick."""

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

import anyio


@dataclass
class _Lane:
    """The recent requests of one key, and how many calls of it wait or send now."""

    sent: deque[float]
    turn: anyio.Lock = field(default_factory=anyio.Lock)
    users: int = 0


class RateLimiter:
    """At most `limit` requests of one key in any `window_s` seconds, first come first served.

    The vendor allows 10 a second; the window is a little longer, as requests may reach it closer together
    than they left.
    """

    def __init__(self, limit: int = 10, window_s: float = 1.05) -> None:
        self._limit = limit
        self._window_s = window_s
        self._lanes: OrderedDict[Hashable, _Lane] = OrderedDict()

    def __len__(self) -> int:
        """Count the keys that it remembers."""
        return len(self._lanes)

    async def wait(self, key: Hashable) -> None:
        """Wait for a turn and take it; a call that is cancelled while it waits takes none."""
        lane = self._lanes.setdefault(key, _Lane(deque(maxlen=self._limit)))
        lane.users += 1
        try:
            async with lane.turn:
                if len(lane.sent) == self._limit:
                    await anyio.sleep_until(lane.sent[0] + self._window_s)
                lane.sent.append(anyio.current_time())
        finally:
            lane.users -= 1
            self._lanes.move_to_end(key)
            self._forget()

    def _forget(self) -> None:
        """Drop the lanes that are idle and whose requests are all past: a new one would be no different."""
        past = anyio.current_time() - self._window_s
        while self._lanes:
            key, lane = next(iter(self._lanes.items()))
            if lane.users or (lane.sent and lane.sent[-1] > past):
                break
            del self._lanes[key]


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

    def __init__(self) -> None:
        self._known: dict[str, _Estimate] = {}

    def expected(self, kind: str) -> float | None:
        """Tell how long a task takes, None where there was none yet."""
        known = self._known.get(kind)
        return known.mean if known else None

    def plan(self, kind: str) -> Iterator[float]:
        """Give the times to poll, in seconds since the task was created, without end."""
        known = self._known.get(kind)
        if known is None:
            due, step, end, growth = 0.25, 0.1, 0.0, 1.4
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
        if before is None:
            before = max(0.0, found - self._step(known)) if known else 0.0
        middle = (before + found) / 2
        if known:
            known.learn(middle)
        else:
            self._known[kind] = _Estimate(middle, (found - before) / 2)

    @staticmethod
    def _step(known: _Estimate) -> float:
        """Space the polls: five over the spread, not finer than anybody would notice."""
        return max(0.04, 0.03 * known.mean, 0.8 * known.spread)
