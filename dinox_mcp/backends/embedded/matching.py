"""Template matching: where a picture looks like an example, at which scale and turn.

Coarse to fine. The picture is reduced until the example is about 16 pixels wide, scaled and turned to each pose of a
grid, and compared by normalised cross-correlation (J. P. Lewis, Fast normalized cross-correlation, 1995), in the one
shade that the example varies along most. The likeliest places are then settled to fractions of a pixel, and judged in
color and by their edges.
"""

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np

from dinox_mcp.backends.embedded.findings import Pixels
from dinox_mcp.backends.embedded.pixels import tiles
from dinox_mcp.backends.embedded.templates import Pose, Pyramid, Template, _Floats, affine, color_axis, rotation

Told = Callable[[float], None]

SCALES = tuple(0.7 * 2 ** (step / 4) for step in range(5))
TURNS = tuple(math.radians(degrees) for degrees in (-12, -6, 0, 6, 12))
LEAST_CORRELATION = 0.6  # below it is what textures have in common: measured, see benchmarks/templates.py
MOST_SPOTS = 1000

# About how large the example is seen, in pixels: first as small as a large picture demands, at last in detail.
_LEAST_COARSE_SIDE, _COARSE_SIDE, _MIDDLE_SIDE, _FINE_SIDE = 10, 14, 32, 64
_COARSE_AREA = 500_000
_LEAST_SIDE = 7
_SHARPER = 1.2  # the coarse picture shows so much more, as it is scaled and turned after
_TILE = 1600
_SPOTS_OF_A_POSE = 400
_LEAST_COARSE, _LEAST_MIDDLE = 0.45, 0.5  # copies reach 0.6 and 0.64 in the scenes of the benchmark
_PATIENCE = 200  # the likeliest spots come first: after so many that are nothing, so is the rest
_NEAR = 0.3  # spots so near each other, in sides of the example, are one
_LEAST_CONTRAST = 0.3  # of that of the example: what has less is noise
_CORNER_WEIGHT = 0.1  # things are round more often than square: in the corners is what lies behind them
_SOFT = 1.0

# Steps of scale and turn around a spot, and how far it may move, in pixels: first at middle size, at last at fine size.
_STEPS = (
    (1.06, math.radians(3), 5),
    (1.04, math.radians(2), 2),
    (1.02, math.radians(1), 2),
    (1.01, math.radians(0.5), 3),
)


class Match(NamedTuple):
    """A place that looks like an example; `correlation` is that of colors and of edges, their mean, up to 1."""

    pose: Pose
    correlation: float


class Seen(NamedTuple):
    """An example at one size: `pixels` reduced by `factor`, and the color `axis` that tells it best."""

    pixels: Pixels
    factor: float
    axis: _Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def shade(self, bgr: Pixels) -> _Floats:
        """Show a picture in the one shade."""
        return np.asarray(cv2.transform(bgr.astype(np.float32), self.axis[None]), np.float32)


def find(pyramid: Pyramid, template: Template, tell: Told) -> tuple[list[Match], bool]:
    """Find where a picture looks like a template, several times in a place perhaps; and whether that was too often.

    The time is that of a correlation of the reduced picture for each pose, plus 1 to 4 ms for each likely spot.
    """
    coarse, middle, fine = (
        _seen(template, side) for side in (_coarse_side(pyramid, template), _MIDDLE_SIDE, _FINE_SIDE)
    )
    spots = _apart(_spots(pyramid, coarse, lambda done: tell(0.7 * done)), min(template.size))
    found: list[Match] = []
    failed = 0
    for number, spot in enumerate(spots):
        tell(0.7 + 0.3 * number / len(spots))
        pose = _settled(pyramid, middle, spot, *_STEPS[0])
        failed += 1
        if _correlation(pyramid, middle, pose) >= _LEAST_MIDDLE:
            for step in _STEPS[1:-1]:
                pose = _settled(pyramid, middle, pose, *step)
            pose = _settled(pyramid, fine, pose, *_STEPS[-1])
            match = Match(pose, _correlation(pyramid, fine, pose))
            if match.correlation >= LEAST_CORRELATION:
                found.append(match)
                failed = 0
        if failed == _PATIENCE:
            break
    if template.place is not None:
        left, top, right, bottom = template.place
        pose = Pose((left + right) / 2, (top + bottom) / 2)
        found.append(Match(pose, _correlation(pyramid, fine, pose)))
    return found, len(spots) == MOST_SPOTS and failed < _PATIENCE


def _coarse_side(pyramid: Pyramid, template: Template) -> float:
    """Choose how large an example is first looked for: the larger the picture beside it, the smaller."""
    share = math.prod(template.size) / math.prod(pyramid.size)
    return min(max(math.sqrt(share * _COARSE_AREA), _LEAST_COARSE_SIDE), _COARSE_SIDE)


def _seen(template: Template, side: float) -> Seen:
    """Reduce an example until it is about so large, but not to a line."""
    width, height = template.size
    factor = min(1.0, max(side / math.sqrt(width * height), _LEAST_SIDE / min(width, height)))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    how = cv2.INTER_AREA if size[0] < template.pixels.shape[1] else cv2.INTER_LINEAR
    pixels = np.asarray(cv2.resize(template.pixels, size, interpolation=how), np.uint8)
    return Seen(pixels, factor, color_axis(template.pixels)[0])


def _spots(pyramid: Pyramid, seen: Seen, tell: Told) -> Iterator[tuple[float, Pose]]:
    """Look for an example at each scale and turn."""
    base = min(1.0, seen.factor * _SHARPER)
    overlap = math.ceil(math.hypot(*seen.shape) * _SHARPER * max(SCALES)) + 2
    stretch = pyramid.size[0] / max(1, round(pyramid.size[0] * base))
    views = tiles(pyramid.reduced(base), max(_TILE, 3 * overlap), overlap)
    poses = [
        Pose(view.x * stretch, view.y * stretch, scale, turn) for view, scale, turn in product(views, SCALES, TURNS)
    ]
    for done, pose in enumerate(poses):
        tell(done / len(poses))
        number, first = divmod(done, len(SCALES) * len(TURNS))
        if not first:
            shade = seen.shade(views[number].pixels)
        yield from _spots_at(shade, seen, pose, stretch)


def _spots_at(shade: _Floats, seen: Seen, pose: Pose, stretch: float) -> Iterator[tuple[float, Pose]]:
    """Look for an example at one scale and turn: the picture is scaled and turned back, and holds it upright.

    `shade` is the part of the picture whose upper left corner is at the pose, reduced by `stretch`.
    """
    height, width = shade.shape
    back = rotation(-pose.turn) * (seen.factor * stretch / pose.scale)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ back.T
    origin, size = corners.min(axis=0), np.ceil(np.ptp(corners, axis=0)).astype(int)
    example = seen.shade(seen.pixels)
    if size[0] < example.shape[1] or size[1] < example.shape[0]:
        return
    turned = cv2.warpAffine(
        shade,
        affine(back, -origin),
        (int(size[0]), int(size[1])),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    likeness = cv2.matchTemplate(turned, example, cv2.TM_CCOEFF_NORMED)
    apart = max(3, min(example.shape) // 2 | 1)
    peaks = (likeness >= _LEAST_COARSE) & (likeness >= cv2.dilate(likeness, np.ones((apart, apart), np.uint8)))
    rows, columns = np.nonzero(peaks)
    best = np.argsort(-likeness[rows, columns], kind="stable")[:_SPOTS_OF_A_POSE]
    middles = np.column_stack([columns[best] + example.shape[1] / 2, rows[best] + example.shape[0] / 2])
    points = (middles + origin) @ np.linalg.inv(back).T
    for (x, y), score in zip(points.tolist(), likeness[rows, columns][best].tolist(), strict=True):
        if 0 <= x <= width and 0 <= y <= height:
            yield score, pose._replace(x=pose.x + x * stretch, y=pose.y + y * stretch)


def _apart(spots: Iterator[tuple[float, Pose]], side: float) -> list[Pose]:
    """Keep the likeliest spot of each place, and the likeliest places."""
    kept: list[Pose] = []
    places = np.empty((MOST_SPOTS, 2))
    for _, pose in sorted(spots, key=lambda spot: -spot[0]):
        away = np.abs(places[: len(kept)] - (pose.x, pose.y)).max(axis=1, initial=0)
        if not (away < _NEAR * side * pose.scale).any():
            places[len(kept)] = pose.x, pose.y
            kept.append(pose)
            if len(kept) == MOST_SPOTS:
                break
    return kept


def _settled(pyramid: Pyramid, seen: Seen, around: Pose, scale: float, turn: float, reach: int) -> Pose:
    """Find the best pose near one, a step of scale and turn each way."""
    example = seen.shade(seen.pixels)
    shape = example.shape[0] + 2 * reach, example.shape[1] + 2 * reach
    best, at = -1.0, around
    for factor, angle in product((1 / scale, 1.0, scale), (-turn, 0.0, turn)):
        pose = around._replace(scale=around.scale * factor, turn=around.turn + angle)
        shown = seen.shade(pyramid.seen(pose, seen.factor, shape))
        likeness, x, y = _peak(np.asarray(cv2.matchTemplate(shown, example, cv2.TM_CCOEFF_NORMED), np.float32))
        if likeness > best:
            best, at = likeness, pose.moved((x - reach) / seen.factor, (y - reach) / seen.factor)
    return at


def _peak(likeness: _Floats) -> tuple[float, float, float]:
    """Find the highest point and, between pixels, where it is (x, y)."""
    _, best, _, (column, row) = cv2.minMaxLoc(likeness)
    return float(best), column + _summit(likeness[row], column), row + _summit(likeness[:, column], row)


def _summit(line: _Floats, at: int) -> float:
    """Lay a parabola through a highest value and its neighbors; how far off is its top?"""
    if not 0 < at < len(line) - 1:
        return 0.0
    before, here, after = (float(value) for value in line[at - 1 : at + 2])
    bend = before - 2 * here + after
    return min(max((before - after) / (2 * bend), -0.5), 0.5) if bend < 0 else 0.0


def _correlation(pyramid: Pyramid, seen: Seen, pose: Pose) -> float:
    """Judge a pose by colors and by edges; 0 where hardly anything is to be seen."""
    shown = pyramid.seen(pose, seen.factor, seen.shape).astype(np.float32)
    example = seen.pixels.astype(np.float32)
    weights = _weights(seen.shape)
    # One mean for all three colors: a copy may be lighter or darker, but not of another color.
    shown, example = (
        pixels - float((pixels * weights).sum()) / float(3 * weights.sum()) for pixels in (shown, example)
    )
    contrasts = [float((pixels**2 * weights).sum()) for pixels in (shown, example)]
    if contrasts[0] < _LEAST_CONTRAST**2 * contrasts[1]:
        return 0.0
    return (_cosine(shown, example, weights) + _cosine(_edges(shown), _edges(example), weights)) / 2


def _weights(shape: tuple[int, int]) -> _Floats:
    """Weigh the pixels (height, width, 1) of an example: 1 in an ellipse, little in the corners."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    radius = np.hypot((2 * x + 1 - width) / width, (2 * y + 1 - height) / height)
    inside = np.clip((1.25 - radius) / 0.35, 0, 1)
    return np.asarray(_CORNER_WEIGHT + (1 - _CORNER_WEIGHT) * inside, np.float32)[..., None]


def _edges(pixels: _Floats) -> _Floats:
    """Give the slope of each color, both ways."""
    soft = cv2.GaussianBlur(pixels, (0, 0), _SOFT)
    return np.concatenate([cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)], axis=2)


def _cosine(a: _Floats, b: _Floats, weights: _Floats) -> float:
    shared, of_a, of_b = (float((pair * weights).sum()) for pair in (a * b, a * a, b * b))
    return shared / math.sqrt(max(of_a * of_b, 1e-9))
