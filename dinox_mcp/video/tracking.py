"""Tracks over the key frames of a video: found boxes joined over time, label by label.

A ByteTrack- or OC-SORT-like tracker for frames that lie half a second or more apart: where boxes need not overlap any
more, each track says where it should be by now (seen in the pixels between, else by its motion), and all boxes of a
label are given to its tracks at once, at the least distance in sum.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from dinox_mcp import geometry
from dinox_mcp.geometry import Box
from dinox_mcp.schema import Detection
from dinox_mcp.video.looks import Looks, unlikeness
from dinox_mcp.video.matching import assign, closeness
from dinox_mcp.video.motion import Motion

LookAt = Callable[[Sequence[Box]], Looks]
Path = Sequence[tuple[float, Box]]
"""Boxes at increasing times in seconds."""

SURE = 0.5
"""The score from which a thing counts that was found in a single key frame."""
_PATIENCE_S = 2.0  # as long as people pass behind a car
_NEAR = -0.55  # the least closeness of a box to where its track should be: about three widths beside it
_LOOKS = 1.0  # how much it costs to look different, where being at another place costs 1 and more
_REACH = 2.0  # the most that place and look may cost together
_WEAK_REACH = 1.2  # likewise for a track that does not count yet, lest two mistakes make one that does
_HIDDEN = 0.6  # how unlike itself a thing is where something else is before it
_ALIKE = 0.9  # how much of what a track looks like stays when it is seen again
_FOLLOWED = 0.3  # overlap from which the pixels between tell how a track came to its box
_SAME = 0.7  # overlap from which a second box of a label is the same thing again


class Sighting(NamedTuple):
    """What was found at a key frame."""

    time: float
    found: Detection


@dataclass(eq=False, slots=True)
class Trail:
    """One track: its sightings, its boxes over time, and its number once it has one.

    `ahead` is where it went in the pixels since it was seen last; None once that is lost from sight.
    """

    label: str
    motion: Motion
    born: int
    sightings: list[Sighting]
    points: list[tuple[float, Box]]
    look: Looks
    ahead: Path | None = ()
    missed: int = 0
    id: int | None = None

    @property
    def now(self) -> Box | None:
        """Where it is at the latest key frame, if that is known."""
        if self.ahead is None:
            return None
        return self.ahead[-1][1] if self.ahead else self.points[-1][1]

    def expected(self, time: float) -> Box:
        """Where it should be at a key frame: where the pixels led, else where it was going."""
        return self.ahead[-1][1] if self.ahead else self.motion.box(time)

    def span(self, reach: float) -> tuple[float, float]:
        """Tell from when to when it is there: from first to last sighting, or `reach` seconds around a single one."""
        first, last = self.sightings[0].time, self.sightings[-1].time
        return (first, last) if last > first else (first - reach, last + reach)

    def box(self, time: float, reach: float) -> Box | None:
        """Tell where it is at a time, in a straight line between known boxes; None while it is not there."""
        first, last = self.span(reach)
        if not first <= time <= last:
            return None
        after = bisect_left(self.points, time, key=lambda point: point[0])
        if after in {0, len(self.points)}:
            return self.points[min(after, len(self.points) - 1)][1]
        (early, here), (late, there) = self.points[after - 1 : after + 1]
        return _between(here, there, (time - early) / (late - early))

    def latest(self, time: float) -> Sighting:
        """Give the last sighting until a time, or the first of all."""
        after = bisect_left(self.sightings, time + 1e-9, key=lambda sighting: sighting.time)
        return self.sightings[max(0, after - 1)]

    def forget(self, time: float) -> None:
        """Drop what is known of times before one but its sightings, lest a long video fill the memory."""
        seen = {sighting.time for sighting in self.sightings}
        self.points = [point for point in self.points if point[0] >= time or point[0] in seen]


@dataclass(slots=True)
class Tracker:
    """Joins what is found at key frames `every_s` seconds apart.

    A track may go unseen for two seconds, or for one key frame where they are further apart. It counts if it was seen
    twice, or once by a score of `SURE` or none; everything counts where there is a `single` key frame.
    """

    every_s: float
    single: bool = False
    active: list[Trail] = field(default_factory=list)
    ended: list[Trail] = field(default_factory=list)
    dropped: int = 0
    _keys: int = 0
    _ids: int = 0

    @property
    def patience(self) -> int:
        """The number of key frames that a track may be missing in."""
        return max(1, min(8, round(_PATIENCE_S / max(self.every_s, 1e-3))))

    def step(
        self, time: float, found: Sequence[Detection], look_at: LookAt, followed: Sequence[Path | None] = ()
    ) -> None:
        """Take what was found at the next key frame, where `look_at` tells what boxes look like.

        `followed` are the paths of the active tracks since the last one, in their order; None where they were lost
        from sight.
        """
        for trail, path in zip_longest(self.active, followed):
            trail.ahead = [*trail.ahead, *path] if path and trail.ahead is not None else None
        looks = look_at([one.bbox for one in found])
        labels = dict.fromkeys([*(one.label for one in found), *(trail.label for trail in self.active)])
        for label in labels:
            trails = [trail for trail in self.active if trail.label == label]
            these = [at for at, one in enumerate(found) if one.label == label]
            self._join(time, trails, [found[at] for at in these], looks[these])
        self._lose(look_at)
        over = [trail for trail in self.active if trail.missed > self.patience]
        believed = [trail for trail in over if self.counts(trail)]
        self.ended += believed
        self.dropped += len(over) - len(believed)
        self.active = [trail for trail in self.active if trail.missed <= self.patience]
        self._keys += 1

    def settle(self, key: int) -> None:
        """Number the tracks that began at the key frame `key` or before, in order of appearance."""
        born = [one for one in self.trails() if one.born <= key and one.id is None]
        for trail in sorted(born, key=lambda one: one.born):  # stable: in the backend's order
            self._ids += 1
            trail.id = self._ids

    def trails(self) -> list[Trail]:
        """List the tracks that count, so far."""
        return [*self.ended, *(trail for trail in self.active if self.counts(trail))]

    def counts(self, trail: Trail) -> bool:
        """Tell whether a track is believed."""
        score = trail.sightings[0].found.score
        return self.single or len(trail.sightings) > 1 or score is None or score >= SURE

    def _lose(self, look_at: LookAt) -> None:
        """Lose sight of what was not found, and does not look any more like it did where it should be."""
        missing = [trail for trail in self.active if trail.missed and trail.ahead]
        boxes = [trail.ahead[-1][1] for trail in missing if trail.ahead]
        for trail, look in zip(missing, look_at(boxes), strict=True):
            if unlikeness(trail.look[None], look[None])[0, 0] > _HIDDEN:
                trail.ahead = None

    def _join(self, time: float, trails: Sequence[Trail], found: Sequence[Detection], looks: Looks) -> None:
        left, pairs = list(range(len(found))), []
        for sure in (True, False):  # what was seen once may be a mistake, and takes nothing from what was seen often
            rows = [row for row, trail in enumerate(trails) if (len(trail.sightings) > 1) is sure]
            expected = [trails[row].expected(time) for row in rows]
            close = closeness(expected, [found[column].bbox for column in left])
            known = np.array([trails[row].look for row in rows]).reshape(len(rows), looks.shape[1])
            costs = np.where(close >= _NEAR, 1 - close + _LOOKS * unlikeness(known, looks[left]), np.inf)
            weak = np.array([not self.counts(trails[row]) for row in rows], dtype=bool).reshape(-1, 1)
            costs = np.where(weak & (costs > _WEAK_REACH), np.inf, costs)
            pairs += [(rows[row], left[column]) for row, column in assign(costs, _REACH)]
            left = [column for column in left if column not in {taken for _, taken in pairs}]
        for row, column in pairs:
            _extend(trails[row], time, found[column], looks[column])
        taken = {row for row, _ in pairs}
        for row, trail in enumerate(trails):
            trail.missed += row not in taken
        held = [found[column].bbox for _, column in pairs]
        for column in left:
            one = found[column]
            if all(geometry.iou(one.bbox, box) < _SAME for box in held):
                held.append(one.bbox)
                motion, sightings, points = Motion.at(time, one.bbox), [Sighting(time, one)], [(time, one.bbox)]
                self.active.append(Trail(one.label, motion, self._keys, sightings, points, looks[column]))


def _extend(trail: Trail, time: float, found: Detection, look: Looks) -> None:
    """Lead a track to a box: along the path seen in the pixels, bent so that it ends there."""
    start, path = trail.points[-1][0], trail.ahead
    if path and geometry.iou(path[-1][1], found.bbox) >= _FOLLOWED:
        off = [there - here for there, here in zip(found.bbox, path[-1][1], strict=True)]
        for moment, box in path[:-1]:
            part = (moment - start) / (time - start)
            x1, y1, x2, y2 = (edge + part * error for edge, error in zip(box, off, strict=True))
            trail.points.append((moment, (x1, y1, x2, y2)))
    trail.points.append((time, found.bbox))
    trail.sightings.append(Sighting(time, found))
    trail.motion.see(time, found.bbox)
    trail.look = _ALIKE * trail.look + (1 - _ALIKE) * look
    trail.missed, trail.ahead = 0, ()


def _between(here: Box, there: Box, part: float) -> Box:
    x1, y1, x2, y2 = (a + part * (b - a) for a, b in zip(here, there, strict=True))
    return x1, y1, x2, y2
