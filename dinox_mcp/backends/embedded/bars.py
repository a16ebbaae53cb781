"""Where barcodes are, also those that are too small or blurred to be read, by OpenCV.

OpenCV takes any stripes for a barcode: here they are measured. What it reads is not asked for, as it reads EAN
digits into about one in twelve barcodes of other kinds.
"""

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.embedded.findings import Finding, Pixels, Quad, once, quad, sides
from dinox_mcp.backends.embedded.pixels import View, tiles
from dinox_mcp.backends.embedded.vocabulary import Kind

Told = Callable[[float], None]
Widths = npt.NDArray[np.float64]

_LEAST_TILE = 500
_PIECE = 0.2  # barcodes that overlap so much are pieces of one, as tiles cut it
_SOFTENED = 0.5  # bars drawn by a program are found better softened
_ROWS, _ROW_HEIGHT = 8, 8
_LEAST_LENGTH, _MOST_LENGTH = 600, 2400
_LEAST_BARS, _MOST_BARS = 12, 200
_LEAST_VARIETY = 1.5  # barcodes have thin and wide bars, and gaps; blinds, fences and shirts do not


def locate(gray: Pixels, tell: Told) -> list[Quad]:
    """Find barcodes in a picture (height, width).

    OpenCV looks for codes of a certain share of the picture, so smaller ones are looked for in tiles.
    """
    detector: Any = cv2.barcode.BarcodeDetector()
    side = max(_LEAST_TILE, max(gray.shape) // 5)
    soft = np.asarray(cv2.GaussianBlur(gray, (0, 0), _SOFTENED), np.uint8)
    looks = [View(soft), *tiles(soft, side, side // 2)]
    found: list[Finding] = []
    for done, view in enumerate(looks):
        tell(done / len(looks))
        found += [Finding(Kind.BARCODE, shape) for shape in _in(view, detector, gray)]
    return [item.quad for item in once(found, _PIECE)]


def _in(view: View, detector: Any, gray: Pixels) -> Iterator[Quad]:  # noqa: ANN401 - OpenCV has no types
    try:
        _, shapes = detector.detectMulti(view.pixels)
    except cv2.error:  # OpenCV gives up on some pictures that hold no code
        return
    for shape in map(quad, shapes if shapes is not None else ()):
        if not view.cuts(shape, gray) and are_bars(view.pixels, shape):
            yield view.whole(shape)


def are_bars(gray: Pixels, shape: Quad) -> bool:
    """Tell a barcode from other stripes: many bars, of different widths."""
    for widths in _scan(gray, shape):
        if 2 * _LEAST_BARS <= len(widths) <= 2 * _MOST_BARS:
            thin, wide = np.quantile(widths[: len(widths) // 2 * 2].reshape(-1, 2), (0.1, 0.9), axis=0)
            if (wide >= _LEAST_VARIETY * thin).all():
                return True
    return False


def _scan(gray: Pixels, shape: Quad) -> Iterator[Widths]:
    """Measure bars and gaps along lines through a code, in both directions as corners may come in any order."""
    length = int(np.clip(2 * sides(shape).max(), _LEAST_LENGTH, _MOST_LENGTH))
    size = length, _ROWS * _ROW_HEIGHT
    upright = np.array([[0, 0], [length, 0], size, [0, size[1]]], np.float32)
    for turned in (shape, np.roll(shape, 1, axis=0)):
        matrix = cv2.getPerspectiveTransform(turned, upright)
        strip = cv2.warpPerspective(gray, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        for line in strip.reshape(_ROWS, _ROW_HEIGHT, length).mean(axis=1).astype(np.uint8):
            threshold, _ = cv2.threshold(line, 0, 255, cv2.THRESH_OTSU)
            yield np.diff(np.flatnonzero(np.diff(line > threshold))).astype(float)
