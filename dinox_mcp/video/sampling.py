"""Which frames are key frames: those that the backend is asked about, and so what a video costs."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dinox_mcp.errors import InputError

EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """Key frames by their numbers, about `every_s` seconds apart."""

    keys: tuple[int, ...]
    every_s: float


def plan(times: Sequence[float], every_s: float, most: int) -> Plan:
    """Choose key frames among frames shown at increasing times, at most `most` of them, evenly in time.

    The first and the last frame are among them, as what is not between two key frames is not seen.

    Raises:
        InputError: `every_s` is not a positive number.
    """
    if not every_s > 0:
        raise InputError(f"every_s is {every_s}; choose the seconds from one key frame to the next, such as {EVERY_S}")
    span = times[-1] - times[0]
    steps = min(max(1, most - 1), max(1, -int(-span // every_s)))
    if most == 1 or len(times) == 1:
        return Plan((len(times) // 2,), max(span, every_s))
    ideal = [times[0] + span * step / steps for step in range(steps + 1)]
    keys = sorted({_nearest(times, time) for time in ideal})
    return Plan(tuple(keys), max(times[b] - times[a] for a, b in pairwise(keys)))


def _nearest(times: Sequence[float], time: float) -> int:
    after = min(bisect_left(times, time), len(times) - 1)
    return after - 1 if after and time - times[after - 1] < times[after] - time else after
