"""Decoded pixels, and views of them: parts at other sizes, whose points map back to the image."""

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from dinox_mcp.backends.embedded.readings import Pixels, Quad, quad
from dinox_mcp.images.picture import Picture

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 20_000_000
MAX_SIDE = 32_000
"""The longest side that is searched. ZXing's limit is twice that, 65,535 pixels; models pad thin images."""
_TILE, _OVERLAP = 1600, 400
_SMALL = 1_500_000


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A part of a picture: `pixels` show it enlarged by `factor`; its upper left corner is at (`x`, `y`)."""

    pixels: Pixels
    x: int = 0
    y: int = 0
    factor: float = 1.0

    def cuts(self, points: Any, picture: Pixels) -> bool:  # noqa: ANN401 - OpenCV's detectors return various shapes
        """Tell whether a shape reaches an edge of this view that is not an edge of the image."""
        shape = quad(points)
        (left, top), (right, bottom) = shape.min(axis=0), shape.max(axis=0)
        height, width = self.pixels.shape[:2]
        return bool(
            (left <= 0 < self.x)
            or (top <= 0 < self.y)
            or (right >= width and self.x + width / self.factor < picture.shape[1])
            or (bottom >= height and self.y + height / self.factor < picture.shape[0])
        )

    def to_picture(self, points: Any) -> Quad:  # noqa: ANN401 - OpenCV's detectors return various shapes
        """Map corners in pixels of this view to pixels of the image."""
        return quad(points) / np.float32(self.factor) + np.array([self.x, self.y], np.float32)


def decode_rgb(picture: Picture) -> tuple["Image.Image", list[str]]:
    """Decode to RGB. A very large image is reduced, and a note says so.

    Raises:
        ImageError: the image is damaged.
    """
    longest, size = max(picture.width, picture.height), picture.width * picture.height
    side = min(MAX_SIDE, math.floor(longest * math.sqrt(min(1.0, MAX_PIXELS / size))))
    if side >= longest:
        return picture.rgb(), []
    rgb = picture.rgb(side)
    return rgb, [f"searched at {rgb.width}x{rgb.height} pixels; zoom in for what is smaller"]


def decode(picture: Picture) -> tuple[Pixels, list[str]]:
    """Decode to pixels (height, width, BGR). A very large image is reduced, and a note says so.

    Raises:
        ImageError: the image is damaged.
    """
    rgb, notes = decode_rgb(picture)
    return to_bgr(rgb), notes


def to_bgr(rgb: "Image.Image") -> Pixels:
    """Convert an image to an array (height, width, BGR)."""
    return np.asarray(cv2.cvtColor(np.asarray(rgb), cv2.COLOR_RGB2BGR), np.uint8)


def resized(pixels: Pixels, factor: float) -> View:
    """Return a view of the full image at another size."""
    if factor == 1:
        return View(pixels)
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return View(np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=how), np.uint8), factor=factor)


def around(pixels: Pixels, shape: Quad, margin: float, side: int) -> View:
    """Return a view of a shape, `margin` times its size wider on each side, `side` pixels high."""
    height, width = pixels.shape[:2]
    size = shape.max(axis=0) - shape.min(axis=0)
    x1, y1 = np.maximum(shape.min(axis=0) - margin * size - 8, 0).astype(int).tolist()
    x2, y2 = np.minimum(shape.max(axis=0) + margin * size + 8, (width, height)).astype(int).tolist()
    part = pixels[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
    view = resized(part, side / part.shape[0])
    return View(view.pixels, x1, y1, view.factor)


def views(pixels: Pixels) -> list[View]:
    """Choose the views of an image in which large and small things are found.

    A small image has one view at its own size. A large one has a reduced view, and overlapping tiles at full size.
    """
    height, width = pixels.shape[:2]
    if height * width <= _SMALL or max(height, width) <= _TILE:
        return [View(pixels)]
    return [resized(pixels, _TILE / max(height, width)), *tiles(pixels, _TILE, _OVERLAP)]


def tiles(pixels: Pixels, side: int, overlap: int) -> list[View]:
    """Cut an image into overlapping squares at full size."""
    height, width = pixels.shape[:2]
    corners = product(_starts(height, side, overlap), _starts(width, side, overlap))
    return [View(pixels[y : y + side, x : x + side], x, y) for y, x in corners]


def _starts(length: int, side: int, overlap: int) -> list[int]:
    """Place the fewest tiles that overlap enough, evenly."""
    count = max(1, -(-(length - overlap) // (side - overlap)))
    return [round(index * max(0, length - side) / max(1, count - 1)) for index in range(count)]
