"""The outlines of barcodes: of those too small or blurred to be read, and the full height of the others.

OpenCV locates any stripes, so they are measured here. Its reader is not used, as it reads EAN digits into about one
in twelve barcodes of other kinds.
"""

import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.embedded.prompts import Kind
from dinox_mcp.backends.embedded.readings import Pixels, Quad, Reading, View, levelled, quad, sides, tiles, unique
from dinox_mcp.backends.embedded.worker import Report

Widths = npt.NDArray[np.float64]

_LEAST_TILE = 500
_PIECE = 0.2  # barcodes that overlap so much are pieces of one that a tile cuts
_SOFTENED = 0.5  # blur in pixels: bars drawn by a program are found better with it
_ROWS, _ROW_HEIGHT = 8, 8
_LEAST_LENGTH, _MOST_LENGTH = 600, 2400
_LEAST_BARS, _MOST_BARS = 12, 200
_ALIKE = 0.5  # least correlation of two rows that cross the same bars
_MOST_HEIGHT = 1.0  # in lengths, to each side of the slice that was read
_GUARD, _MOST_GUARD = 0.032, 0.15  # width of the longer bars at the ends of an EAN, and how much longer, in lengths
_BESIDE, _BLUR = 4, 1.0
_ROWS_SEEN = 5  # so many rows are averaged, against noise
_GAP = 2  # so many rows may differ, as at a scratch
_LEAST_VARIETY = 1.5  # wide against thin bars: blinds, fences and shirts have equal ones


def locate(gray: Pixels, report: Report) -> list[Quad]:
    """Find barcodes in an image (height, width)."""
    detector: Any = cv2.barcode.BarcodeDetector()  # finds codes that fill some share of an image, so tiles help
    side = max(_LEAST_TILE, max(gray.shape) // 5)
    soft = np.asarray(cv2.GaussianBlur(gray, (0, 0), _SOFTENED), np.uint8)
    views = [View(soft), *tiles(soft, side, side // 2)]
    found: list[Reading] = []
    for done, view in enumerate(views):
        report(done / len(views))
        found += [Reading(Kind.BARCODE, shape) for shape in _locate_in(view, detector, gray)]
    return [item.quad for item in unique(found, _PIECE)]


def _locate_in(view: View, detector: Any, gray: Pixels) -> Iterator[Quad]:  # noqa: ANN401 - OpenCV has no types
    try:
        _, shapes = detector.detectMulti(view.pixels)
    except cv2.error:  # raised for some images without codes
        return
    for shape in map(quad, shapes if shapes is not None else ()):
        if not view.cuts(shape, gray) and _are_bars(view.pixels, shape):
            yield view.to_image(shape)


def _are_bars(gray: Pixels, shape: Quad) -> bool:
    """Return whether stripes are a barcode: many bars of different widths."""
    for widths in _scan(gray, shape):
        if 2 * _LEAST_BARS <= len(widths) <= 2 * _MOST_BARS:
            thin, wide = np.quantile(widths[: len(widths) // 2 * 2].reshape(-1, 2), (0.1, 0.9), axis=0)
            if (wide >= _LEAST_VARIETY * thin).all():
                return True
    return False


def extent(gray: Pixels, piece: Quad) -> Quad:
    """Return the outline of all bars of a code, of which a slice was read.

    A slice is as long as the code. The bars continue above and below it while rows look like those of the slice.
    """
    along = _across_bars(gray, piece)
    axes = np.stack([along, (-along[1], along[0])])
    positions = piece @ axes.T
    (start, top), (end, bottom) = positions.min(axis=0), positions.max(axis=0)
    length = max(1, round(float(end - start)))
    reach = math.ceil(_MOST_HEIGHT * length)
    height = math.ceil(bottom - top) + 2 * reach
    matrix = np.column_stack([axes, (-start, reach - top)])
    shade = float(gray.mean())
    level = cv2.warpAffine(gray, matrix, (length, height), flags=cv2.INTER_LINEAR, borderValue=shade)
    strip = np.asarray(cv2.blur(level.astype(float), (1, _ROWS_SEEN)), np.float64)
    model = strip[reach : height - reach + 1].mean(axis=0)
    alike = _correlations(strip, model) > _ALIKE
    first, last = _extend(alike, reach, reach + round(float(bottom - top)))
    ends = np.r_[: max(2, round(_GUARD * length)), length - max(2, round(_GUARD * length)) : length]
    guards = _extend(_correlations(strip[:, ends], model[ends]) > _ALIKE, first, last)
    most = round(_MOST_GUARD * length)
    first, last = max(guards[0], first - most), min(guards[1], last + most)
    upper, lower = first + _ROWS_SEEN // 2 - reach + top, last - _ROWS_SEEN // 2 + 1 - reach + top
    return np.asarray(np.array([[start, upper], [end, upper], [end, lower], [start, lower]]) @ axes, np.float32)


def _across_bars(gray: Pixels, piece: Quad) -> npt.NDArray[np.float64]:
    """Return the direction across the bars, of length 1, along which shades change."""
    corner = np.maximum(np.floor(piece.min(axis=0)) - _BESIDE, 0).astype(int)
    far = np.ceil(piece.max(axis=0)).astype(int) + _BESIDE
    part = cv2.GaussianBlur(gray[corner[1] : far[1], corner[0] : far[0]], (0, 0), _BLUR)
    inside = np.zeros(part.shape, np.uint8)
    outline = (piece - corner).round().astype(np.int32)
    cv2.fillPoly(inside, [outline], 1)
    cv2.polylines(inside, [outline], isClosed=True, color=1)
    slopes = np.stack([cv2.Scharr(part, cv2.CV_64F, *axis)[inside > 0] for axis in ((1, 0), (0, 1))])
    along: npt.NDArray[np.float64] = np.linalg.eigh(slopes @ slopes.T)[1][:, -1]
    return along if along @ (piece[1] - piece[0]) >= 0 else -along


def _correlations(rows: Widths, model: Widths) -> Widths:
    """Return the correlation of each row with a model; 0 for a row of one shade."""
    rows, model = rows - rows.mean(axis=1, keepdims=True), model - model.mean()
    return np.asarray(rows @ model / np.maximum(np.linalg.norm(rows, axis=1) * np.linalg.norm(model), 1e-9))


def _extend(alike: npt.NDArray[np.bool_], first: int, last: int) -> tuple[int, int]:
    """Extend a run of rows both ways over rows that are alike, and over short gaps."""
    ahead, back = np.flatnonzero(alike[last:]), np.flatnonzero(alike[first::-1])
    return first - _reach(back), last + _reach(ahead)


def _reach(steps: npt.NDArray[np.intp]) -> int:
    far = 0
    for step in steps.tolist():
        if step > far + _GAP + 1:
            break
        far = step
    return far


def _scan(gray: Pixels, shape: Quad) -> Iterator[Widths]:
    """Measure bars and gaps along lines through a code, in both directions, as its corners may begin anywhere."""
    length = int(np.clip(2 * sides(shape).max(), _LEAST_LENGTH, _MOST_LENGTH))
    for turned in (shape, np.roll(shape, 1, axis=0)):
        strip, _ = levelled(gray, turned, (length, _ROWS * _ROW_HEIGHT))
        for line in strip.reshape(_ROWS, _ROW_HEIGHT, length).mean(axis=1).astype(np.uint8):
            threshold, _ = cv2.threshold(line, 0, 255, cv2.THRESH_OTSU)
            yield np.diff(np.flatnonzero(np.diff(line > threshold))).astype(float)
