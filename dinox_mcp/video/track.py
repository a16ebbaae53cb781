"""One thing over time: its motion, its colours, and where it was seen."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dinox_mcp.types import boxes
from dinox_mcp.types.boxes import Box, clip
from dinox_mcp.types.detection import Detection
from dinox_mcp.video.frames import Pixels

Looks = npt.NDArray[np.float64]
"""Of shape (boxes, bins): square roots of the parts of a box that have a colour, so that each row is of length 1."""

_LEVELS = 5  # of each of red, green and blue
_SAMPLES = 24  # points along each side of a box
_EDGE = 0.1  # of a box left out on each side, where there is more background


def looks(pixels: Pixels, boxes: Sequence[Box]) -> Looks:
    """Measure boxes of a picture of shape (height, width, 3)."""
    height, width, _ = pixels.shape
    measured = np.zeros((len(boxes), _LEVELS**3))
    steps = np.linspace(_EDGE, 1 - _EDGE, _SAMPLES)
    for row, box in enumerate(boxes):
        x1, y1, x2, y2 = clip(box, width, height)
        xs = np.clip((x1 + steps * (x2 - x1)).astype(int), 0, width - 1)
        ys = np.clip((y1 + steps * (y2 - y1)).astype(int), 0, height - 1)
        levels = pixels[np.ix_(ys, xs)].astype(int) * _LEVELS // 256
        bins = (levels @ [_LEVELS**2, _LEVELS, 1]).ravel()
        measured[row] = np.sqrt(np.bincount(bins, minlength=_LEVELS**3) / bins.size)
    return measured


def unlikeness(a: Looks, b: Looks) -> Looks:
    """Hellinger distance of each of `a` from each of `b`, from 0 (the same colours) to 1 (none in common)."""
    distance: Looks = np.sqrt(np.clip(1 - a @ b.T, 0, 1))
    return distance


_SEEN = 0.05  # standard deviation of a box's centre, in sizes of the box
_SPEED = 2.0  # of the first velocity, in sizes a second
_ACCELERATION = 1.5  # in sizes a second squared
_SIZE_GAIN = 0.6  # how much of a box's new size is believed


@dataclass(slots=True)
class Motion:
    """The state of one track: centre and size in pixels, velocity in pixels a second, at a time in seconds."""

    time: float
    center: tuple[float, float]
    size: tuple[float, float]
    velocity: tuple[float, float] = (0.0, 0.0)
    _variance: tuple[float, float, float] = field(default=(_SEEN**2, 0.0, _SPEED**2))  # place, both, speed; in sizes

    @classmethod
    def at(cls, time: float, bbox: Sequence[float]) -> "Motion":
        """Begin where something is seen first, going nowhere."""
        return cls(time, _center(bbox), _size(bbox))

    def box(self, time: float) -> Box:
        """Predict the box at a time."""
        step = time - self.time
        x, y = (place + speed * step for place, speed in zip(self.center, self.velocity, strict=True))
        width, height = self.size
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2

    def see(self, time: float, bbox: Sequence[float]) -> None:
        """Learn from a box that was found at a later time."""
        step = time - self.time
        place, both, speed = self._variance
        noise = _ACCELERATION**2
        place += 2 * step * both + step**2 * speed + noise * step**4 / 4
        both += step * speed + noise * step**3 / 2
        speed += noise * step**2
        gain, turn = place / (place + _SEEN**2), both / (place + _SEEN**2)
        predicted = _center(self.box(time))
        missed = [seen - guess for seen, guess in zip(_center(bbox), predicted, strict=True)]
        self.center = predicted[0] + gain * missed[0], predicted[1] + gain * missed[1]
        self.velocity = self.velocity[0] + turn * missed[0], self.velocity[1] + turn * missed[1]
        self._variance = (1 - gain) * place, (1 - gain) * both, speed - turn * both
        width, height = (old + _SIZE_GAIN * (new - old) for old, new in zip(self.size, _size(bbox), strict=True))
        self.size = width, height
        self.time = time


def _center(bbox: Sequence[float]) -> tuple[float, float]:
    return (bbox[0] + bbox[2]) / 2, (bbox[1] + bbox[3]) / 2


def _size(bbox: Sequence[float]) -> tuple[float, float]:
    return max(1.0, bbox[2] - bbox[0]), max(1.0, bbox[3] - bbox[1])


Path = Sequence[tuple[float, Box]]
"""Boxes at increasing times in seconds."""

_ALIKE = 0.9  # how much of what a track looks like stays when it is seen again
_FOLLOWED = 0.3  # overlap from which the pixels between tell how a track came to its box
_MARKER = re.compile(r"(?:AprilTag |DICT_)\S+ id \d+")


class Sighting(NamedTuple):
    """What was found at a key frame."""

    time: float
    found: Detection


@dataclass(eq=False, slots=True)
class Trail:
    """One track: its sightings, its boxes over time, and its number once it has one.

    `ahead` is where it went in the pixels since it was seen last; None once that is lost from sight. `content` is what
    was read exactly of it, if anything. `gaps` are the times of the sightings around each absence that ended a track.
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
    content: str | None = None
    gaps: list[tuple[float, float]] = field(default_factory=list)

    @property
    def now(self) -> Box | None:
        """Where it is at the latest key frame, if that is known."""
        if self.ahead is None:
            return None
        return self.ahead[-1][1] if self.ahead else self.points[-1][1]

    def expected(self, time: float) -> Box:
        """Where it should be at a key frame: where the pixels led, else where it was going."""
        return self.ahead[-1][1] if self.ahead else self.motion.box(time)

    def visits(self, reach: float) -> list[tuple[float, float]]:
        """List from when to when it is there, visit by visit.

        A visit lasts from its first to its last sighting, or from `reach` seconds before to after a single one.
        """
        starts = [self.sightings[0].time, *(back for _, back in self.gaps)]
        ends = [*(left for left, _ in self.gaps), self.sightings[-1].time]
        return [
            (start, end) if end > start else (start - reach, end + reach)
            for start, end in zip(starts, ends, strict=True)
        ]

    def is_there(self, time: float, reach: float) -> bool:
        """Tell whether a time is within a visit."""
        return any(start <= time <= end for start, end in self.visits(reach))

    def box(self, time: float, reach: float) -> Box | None:
        """Tell where it is at a time, in a straight line between known boxes; None while it is not there."""
        visit = next(((start, end) for start, end in self.visits(reach) if start <= time <= end), None)
        if visit is None:
            return None
        points = [point for point in self.points if visit[0] <= point[0] <= visit[1]]
        after = bisect_left(points, time, key=lambda point: point[0])
        if after in {0, len(points)}:
            return points[min(after, len(points) - 1)][1]
        (early, here), (late, there) = points[after - 1 : after + 1]
        return _between(here, there, (time - early) / (late - early))

    def latest(self, time: float) -> Sighting:
        """Give the last sighting until a time, or the first of all."""
        after = bisect_left(self.sightings, time + 1e-9, key=lambda sighting: sighting.time)
        return self.sightings[max(0, after - 1)]

    def take_over(self, other: "Trail", *, returned: bool) -> None:
        """Continue with a younger track that turned out to be the same thing, after an absence if it has `returned`."""
        if returned:
            self.gaps.append((self.sightings[-1].time, other.sightings[0].time))
        self.gaps += other.gaps
        self.sightings += other.sightings
        self.points += other.points
        self.motion, self.look, self.ahead, self.missed = other.motion, other.look, other.ahead, other.missed
        self.id = self.id or other.id

    def extend(self, time: float, found: Detection, look: Looks) -> None:
        """Lead the track to a box: along the path seen in the pixels, bent so that it ends there."""
        start, path = self.points[-1][0], self.ahead
        if path and boxes.iou(path[-1][1], found.bbox) >= _FOLLOWED:
            off = [there - here for there, here in zip(found.bbox, path[-1][1], strict=True)]
            for moment, box in path[:-1]:
                part = (moment - start) / (time - start)
                x1, y1, x2, y2 = (edge + part * error for edge, error in zip(box, off, strict=True))
                self.points.append((moment, (x1, y1, x2, y2)))
        self.points.append((time, found.bbox))
        self.sightings.append(Sighting(time, found))
        self.motion.see(time, found.bbox)
        self.look = _ALIKE * self.look + (1 - _ALIKE) * look
        self.missed, self.ahead = 0, ()
        self.content = self.content or identity(found)

    def come_back(self, time: float, found: Detection, look: Looks) -> None:
        """Continue after an absence that ended the track, from where it is now."""
        self.gaps.append((self.sightings[-1].time, time))
        self.motion, self.ahead = Motion.at(time, found.bbox), None
        self.extend(time, found, look)

    def forget(self, time: float) -> None:
        """Drop what is known of times before one but its sightings, lest a long video fill the memory."""
        seen = {sighting.time for sighting in self.sightings}
        self.points = [point for point in self.points if point[0] >= time or point[0] in seen]


def identity(found: Detection) -> str | None:
    """Give what was read exactly in a box; None where nothing was, or where it was only recognized.

    The decoded content of a code has no score, as it is checked by the code itself. Markers have one, and are known by
    how their ids are written. Text in a picture has one too: it is read a little differently from frame to frame.
    """
    if not found.text:
        return None
    return found.text if found.score is None or _MARKER.match(found.text) else None


def _between(here: Box, there: Box, part: float) -> Box:
    x1, y1, x2, y2 = (a + part * (b - a) for a, b in zip(here, there, strict=True))
    return x1, y1, x2, y2
