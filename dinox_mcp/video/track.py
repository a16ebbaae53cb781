"""One track: where an object is over time, how it moves, and what it looks like."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dinox_mcp.types.boxes import Box, clip, iou
from dinox_mcp.types.detection import Detection
from dinox_mcp.video.frames import Pixels

Appearances = npt.NDArray[np.float64]
"""Colour histograms of boxes, of shape (boxes, bins): square roots of shares, so that each row has length 1."""
Path = Sequence[tuple[float, Box]]
"""Boxes at increasing times in seconds."""

_COLOR_LEVELS = 5  # of each of red, green and blue
_SAMPLES = 24  # points along each side of a box
_MARGIN = 0.1  # of a box left out on each side, where there is more background
_APPEARANCE_MEMORY = 0.9  # weight of the earlier appearance of a track when it is detected again
_MIN_FOLLOWED_IOU = 0.3  # overlap with the detection from which the path followed in the pixels is used
_MARKER = re.compile(r"(?:AprilTag |DICT_)\S+ id \d+")

# The Kalman filter works in sizes of the box, so that its constants hold for near and far objects.
_POSITION_DEVIATION = 0.05  # standard deviation of a detected centre
_START_SPEED = 2.0  # standard deviation of the first velocity, a second
_ACCELERATION = 1.5  # standard deviation, a second squared
_SIZE_GAIN = 0.6  # weight of a newly detected size


def appearances(pixels: Pixels, boxes: Sequence[Box]) -> Appearances:
    """Measure the colours in boxes.

    Args:
        pixels: The image as RGB, of shape (height, width, 3).
        boxes: Boxes in its pixels.

    Returns:
        A row for each box.
    """
    height, width, _ = pixels.shape
    measured = np.zeros((len(boxes), _COLOR_LEVELS**3))
    steps = np.linspace(_MARGIN, 1 - _MARGIN, _SAMPLES)
    for row, box in enumerate(boxes):
        x1, y1, x2, y2 = clip(box, width, height)
        xs = np.clip((x1 + steps * (x2 - x1)).astype(int), 0, width - 1)
        ys = np.clip((y1 + steps * (y2 - y1)).astype(int), 0, height - 1)
        levels = pixels[np.ix_(ys, xs)].astype(int) * _COLOR_LEVELS // 256
        bins = (levels @ [_COLOR_LEVELS**2, _COLOR_LEVELS, 1]).ravel()
        measured[row] = np.sqrt(np.bincount(bins, minlength=_COLOR_LEVELS**3) / bins.size)
    return measured


def appearance_distances(a: Appearances, b: Appearances) -> Appearances:
    """Hellinger distance of each row of `a` from each of `b`: 0 for the same colours, 1 for none in common."""
    distance: Appearances = np.sqrt(np.clip(1 - a @ b.T, 0, 1))
    return distance


@dataclass(slots=True)
class Motion:
    """Position and velocity of a track, estimated by a Kalman filter.

    Attributes:
        time: When the track was last detected, in seconds.
        center: The centre of its box in pixels.
        size: The width and height of its box in pixels.
        velocity: In pixels a second.
    """

    time: float
    center: tuple[float, float]
    size: tuple[float, float]
    velocity: tuple[float, float] = (0.0, 0.0)
    # Variance of the position, covariance of position and velocity, variance of the velocity.
    _variance: tuple[float, float, float] = field(default=(_POSITION_DEVIATION**2, 0.0, _START_SPEED**2))

    @classmethod
    def at(cls, time: float, bbox: Box) -> "Motion":
        """Start at a first detection, without a velocity."""
        return cls(time, _center(bbox), _size(bbox))

    def box(self, time: float) -> Box:
        """Predict the box at a time."""
        step = time - self.time
        x, y = (position + speed * step for position, speed in zip(self.center, self.velocity, strict=True))
        width, height = self.size
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2

    def update(self, time: float, bbox: Box) -> None:
        """Correct the estimate by a box that was detected at a later time."""
        step = time - self.time
        position, both, speed = self._variance
        noise = _ACCELERATION**2
        position += 2 * step * both + step**2 * speed + noise * step**4 / 4
        both += step * speed + noise * step**3 / 2
        speed += noise * step**2
        gain, speed_gain = position / (position + _POSITION_DEVIATION**2), both / (position + _POSITION_DEVIATION**2)
        predicted = _center(self.box(time))
        error = [found - guess for found, guess in zip(_center(bbox), predicted, strict=True)]
        self.center = predicted[0] + gain * error[0], predicted[1] + gain * error[1]
        self.velocity = self.velocity[0] + speed_gain * error[0], self.velocity[1] + speed_gain * error[1]
        self._variance = (1 - gain) * position, (1 - gain) * both, speed - speed_gain * both
        width, height = (old + _SIZE_GAIN * (new - old) for old, new in zip(self.size, _size(bbox), strict=True))
        self.size = width, height
        self.time = time


class TimedDetection(NamedTuple):
    """What the backend found of a track at a key frame."""

    time: float
    detection: Detection


@dataclass(eq=False, slots=True)
class TrackHistory:
    """One track with all that is known of it.

    Attributes:
        label: The label of all its detections.
        motion: Its estimated motion.
        first_key: The number of the key frame in which it was found first.
        detections: What the backend found of it, in order.
        boxes: Its boxes over time: detected ones at key frames, followed ones between.
        appearance: Its colours, of shape (bins,).
        margin_s: How long it is in the video before and after a single detection, in seconds.
        followed: Its path in the pixels since its last detection; None once it is lost from sight.
        missed: In how many key frames in a row it was not found.
        id: Its number in the result, once it has one.
        content: What was read exactly of it: the content of a code or the id of a marker.
        absences: For each absence that had ended the track, the times of the detections before and after it.
    """

    label: str
    motion: Motion
    first_key: int
    detections: list[TimedDetection]
    boxes: list[tuple[float, Box]]
    appearance: Appearances
    margin_s: float
    followed: Path | None = ()
    missed: int = 0
    id: int | None = None
    content: str | None = None
    absences: list[tuple[float, float]] = field(default_factory=list)

    @classmethod
    def start(
        cls, time: float, detection: Detection, appearance: Appearances, *, first_key: int, margin_s: float
    ) -> "TrackHistory":
        """Start a track with a first detection."""
        motion, first, boxes = (
            Motion.at(time, detection.bbox),
            TimedDetection(time, detection),
            [(time, detection.bbox)],
        )
        content = exact_content(detection)
        return cls(detection.label, motion, first_key, [first], boxes, appearance, margin_s, content=content)

    @property
    def current_box(self) -> Box | None:
        """The box at the latest key frame; None where it is not known."""
        if self.followed is None:
            return None
        return self.followed[-1][1] if self.followed else self.boxes[-1][1]

    def expected_box(self, time: float) -> Box:
        """Predict the box at a key frame: by the pixels, or by the motion where it is lost from sight."""
        return self.followed[-1][1] if self.followed else self.motion.box(time)

    def visits(self) -> list[tuple[float, float]]:
        """List from when to when it is in the video, in seconds.

        A visit lasts from its first to its last detection. With a single one, `margin_s` is added before and after.
        """
        starts = [self.detections[0].time, *(back for _, back in self.absences)]
        ends = [*(left for left, _ in self.absences), self.detections[-1].time]
        return [
            (start, end) if end > start else (start - self.margin_s, end + self.margin_s)
            for start, end in zip(starts, ends, strict=True)
        ]

    def is_present(self, time: float) -> bool:
        """Say whether a time is within a visit."""
        return any(start <= time <= end for start, end in self.visits())

    def box(self, time: float) -> Box | None:
        """Interpolate the box at a time; None where the track is not in the video then."""
        visit = next(((start, end) for start, end in self.visits() if start <= time <= end), None)
        if visit is None:
            return None
        known = [(at, box) for at, box in self.boxes if visit[0] <= at <= visit[1]]
        after = bisect_left(known, time, key=lambda one: one[0])
        if after in {0, len(known)}:
            return known[min(after, len(known) - 1)][1]
        (early, before), (late, behind) = known[after - 1 : after + 1]
        part = (time - early) / (late - early)
        x1, y1, x2, y2 = (a + part * (b - a) for a, b in zip(before, behind, strict=True))
        return x1, y1, x2, y2

    def latest(self, time: float) -> TimedDetection:
        """Give the last detection until a time, or the first of all."""
        after = bisect_left(self.detections, time + 1e-9, key=lambda one: one.time)
        return self.detections[max(0, after - 1)]

    def extend(self, time: float, detection: Detection, appearance: Appearances) -> None:
        """Add a detection; the path followed in the pixels is bent so that it ends at its box."""
        start, path = self.boxes[-1][0], self.followed
        if path and iou(path[-1][1], detection.bbox) >= _MIN_FOLLOWED_IOU:
            errors = [found - followed for found, followed in zip(detection.bbox, path[-1][1], strict=True)]
            for moment, box in path[:-1]:
                part = (moment - start) / (time - start)
                x1, y1, x2, y2 = (edge + part * error for edge, error in zip(box, errors, strict=True))
                self.boxes.append((moment, (x1, y1, x2, y2)))
        self.boxes.append((time, detection.bbox))
        self.detections.append(TimedDetection(time, detection))
        self.motion.update(time, detection.bbox)
        self.appearance = _APPEARANCE_MEMORY * self.appearance + (1 - _APPEARANCE_MEMORY) * appearance
        self.missed, self.followed = 0, ()
        self.content = self.content or exact_content(detection)

    def resume(self, time: float, detection: Detection, appearance: Appearances) -> None:
        """Add a detection after an absence that had ended the track."""
        self.absences.append((self.detections[-1].time, time))
        self.motion, self.followed = Motion.at(time, detection.bbox), None
        self.extend(time, detection, appearance)

    def merge(self, other: "TrackHistory", *, after_absence: bool) -> None:
        """Append a younger track that turned out to be the same object."""
        if after_absence:
            self.absences.append((self.detections[-1].time, other.detections[0].time))
        self.absences += other.absences
        self.detections += other.detections
        self.boxes += other.boxes
        self.motion, self.appearance = other.motion, other.appearance
        self.followed, self.missed = other.followed, other.missed
        self.id = self.id or other.id

    def drop_followed_boxes(self, until: float) -> None:
        """Drop the boxes between key frames before a time, so that memory does not grow with the video."""
        detected = {one.time for one in self.detections}
        self.boxes = [(time, box) for time, box in self.boxes if time >= until or time in detected]


def exact_content(detection: Detection) -> str | None:
    """Give the content of a code or the id of a marker; None where nothing was read exactly.

    The content of a code has no score, as the code has a checksum. A marker has a score and is known by how its id is
    written. Recognized text has a score too; it differs a little from frame to frame and identifies nothing.
    """
    if not detection.text:
        return None
    return detection.text if detection.score is None or _MARKER.match(detection.text) else None


def _center(bbox: Box) -> tuple[float, float]:
    return (bbox[0] + bbox[2]) / 2, (bbox[1] + bbox[3]) / 2


def _size(bbox: Box) -> tuple[float, float]:
    return max(1.0, bbox[2] - bbox[0]), max(1.0, bbox[3] - bbox[1])
