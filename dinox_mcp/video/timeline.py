"""Repair of time stamps that jump or go back, so that a video has one clock.

Recorders restart their clock, files are joined end to end, and single stamps are wrong by hours. A player shows all
these frames one after the other, and so does this. Gaps of a plausible length are kept.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import NamedTuple

_JUMP_S = 1.0  # a longer step forward may begin a wrong stretch
_JUMP_STEPS = 10  # likewise, in usual steps from frame to frame
_STILL_STEPS = 20  # in usual steps: for as long as this, a frame may be shown in any file
_MAX_WRONG = 8  # stretches in a row that may be wrong
_MIN_STEP = 0.5  # of a usual step: the least time for each frame of a wrong stretch
_STILL_S = {"mpegts": 10.0, "mpeg": 10.0}
"""The longest that one frame is shown, by formats that are broadcast or recorded live; FFmpeg's own limit."""
_OTHER_STILL_S = 600.0


class Stamp(NamedTuple):
    """When a packet is shown and when it is decoded, in seconds, as the file says; decoding times should increase."""

    shown: float
    decoded: float


@dataclass(frozen=True, slots=True)
class Repair:
    """When packets are shown, in the order of the file, and how many stretches of them were moved."""

    times: tuple[float, ...]
    moved: int


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Packets from `first` to before `last` whose clock never jumps."""

    first: int
    last: int
    start: float
    end: float


def repair(stamps: Sequence[Stamp], file_format: str) -> Repair | None:
    """Put the time stamps of a video's packets on one clock; None where they already are.

    Args:
        stamps: The time stamps in the order of the file.
        file_format: The name of FFmpeg's reader, which decides how long a frame may be shown.
    """
    step = _usual_step(stamps)
    if not step:
        return None
    still = max(_STILL_S.get(file_format, _OTHER_STILL_S), _STILL_STEPS * step)
    stamps = _believed(stamps, still)
    stretches = _stretches(stamps, max(_JUMP_S, _JUMP_STEPS * step))
    times = [stamp.shown for stamp in stamps]
    offset, end, latest = 0.0, stretches[0].start - step, -math.inf
    moved = at = 0
    while at < len(stretches):
        now = stretches[at]
        wrong = _wrong(stretches[at : at + _MAX_WRONG + 1], offset, end, step, still)
        if wrong:
            _spread(times, stamps, stretches[at : at + wrong], end, stretches[at + wrong].start + offset)
            moved += wrong
            at += wrong
            continue
        shown = times[now.first : now.last]
        if not 0 < now.start + offset - end <= still:
            offset = latest + step - min(shown)
            moved += 1
        times[now.first : now.last] = [time + offset for time in shown]
        end, latest = now.end + offset, max(latest, max(shown) + offset)
        at += 1
    return Repair(tuple(times), moved) if moved else None


def _usual_step(stamps: Sequence[Stamp]) -> float:
    """Give the usual time from one packet to the next, 0 where there is none."""
    steps = [after.decoded - before.decoded for before, after in pairwise(stamps)]
    return median([step for step in steps if step > 0] or [0.0])


def _believed(stamps: Sequence[Stamp], still: float) -> list[Stamp]:
    """Correct the times of packets that are shown long before or after they are decoded."""
    delay = median(stamp.shown - stamp.decoded for stamp in stamps)
    return [
        stamp if abs(stamp.shown - stamp.decoded - delay) <= still else Stamp(stamp.decoded + delay, stamp.decoded)
        for stamp in stamps
    ]


def _stretches(stamps: Sequence[Stamp], jump: float) -> list[_Stretch]:
    """Cut where the clock goes back, or forward by more than `jump` seconds."""
    cuts = [at + 1 for at, (before, after) in enumerate(pairwise(stamps)) if not _goes_on(before, after, jump)]
    return [
        _Stretch(first, last, stamps[first].decoded, stamps[last - 1].decoded)
        for first, last in pairwise([0, *cuts, len(stamps)])
    ]


def _goes_on(before: Stamp, after: Stamp, jump: float) -> bool:
    return 0 <= after.decoded - before.decoded <= jump


def _wrong(stretches: Sequence[_Stretch], offset: float, end: float, step: float, still: float) -> int:
    """Count the stretches from here on that are wrong: after them the clock continues from its `end`."""
    frames = 0
    for number, stretch in enumerate(stretches):
        start = stretch.start + offset
        needed = _MIN_STEP * step * (frames + 1)
        outside = all(not end < one.start + offset < start for one in stretches[:number])
        if number and outside and needed < start - end <= still:
            return number
        frames += stretch.last - stretch.first
    return 0


def _spread(times: list[float], stamps: Sequence[Stamp], wrong: Sequence[_Stretch], end: float, start: float) -> None:
    """Show the packets of wrong stretches evenly between the clock's `end` before them and its `start` after them."""
    first, last = wrong[0].first, wrong[-1].last
    for number, packet in enumerate(range(first, last), 1):
        decoded = end + (start - end) * number / (last - first + 1)
        times[packet] = decoded + stamps[packet].shown - stamps[packet].decoded
