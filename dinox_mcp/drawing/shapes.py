"""Objects in the pixels of a view."""

from collections.abc import Sequence
from typing import NamedTuple

from dinox_mcp import geometry
from dinox_mcp.drawing.colors import Color
from dinox_mcp.drawing.style import Style
from dinox_mcp.schema import DetectedObject

PixelBox = tuple[int, int, int, int]
Size = tuple[int, int]


class Shape(NamedTuple):
    """An object in pixels of the view: the box half-open, at least one pixel large and in the picture."""

    found: DetectedObject
    box: PixelBox
    color: Color


def make_shapes(objects: Sequence[DetectedObject], size: Size, original_size: Size, style: Style) -> list[Shape]:
    """Map objects of a picture of `original_size` into a view of `size`, the largest first: small ones stay visible."""
    factor_x, factor_y = size[0] / original_size[0], size[1] / original_size[1]
    color_of = style.colors(objects)
    shapes = [
        Shape(found, _to_pixels(geometry.scale(found.bbox, factor_x, factor_y), size), color_of(found))
        for found in objects
    ]
    return sorted(shapes, key=lambda shape: -geometry.area(shape.box))


def _to_pixels(bbox: geometry.Box, size: Size) -> PixelBox:
    x1, y1, x2, y2 = (round(edge) for edge in geometry.clip(bbox, *size))
    x1, y1 = min(x1, size[0] - 1), min(y1, size[1] - 1)
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)
