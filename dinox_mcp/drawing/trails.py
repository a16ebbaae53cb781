"""Where tracked objects came from: their last positions as lines that fade."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from PIL import Image

from dinox_mcp import geometry
from dinox_mcp.drawing.colors import BLACK, Color, color_of_number
from dinox_mcp.drawing.strokes import stroke
from dinox_mcp.schema import Point

_FAINTEST = 40  # opacity of the oldest part, of 255
_RIM = 0.5  # opacity of the dark rim, of the line's own


def draw_trails(image: Image.Image, trails: Mapping[int, Sequence[Point]], *, line: int | None = None) -> Image.Image:
    """Draw the positions of each track as a line on a copy of an RGB image, the oldest first and the faintest.

    `trails` holds points (x, y) in pixels of the image by the number of the track, which has its own colour
    (`colors.color_of_number`, as `Style.color_by` "number" has it). `line` is the width at the newest end; by
    default it follows the size of the image. A track of a single point has no line.
    """
    canvas = image.convert("RGB")
    width = line or max(2, round(max(canvas.size) / 320))
    for number, points in trails.items():
        _draw(canvas, _near(points, canvas.size), color_of_number(number), width)
    return canvas


def _near(points: Sequence[Point], size: tuple[int, int]) -> list[Point]:
    """Leave out points far out of the image, where numbers have no meaning."""
    width, height = size
    return [(x, y) for x, y in points if -width <= x <= 2 * width and -height <= y <= 2 * height]


def _draw(canvas: Image.Image, points: Sequence[Point], color: Color, width: int) -> None:
    """Blend one trail into its part of the canvas only, so that many short ones cost little on a large one."""
    if len(points) < 2:  # noqa: PLR2004 - a line has two ends
        return
    x1, y1, x2, y2 = geometry.around(points)
    margin = width + 2
    left, top, right, bottom = (
        round(edge) for edge in geometry.clip((x1 - margin, y1 - margin, x2 + margin, y2 + margin), *canvas.size)
    )
    if left >= right or top >= bottom:
        return
    corners = [(x - left, y - top) for x, y in points]
    for ink, extra, strength in ((BLACK, 2, _RIM), (color, 0, 1.0)):
        opacity = np.zeros((bottom - top, right - left), np.uint8)
        for age, (start, stop) in enumerate(pairwise(corners), start=1):
            part = age / (len(corners) - 1)
            shade = round(strength * (_FAINTEST + (255 - _FAINTEST) * part))
            stroke(opacity, start, stop, (shade,), max(1, round(width * (0.4 + 0.6 * part))) + extra)
        canvas.paste(ink, (left, top), Image.fromarray(opacity))
