"""Draws objects on an image: masks, then boxes and skeletons, then tags or numbered dots."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw

from dinox_mcp.drawing.lines import Pixels, disc, draw_skeletons, stroke
from dinox_mcp.drawing.style import BLACK, Color, PixelBox, Shape, Size, Style, make_shapes
from dinox_mcp.drawing.tags import Boxes, draw_tag, fits, make_tags, shared_areas, text_size
from dinox_mcp.types import masks
from dinox_mcp.types.boxes import center
from dinox_mcp.types.detection import DetectedObject, Mask

_HALO = 130  # opacity of the dark rim of a line, of 255: visible on white, but not a second frame on dark
_DASH = 4  # length of a dash, in widths of the line
_SMALLEST_TEXT = 9
_DIGIT = 0.6  # width of a digit, in text sizes
_RINGS = (0.0, 0.8, 1.8)  # allowed distances of a number from its dot, in heights of the number


def annotate(
    image: Image.Image,
    objects: Sequence[DetectedObject],
    *,
    original_size: tuple[int, int],
    style: Style = Style(),  # noqa: B008 - frozen
) -> Image.Image:
    """Draw objects, in pixels of the original of (width, height), on an RGB copy of its image at any size.

    Lines and text follow the size of the image.

    Raises:
        ValueError: a mask is not a COCO RLE of its size.
    """
    canvas = image.convert("RGB")  # makes a copy, even of an RGB image
    shapes = make_shapes(objects, canvas.size, original_size, style)
    letters = text_size(canvas.size, len(shapes))
    line = max(1, round(letters / 6))
    if style.masks:
        for shape in shapes:
            if shape.found.mask:
                _paint_mask(canvas, shape.found.mask, shape.color, style.opacity, line)
    if style.boxes:
        _paint_boxes(canvas, shapes, line)
    if style.keypoints and any(found.keypoints for found in objects):
        skeletons = (shape.found.keypoints for shape in shapes)
        canvas = draw_skeletons(canvas, skeletons, original_size=original_size, line=line)
    if style.dots:
        dots = [_dot(shape, letters) for shape in shapes]
        canvas = _draw_dots(canvas, dots, letters)
    elif style.numbers or style.labels or style.captions:
        for tag, corner in make_tags(shapes, style, canvas.size):
            canvas.paste(tag, corner)
    return canvas


def _paint_mask(canvas: Image.Image, mask: Mask, color: Color, opacity: float, line: int) -> None:
    left, top, bits = masks.window(masks.resize(mask, *canvas.size))
    if bits.size:
        shape = np.ascontiguousarray(bits).view(np.uint8)
        cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
        # All within `line` pixels of the edge stays opaque, as an outline; outside of the array is nothing.
        core = cv2.erode(shape, cross, iterations=line, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        alpha = shape * np.uint8(255) - np.asarray(core, np.uint8) * np.uint8(255 - round(255 * opacity))
        canvas.paste(color, (left, top), Image.fromarray(alpha))


def _paint_boxes(canvas: Image.Image, shapes: Sequence[Shape], line: int) -> None:
    """Draw boxes in their colors, all dark rims below all lines, so that no rim crosses a line."""
    rims = Image.new("L", canvas.size)
    rim, pen = ImageDraw.Draw(rims), ImageDraw.Draw(canvas)
    for shape in shapes:
        for x1, y1, x2, y2 in _strokes(shape, line):
            rim.rectangle((x1 - 1, y1 - 1, x2, y2), fill=_HALO)
    canvas.paste((0, 0, 0), (0, 0), rims)
    for shape in shapes:
        for x1, y1, x2, y2 in _strokes(shape, line):
            pen.rectangle((x1, y1, x2 - 1, y2 - 1), fill=shape.color)


def _strokes(shape: Shape, line: int) -> Iterator[PixelBox]:
    """Give the strokes of a box: its four sides, or their dashes, which begin and end at the corners."""
    x1, y1, x2, y2 = shape.box
    width = _width(shape.box, line)
    for left, right in _dashes(x1, x2, width) if shape.dashed else ((x1, x2),):
        yield left, y1, right, y1 + width
        yield left, y2 - width, right, y2
    for top, bottom in _dashes(y1, y2, width) if shape.dashed else ((y1, y2),):
        yield x1, top, x1 + width, bottom
        yield x2 - width, top, x2, bottom


def _dashes(start: int, end: int, width: int) -> Iterator[tuple[int, int]]:
    """Divide a side into dashes and gaps of about the same length, at least so long that they differ from dots."""
    if end - start < 3:  # noqa: PLR2004 - no space for two dashes and a gap
        yield start, end
        return
    count = max(2, round((end - start) / max(6, _DASH * width) / 2))
    length = (end - start) / (2 * count - 1)
    for number in range(count):
        yield round(start + 2 * number * length), round(start + (2 * number + 1) * length)


def _width(box: PixelBox, line: int) -> int:
    """Choose a line thin enough that the content of a small box stays visible."""
    return max(1, min(line, min(box[2] - box[0], box[3] - box[1]) // 6))


class _Dot(NamedTuple):
    """An object drawn as a dot: its center and radius in pixels of the view."""

    found: DetectedObject
    x: float
    y: float
    radius: float
    color: Color


def _dot(shape: Shape, size: int) -> _Dot:
    """Make the dot of an object; it is small compared with the box and with text of `size` pixels."""
    x1, y1, x2, y2 = shape.box
    radius = max(2.0, min(size / 3, 0.2 * min(x2 - x1, y2 - y1)))
    return _Dot(shape.found, *center(shape.box), radius, shape.color)


def _draw_dots(image: Image.Image, dots: Sequence[_Dot], size: int) -> Image.Image:
    """Draw dots and their numbers on a copy of an RGB image, with text of at most `size` pixels.

    The denser the dots, the smaller the text. A number never covers a dot or another number. If there is no free spot
    at its dot, it is drawn a little apart and joined by a line; if there is none there either, it is left out.
    """
    size = _text_size(dots, size)
    tags = [draw_tag(dot.found, dot.color, size, number=True) for dot in dots]
    corners = _place(dots, [tag.size if tag else None for tag in tags], image.size)
    placed = [(dot, tag, corner) for dot, tag, corner in zip(dots, tags, corners, strict=True) if tag and corner]
    pixels = np.array(image)
    for dot, tag, corner in placed:
        _join(pixels, dot, corner, tag.size)
    for dot in dots:
        disc(pixels, (dot.x, dot.y), dot.radius + 1, BLACK)
        disc(pixels, (dot.x, dot.y), dot.radius, dot.color)
    drawn = Image.fromarray(pixels)
    for _, tag, corner in placed:
        drawn.paste(tag, corner)
    return drawn


def _text_size(dots: Sequence[_Dot], largest: int) -> int:
    """Choose text so small that most numbers fit between neighboring dots."""
    if len(dots) < 2:  # noqa: PLR2004 - a single dot has no neighbor
        return largest
    centers = np.array([(dot.x, dot.y) for dot in dots])
    nearest = [np.partition(np.abs(centers - here).max(axis=1), 1)[1] for here in centers]  # the first is the dot
    digits = len(str(max(dot.found.id for dot in dots)))
    return int(max(_SMALLEST_TEXT, min(largest, float(np.median(nearest)) / (_DIGIT * digits + 0.9))))


def _place(dots: Sequence[_Dot], sizes: Sequence[Size | None], canvas: Size) -> list[tuple[int, int] | None]:
    """Find the upper left corner of each number: the first free spot at its dot; None if there is none."""
    taken = np.array([(dot.x - dot.radius, dot.y - dot.radius, dot.x + dot.radius, dot.y + dot.radius) for dot in dots])
    taken = np.concatenate((taken.reshape(-1, 4), np.zeros((len(dots), 4))))
    corners: list[tuple[int, int] | None] = []
    for index, (dot, size) in enumerate(zip(dots, sizes, strict=True)):
        corner = _free(dot, size, canvas, taken) if size and fits(size, canvas) else None
        corners.append(corner)
        if corner and size:
            taken[len(dots) + index] = (*corner, corner[0] + size[0], corner[1] + size[1])
    return corners


def _free(dot: _Dot, size: Size, canvas: Size, taken: Boxes) -> tuple[int, int] | None:
    spots = _spots(dot, size)
    reach = spots[:, :2].min(axis=0), spots[:, 2:].max(axis=0)
    near = taken[(taken[:, :2] < reach[1]).all(axis=1) & (taken[:, 2:] > reach[0]).all(axis=1)]
    inside = (spots[:, :2] >= 0).all(axis=1) & (spots[:, 2:] <= canvas).all(axis=1)
    free = np.flatnonzero(inside & (shared_areas(spots, near).sum(axis=1) == 0))
    if not free.size:
        return None
    x, y = spots[free[0], :2]
    return int(x), int(y)


def _spots(dot: _Dot, size: Size) -> Boxes:
    """List the spots for a number, the best first: upper right of its dot, then around it, then farther away."""
    width, height = size
    spots = []
    for ring in _RINGS:
        gap = dot.radius + 1 + ring * height
        right, left, above, below = dot.x + gap, dot.x - gap - width, dot.y - gap - height, dot.y + gap
        center, middle = dot.x - width / 2, dot.y - height / 2
        near = 0.3 * gap  # a spot at a corner is apart in both directions
        spots += [
            (dot.x + near, above), (right, middle), (dot.x - near - width, above), (left, middle), (center, above),
            (center, below), (dot.x + near, below), (dot.x - near - width, below),
        ]  # fmt: skip
    corner = np.round(spots)
    return np.concatenate((corner, corner + size), axis=1)


def _join(pixels: Pixels, dot: _Dot, corner: tuple[int, int], size: Size) -> None:
    """Draw a line from a dot to the nearest point of its number."""
    x = min(max(dot.x, corner[0]), corner[0] + size[0])
    y = min(max(dot.y, corner[1]), corner[1] + size[1])
    for color, width in ((BLACK, 2), (dot.color, 1)):
        stroke(pixels, (dot.x, dot.y), (x, y), color, width)
