"""How boxes move from one key frame to the next, what they look like and contain, and which of them belong together."""

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from dinox_mcp.types.boxes import Box, center, clip, ious
from dinox_mcp.types.detection import Detection
from dinox_mcp.video.frames import Pixels, fitted_size
from dinox_mcp.video.source import stop_if_cancelled

Appearances = npt.NDArray[np.float64]
"""Colour histograms of boxes, of shape (boxes, bins): square roots of shares, so that each row has length 1."""
Path = Sequence[tuple[float, Box]]
"""Boxes at increasing times in seconds."""

_COLOR_LEVELS = 5  # of each of red, green and blue
_SAMPLES = 24  # points along each side of a box
_MARGIN = 0.1  # of a box left out on each side, where there is more background

# The Kalman filter works in sizes of the box, so that its constants hold for near and far objects.
_POSITION_DEVIATION = 0.05  # standard deviation of a detected centre
_START_SPEED = 2.0  # standard deviation of the first velocity, a second
_ACCELERATION = 1.5  # standard deviation, a second squared
_SIZE_GAIN = 0.6  # weight of a newly detected size

_FLOW_SIDE = 480  # pixels along the long side of the grey frames in which boxes are followed
_GRID = 6  # points along each side of a box
_WINDOW = (15, 15)
_LEVELS = 3
_MIN_POINTS = 8  # that must agree
_MAX_RETURN_ERROR = 1.5  # pixels between a point and where it ends when it is followed there and back
_MAX_GROWTH = 1.25  # of a box in one step

Points = npt.NDArray[np.float32]
Costs = npt.NDArray[np.float64]
_MARKER = re.compile(r"(?:AprilTag |DICT_)\S+ id \d+")


def follow(
    times: Sequence[float], grays: Sequence[Pixels], boxes: Sequence[Box | None], size: tuple[int, int]
) -> list[list[tuple[float, Box]] | None]:
    """Follow boxes through grey frames (height, width) by the pixels in them (median flow). Blocks.

    Args:
        times: When the grey frames are shown, in seconds.
        grays: The grey frames.
        boxes: The boxes in the first of them, in pixels of `size`.
        size: The (width, height) of the video.

    Returns:
        The path of each box without its start; None where it is lost, or was None.
    """
    scale = np.array([grays[0].shape[1] / size[0], grays[0].shape[0] / size[1]] * 2)
    paths: list[list[tuple[float, Box]] | None] = [None if box is None else [] for box in boxes]
    current = {index: np.array(box) * scale for index, box in enumerate(boxes) if box is not None}
    for (before, gray), time in zip(pairwise(grays), times[1:], strict=True):
        if not current:
            break
        stop_if_cancelled()
        indices = list(current)
        starts = np.concatenate([_grid(current[index]) for index in indices])
        ends, found = _optical_flow(before, gray, starts)
        back, returned = _optical_flow(gray, before, ends)
        errors = np.linalg.norm(back - starts, axis=1)
        errors[~(found & returned)] = np.inf
        for order, index in enumerate(indices):
            part = slice(order * _GRID**2, (order + 1) * _GRID**2)
            moved = _moved(current[index], starts[part], ends[part], errors[part])
            path = paths[index]
            if moved is None or path is None:
                paths[index] = None
                del current[index]
            else:
                current[index] = moved
                x1, y1, x2, y2 = (float(edge) for edge in moved / scale)
                path.append((time, (x1, y1, x2, y2)))
    return paths


def flow_size(size: tuple[int, int]) -> tuple[int, int]:
    """Give the (width, height) of the grey frames for a video of a size."""
    return fitted_size(size, _FLOW_SIDE)


def _optical_flow(before: Pixels, after: Pixels, points: Points) -> tuple[Points, npt.NDArray[np.bool_]]:
    """Follow points (n, 2) to the next frame (Lucas-Kanade); also say which were found."""
    import cv2

    ends, found, _ = cv2.calcOpticalFlowPyrLK(before, after, points, points.copy(), winSize=_WINDOW, maxLevel=_LEVELS)
    return np.asarray(ends, np.float32), np.asarray(found)[:, 0] > 0


def _grid(box: npt.NDArray[np.float64]) -> Points:
    """Spread points over a box up to its edges, where objects without texture differ from the background."""
    x, y = np.meshgrid(np.linspace(box[0], box[2], _GRID), np.linspace(box[1], box[3], _GRID))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def _moved(
    box: npt.NDArray[np.float64], starts: Points, ends: Points, errors: Points
) -> npt.NDArray[np.float64] | None:
    """Move and scale a box as the median of its points does; None where too few agree."""
    good = errors <= min(_MAX_RETURN_ERROR, float(np.median(errors)))
    if np.count_nonzero(good) < _MIN_POINTS:
        return None
    start, end = starts[good], ends[good]
    step = np.median(end - start, axis=0)
    spread = np.linalg.norm(start - np.median(start, axis=0), axis=1)
    far = spread > np.median(spread)
    if not far.any():
        return None
    ratios = np.linalg.norm(end - np.median(end, axis=0), axis=1)[far] / spread[far]
    growth = float(np.clip(np.median(ratios), 1 / _MAX_GROWTH, _MAX_GROWTH))
    center = (box[:2] + box[2:]) / 2 + step
    half = (box[2:] - box[:2]) / 2 * growth
    return np.concatenate([center - half, center + half])


def appearances(pixels: Pixels, boxes: Sequence[Box]) -> Appearances:
    """Measure the colours in boxes of an RGB image (height, width, 3), a row for each box."""
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


class Motion:
    """Position and velocity of a track, estimated by a Kalman filter from its first detection on.

    Attributes:
        time: When the track was last detected, in seconds.
        center: The centre (x, y) of its box in pixels.
        size: The width and height of its box in pixels.
        velocity: In pixels a second.
    """

    def __init__(self, time: float, bbox: Box) -> None:
        self.time, self.center, self.size = time, np.array(center(bbox)), _size(bbox)
        self.velocity = np.zeros(2)
        # Variance of the position, covariance of position and velocity, variance of the velocity.
        self._variance = (_POSITION_DEVIATION**2, 0.0, _START_SPEED**2)

    def box(self, time: float) -> Box:
        """Predict the box at a time."""
        middle = self.center + self.velocity * (time - self.time)
        (x1, y1), (x2, y2) = (middle - self.size / 2).tolist(), (middle + self.size / 2).tolist()
        return x1, y1, x2, y2

    def update(self, time: float, bbox: Box) -> None:
        """Correct the estimate by a box that was detected at a later time."""
        step = time - self.time
        position, both, speed = self._variance
        noise = _ACCELERATION**2
        position += 2 * step * both + step**2 * speed + noise * step**4 / 4
        both += step * speed + noise * step**3 / 2
        speed += noise * step**2
        gain, speed_gain = position / (position + _POSITION_DEVIATION**2), both / (position + _POSITION_DEVIATION**2)
        predicted = self.center + self.velocity * step
        error = np.array(center(bbox)) - predicted
        self.center = predicted + gain * error
        self.velocity = self.velocity + speed_gain * error
        self._variance = (1 - gain) * position, (1 - gain) * both, speed - speed_gain * both
        self.size = self.size + _SIZE_GAIN * (_size(bbox) - self.size)
        self.time = time


def exact_content(detection: Detection) -> str | None:
    """Give the content of a code or the id of a marker; None where nothing was read exactly.

    The content of a code has no score, as the code has a checksum. A marker has a score and is known by how its id is
    written. Recognized text has a score too; it differs a little from frame to frame and identifies nothing.
    """
    if not detection.text:
        return None
    return detection.text if detection.score is None or _MARKER.match(detection.text) else None


def contents_differ(one: str | None, other: str | None) -> bool:
    """Return whether two contents were read and are not the same."""
    return one is not None and other is not None and one != other


def assign(costs: Costs, limit: float) -> list[tuple[int, int]]:
    """Pair rows with columns at the least total cost; infinite costs (rows, columns) are of those that are no pair.

    Leaving a row and a column without a pair costs `limit`, which is so the most that a pair may cost.
    """
    # SciPy has the same solver, but takes 0.5 s and 54 MB to import (lap: 5 ms, 1 MB) and 143 MB on disk (lap: 2 MB).
    import lap

    if not costs.size:
        return []
    _, columns, _ = lap.lapjv(costs, extend_cost=True, cost_limit=limit)
    return [(row, int(column)) for row, column in enumerate(columns) if column >= 0]


def distance_ious(a: Sequence[Box], b: Sequence[Box]) -> Costs:
    """Distance-IoU (len(a), len(b)) of each box of `a` with each of `b`, from -1 (far apart) to 1 (the same).

    Unlike the IoU it separates near from far where boxes do not overlap, as between key frames (Zheng et al. 2020).
    """
    first = np.array(a, dtype=float).reshape(-1, 1, 4)
    second = np.array(b, dtype=float).reshape(1, -1, 4)
    overlap = np.array([ious(box, second[0]) for box in first[:, 0]]).reshape(len(a), len(b))
    span = np.maximum(first[..., 2:], second[..., 2:]) - np.minimum(first[..., :2], second[..., :2])
    apart = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]) / 2
    distance: Costs = np.sum(apart**2, axis=-1) / np.maximum(np.sum(span**2, axis=-1), 1e-9)
    return overlap - distance


def _size(bbox: Box) -> npt.NDArray[np.float64]:
    return np.maximum(1.0, [bbox[2] - bbox[0], bbox[3] - bbox[1]])
