"""Template matching: where an image looks like an example, at which scale and rotation.

The search goes from coarse to fine. The image is reduced until the example is about 16 pixels wide, scaled and
rotated to each pose of a grid, and compared by normalized cross-correlation (J. P. Lewis, Fast normalized
cross-correlation, 1995), along the color axis on which the example varies most. The best candidates are then refined
to fractions of a pixel, and scored by their colors and edges.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np

from dinox_mcp.backends.embedded.readings import Pixels, Quad, decode, distinct, overlap, rounded, tiles
from dinox_mcp.backends.embedded.runtime import Floats
from dinox_mcp.backends.embedded.templates import Pose, Pyramid, Template, affine, collect, color_axis, rotation
from dinox_mcp.backends.embedded.worker import Report, Steps, share
from dinox_mcp.images.picture import Picture
from dinox_mcp.types import boxes
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections

NOTE = (
    "matches how the example looks, pixel by pixel, not what it is: copies of 0.7 to 1.4 times its size, turned by up "
    "to 15 degrees, are found; score 0 is a correlation of 0.6, 0.25 is 0.7, 1 is 1"
)
SCALES = tuple(0.7 * 2 ** (step / 4) for step in range(5))
TURNS = tuple(math.radians(degrees) for degrees in (-12, -6, 0, 6, 12))
LEAST_CORRELATION = 0.6  # textures correlate less: measured, see benchmarks/templates.py
MAX_CANDIDATES = 1000

# About how large the example is, in pixels: coarse (smaller in a large image), middle, fine.
_LEAST_COARSE_SIDE, _COARSE_SIDE, _MIDDLE_SIDE, _FINE_SIDE = 10, 14, 32, 64
_COARSE_AREA = 500_000
_LEAST_SIDE = 7
_SHARPER = 1.2  # the coarse image is so much larger, as it is scaled and rotated afterwards
_TILE = 1600
_MAX_OF_A_POSE = 400
_LEAST_COARSE, _LEAST_MIDDLE = 0.45, 0.5  # copies reach 0.6 and 0.64 in the scenes of the benchmark
_MAX_FAILED = 200  # the best candidates come first: after so many failures in a row, the search ends
_NEAR = 0.3  # candidates so near each other, in sides of the example, are the same
_LEAST_CONTRAST = 0.3  # of that of the example: less is noise
_CORNER_WEIGHT = 0.1  # most things are not square: the corners of their box show the background
_SOFT = 1.0
_SAME = 0.5  # a match that overlaps a better one more than this is the same thing

# Steps of scale and rotation around a candidate, and how far it may move in pixels: three at middle size, one at fine.
_STEPS = (
    (1.06, math.radians(3), 5),
    (1.04, math.radians(2), 2),
    (1.02, math.radians(1), 2),
    (1.01, math.radians(0.5), 3),
)


class _Sized(NamedTuple):
    """A template at one size: its `pixels` reduced by `factor`, and the color `axis` on which they vary most."""

    pixels: Pixels
    factor: float
    axis: Floats

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape[0], self.pixels.shape[1]

    def shade(self, bgr: Pixels) -> Floats:
        """Project an image on the color axis."""
        return np.asarray(cv2.transform(bgr.astype(np.float32), self.axis[None]), np.float32)


class _Match(NamedTuple):
    """Where an image looks like a template; `correlation` is the mean of colors and edges, up to 1."""

    template: Template
    outline: Quad
    box: Box
    correlation: float


def search(picture: Picture, request: DetectionRequest, pictures: Mapping[str, Picture], steps: Steps) -> Detections:
    """Find what looks like the examples, the best score first, in original pixels.

    The score maps the correlation (the mean of that of colors and that of edges) from 0.6 to 1 to a score from 0 to 1.
    An object belongs to the example with the best score, and is left out if that is a negative one.
    """
    steps.report(0.0, "decoding the image")
    bgr, notes = decode(picture)
    templates = collect(picture, bgr, request.examples, pictures)
    factor = bgr.shape[1] / picture.width
    pyramid, found, crowded = Pyramid(bgr), list[_Match](), False
    part = 0.9 / len(templates)
    for number, template in enumerate(templates):
        message = f"searching for example {number + 1} of {len(templates)}"
        report = steps.part(0.1 + number * part, 0.1 + (number + 1) * part, message)
        matches, too_many = _find(pyramid, template.scaled(factor), report)
        found += matches
        crowded |= too_many
    if crowded:
        notes.append(
            f"much of the image looks a little like an example: only the {MAX_CANDIDATES} best candidates "
            "were compared; draw a box with more details that are special to the example"
        )
    ranked = sorted(found, key=lambda item: -item.correlation)
    return Detections(
        model=f"OpenCV {cv2.__version__}",
        objects=tuple(_detections(distinct(ranked, _same), picture, factor, request)),
        notes=(NOTE, *notes),
    )


def _find(pyramid: Pyramid, template: Template, report: Report) -> tuple[list[_Match], bool]:
    """Find where an image looks like a template; return also whether there were too many candidates to compare all.

    It takes a correlation of the reduced image for each pose, and 1 to 4 ms for each candidate.
    """
    coarse, middle, fine = (
        _resize(template, side) for side in (_coarse_side(pyramid, template), _MIDDLE_SIDE, _FINE_SIDE)
    )
    candidates = _separate(_candidates(pyramid, coarse, share(report, 0.0, 0.7)), min(template.size))
    found: list[_Match] = []
    failed = 0
    for number, candidate in enumerate(candidates):
        report(0.7 + 0.3 * number / len(candidates))
        pose = _refine(pyramid, middle, candidate, *_STEPS[0])
        failed += 1
        if _correlation(pyramid, middle, pose) >= _LEAST_MIDDLE:
            for step in _STEPS[1:-1]:
                pose = _refine(pyramid, middle, pose, *step)
            match = _match(pyramid, template, fine, _refine(pyramid, fine, pose, *_STEPS[-1]))
            if match.correlation >= LEAST_CORRELATION:
                found.append(match)
                failed = 0
        if failed == _MAX_FAILED:
            break
    if template.bbox is not None:
        found.append(_match(pyramid, template, fine, Pose(*boxes.center(template.bbox))))
    return found, len(candidates) == MAX_CANDIDATES and failed < _MAX_FAILED


def _match(pyramid: Pyramid, template: Template, fine: _Sized, pose: Pose) -> _Match:
    outline = pose.outline(template.size)
    return _Match(template, outline, boxes.around(outline.tolist()), _correlation(pyramid, fine, pose))


def _coarse_side(pyramid: Pyramid, template: Template) -> float:
    """Choose the size of the template in the coarse search: the larger the image in comparison, the smaller."""
    covered = math.prod(template.size) / math.prod(pyramid.size)
    return min(max(math.sqrt(covered * _COARSE_AREA), _LEAST_COARSE_SIDE), _COARSE_SIDE)


def _resize(template: Template, side: float) -> _Sized:
    """Reduce a template to about this side in pixels, but not to a line."""
    width, height = template.size
    factor = min(1.0, max(side / math.sqrt(width * height), _LEAST_SIDE / min(width, height)))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    how = cv2.INTER_AREA if size[0] < template.pixels.shape[1] else cv2.INTER_LINEAR
    pixels = np.asarray(cv2.resize(template.pixels, size, interpolation=how), np.uint8)
    return _Sized(pixels, factor, color_axis(template.pixels)[0])


def _candidates(pyramid: Pyramid, sized: _Sized, report: Report) -> Iterator[tuple[float, Pose]]:
    """Search a template at each scale and rotation; yield likely poses with their correlations."""
    base = min(1.0, sized.factor * _SHARPER)
    overlap = math.ceil(math.hypot(*sized.shape) * _SHARPER * max(SCALES)) + 2
    stretch = pyramid.size[0] / max(1, round(pyramid.size[0] * base))
    views = tiles(pyramid.reduced(base), max(_TILE, 3 * overlap), overlap)
    shapes = list(product(SCALES, TURNS))
    for number, view in enumerate(views):
        shade = sized.shade(view.pixels)
        for done, (scale, turn) in enumerate(shapes):
            report((number + done / len(shapes)) / len(views))
            yield from _candidates_at(shade, sized, Pose(view.x * stretch, view.y * stretch, scale, turn), stretch)


def _candidates_at(shade: Floats, sized: _Sized, pose: Pose, stretch: float) -> Iterator[tuple[float, Pose]]:
    """Search a template in `shade`, a part of the image reduced by `stretch` and rotated back as the pose says."""
    height, width = shade.shape
    back = rotation(-pose.turn) * (sized.factor * stretch / pose.scale)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ back.T
    origin, size = corners.min(axis=0), np.ceil(np.ptp(corners, axis=0)).astype(int)
    example = sized.shade(sized.pixels)
    if size[0] < example.shape[1] or size[1] < example.shape[0]:
        return
    turned = cv2.warpAffine(shade, affine(back, -origin), size.tolist(), borderMode=cv2.BORDER_REPLICATE)
    likeness = cv2.matchTemplate(turned, example, cv2.TM_CCOEFF_NORMED)
    apart = max(3, min(example.shape) // 2 | 1)
    peaks = (likeness >= _LEAST_COARSE) & (likeness >= cv2.dilate(likeness, np.ones((apart, apart), np.uint8)))
    rows, columns = np.nonzero(peaks)
    best = np.argsort(-likeness[rows, columns], kind="stable")[:_MAX_OF_A_POSE]
    middles = np.column_stack([columns[best] + example.shape[1] / 2, rows[best] + example.shape[0] / 2])
    points = (middles + origin) @ np.linalg.inv(back).T
    for (x, y), score in zip(points.tolist(), likeness[rows, columns][best].tolist(), strict=True):
        if 0 <= x <= width and 0 <= y <= height:
            yield score, pose._replace(x=pose.x + x * stretch, y=pose.y + y * stretch)


def _separate(candidates: Iterator[tuple[float, Pose]], side: float) -> list[Pose]:
    """Keep the best of candidates near each other, and the best of these."""
    kept: list[Pose] = []
    centers = np.empty((MAX_CANDIDATES, 2))
    for _, pose in sorted(candidates, key=lambda candidate: -candidate[0]):
        away = np.abs(centers[: len(kept)] - (pose.x, pose.y)).max(axis=1, initial=0)
        if not (away < _NEAR * side * pose.scale).any():
            centers[len(kept)] = pose.x, pose.y
            kept.append(pose)
            if len(kept) == MAX_CANDIDATES:
                break
    return kept


def _refine(pyramid: Pyramid, sized: _Sized, around: Pose, scale: float, turn: float, reach: int) -> Pose:
    """Find the best pose near one, with a step of scale and rotation each way."""
    example = sized.shade(sized.pixels)
    shape = example.shape[0] + 2 * reach, example.shape[1] + 2 * reach
    best, at = -1.0, around
    for factor, angle in product((1 / scale, 1.0, scale), (-turn, 0.0, turn)):
        pose = around._replace(scale=around.scale * factor, turn=around.turn + angle)
        shown = sized.shade(pyramid.cut(pose, sized.factor, shape))
        likeness, x, y = _peak(np.asarray(cv2.matchTemplate(shown, example, cv2.TM_CCOEFF_NORMED), np.float32))
        if likeness > best:
            best, at = likeness, pose.moved((x - reach) / sized.factor, (y - reach) / sized.factor)
    return at


def _peak(likeness: Floats) -> tuple[float, float, float]:
    """Return the highest value and its position (x, y) between pixels."""
    _, best, _, (column, row) = cv2.minMaxLoc(likeness)
    return float(best), column + _summit(likeness[row], column), row + _summit(likeness[:, column], row)


def _summit(line: Floats, at: int) -> float:
    """Fit a parabola to a highest value and its neighbors; return the offset of its top."""
    if not 0 < at < len(line) - 1:
        return 0.0
    before, here, after = (float(value) for value in line[at - 1 : at + 2])
    bend = before - 2 * here + after
    return min(max((before - after) / (2 * bend), -0.5), 0.5) if bend < 0 else 0.0


def _correlation(pyramid: Pyramid, sized: _Sized, pose: Pose) -> float:
    """Return the correlation of colors and edges at a pose; 0 if the image has little contrast there."""
    shown = pyramid.cut(pose, sized.factor, sized.shape).astype(np.float32)
    example = sized.pixels.astype(np.float32)
    weights = _weights(sized.shape)
    # One mean for all three colors: a copy may be lighter or darker, but not of another color.
    total = float(3 * weights.sum())
    shown, example = (pixels - float((pixels * weights).sum()) / total for pixels in (shown, example))
    contrasts = [float((pixels**2 * weights).sum()) for pixels in (shown, example)]
    if contrasts[0] < _LEAST_CONTRAST**2 * contrasts[1]:
        return 0.0
    return (_cosine(shown, example, weights) + _cosine(_edges(shown), _edges(example), weights)) / 2


def _weights(shape: tuple[int, int]) -> Floats:
    """Return the weights of pixels (height, width, 1): 1 in an ellipse, little in the corners."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    radius = np.hypot((2 * x + 1 - width) / width, (2 * y + 1 - height) / height)
    inside = np.clip((1.25 - radius) / 0.35, 0, 1)
    return np.asarray(_CORNER_WEIGHT + (1 - _CORNER_WEIGHT) * inside, np.float32)[..., None]


def _edges(pixels: Floats) -> Floats:
    """Return the gradients of each color, in x and y."""
    soft = cv2.GaussianBlur(pixels, (0, 0), _SOFT)
    return np.concatenate([cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)], axis=2)


def _cosine(a: Floats, b: Floats, weights: Floats) -> float:
    shared, of_a, of_b = (float((pair * weights).sum()) for pair in (a * b, a * a, b * b))
    return shared / math.sqrt(max(of_a * of_b, 1e-9))


def _same(item: _Match, other: _Match) -> bool:
    """Return whether matches overlap; one inside the other is allowed for different labels only."""
    if not boxes.intersection(item.box, other.box):
        return False
    if (item.template.label, item.template.negative) == (other.template.label, other.template.negative):
        return overlap(item.outline, other.outline, _SAME)
    return boxes.iou(item.box, other.box) > _SAME


def _detections(found: list[_Match], picture: Picture, factor: float, request: DetectionRequest) -> list[Detection]:
    objects = []
    for item in found:
        bbox = boxes.clip(boxes.scale(item.box, 1 / factor, 1 / factor), picture.width, picture.height)
        score = round(min(1.0, (item.correlation - LEAST_CORRELATION) / (1 - LEAST_CORRELATION)), 4)
        if not item.template.negative and score >= request.min_score and boxes.is_ordered(bbox):
            objects.append(Detection(label=item.template.label, bbox=rounded(bbox), score=score))
    return boxes.suppress(objects, request.iou_threshold)
