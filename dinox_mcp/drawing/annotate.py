"""Objects on a picture: masks below, then boxes and skeletons, then tags or numbered dots on top."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from dinox_mcp.drawing import tags
from dinox_mcp.drawing.layout import Size, fits, shared, text_size
from dinox_mcp.drawing.lines import Pixels, disc, draw_skeletons, stroke
from dinox_mcp.drawing.style import BLACK, Color, PixelBox, Shape, Style, make_shapes
from dinox_mcp.drawing.tags import draw_tag
from dinox_mcp.types import masks
from dinox_mcp.types.detection import DetectedObject, Mask

_HALO = 130  # opacity of the dark rim of a line, of 255: seen on white, no second frame on dark


def annotate(
    image: Image.Image,
    objects: Sequence[DetectedObject],
    *,
    original_size: tuple[int, int],
    style: Style = Style(),  # noqa: B008 - frozen
) -> Image.Image:
    """Draw objects on a copy of an RGB image.

    The image is the original, of `original_size` (width, height) pixels, at whatever size; boxes and masks are
    mapped from original pixels. Lines and text follow the size of the image.

    Raises:
        ValueError: a mask is not a COCO RLE of the size that it claims.
    """
    canvas = image.convert("RGB")  # a copy, of RGB too
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
        dots = [make_dot(shape.found, shape.box, shape.color, letters) for shape in shapes]
        canvas = draw_dots(canvas, dots, letters)
    elif style.numbers or style.labels or style.captions:
        for tag in tags.place(shapes, style, canvas.size):
            canvas.paste(tag.image, tag.corner)
    return canvas


def _paint_mask(canvas: Image.Image, mask: Mask, color: Color, opacity: float, line: int) -> None:
    left, top, bits = masks.window(masks.resize(mask, *canvas.size))
    if bits.size:
        shape = np.ascontiguousarray(bits).view(np.uint8)
        alpha = shape * np.uint8(255) - _core(shape, line) * np.uint8(255 - round(255 * opacity))
        canvas.paste(color, (left, top), Image.fromarray(alpha))


def _core(shape: npt.NDArray[np.uint8], line: int) -> npt.NDArray[np.uint8]:
    """Take `line` pixels off the edge of a shape of ones; outside of the array there are none."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    core = cv2.erode(shape, cross, iterations=line, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(core, np.uint8)


def _paint_boxes(canvas: Image.Image, shapes: Sequence[Shape], line: int) -> None:
    """Frame the boxes in their colours; one layer of dark rims under all lines, so that no rim crosses a line."""
    rims = Image.new("L", canvas.size)
    rim, pen = ImageDraw.Draw(rims), ImageDraw.Draw(canvas)
    for shape in shapes:
        x1, y1, x2, y2 = shape.box
        rim.rectangle((x1 - 1, y1 - 1, x2, y2), outline=_HALO, width=_width(shape.box, line) + 2)
    canvas.paste((0, 0, 0), (0, 0), rims)
    for shape in shapes:
        x1, y1, x2, y2 = shape.box
        pen.rectangle((x1, y1, x2 - 1, y2 - 1), outline=shape.color, width=_width(shape.box, line))


def _width(box: PixelBox, line: int) -> int:
    """A line that leaves something of a small box to see."""
    return max(1, min(line, min(box[2] - box[0], box[3] - box[1]) // 6))


Floats = npt.NDArray[np.float64]

_SMALLEST_TEXT = 9
_DIGIT = 0.6  # ems
_RINGS = (0.0, 0.8, 1.8)  # how far from its dot a number may stand, in its heights


class Dot(NamedTuple):
    """An object as a point of the view: its centre and radius in pixels."""

    found: DetectedObject
    x: float
    y: float
    radius: float
    color: Color


def make_dot(found: DetectedObject, box: Sequence[float], color: Color, size: int) -> Dot:
    """Put a dot on the middle of a box in pixels of the view, small beside both the box and text of `size` pixels."""
    x1, y1, x2, y2 = box
    radius = max(2.0, min(size / 3, 0.2 * min(x2 - x1, y2 - y1)))
    return Dot(found, (x1 + x2) / 2, (y1 + y2) / 2, radius, color)


def draw_dots(image: Image.Image, dots: Sequence[Dot], size: int) -> Image.Image:
    """Draw dots and their numbers on a copy of an RGB image, with text of at most `size` pixels.

    The denser the dots, the smaller the text. A number never covers a dot or another number: one that has no place
    at its dot stands a little off, joined by a line, and one that has none there either is left out.
    """
    size = _text_size(dots, size)
    tags = [draw_tag(dot.found, dot.color, size, number=True) for dot in dots]
    places = _place(dots, [tag.size if tag else None for tag in tags], image.size)
    pixels = np.array(image)
    for dot, tag, place in zip(dots, tags, places, strict=True):
        if tag and place is not None:
            _join(pixels, dot, place, tag.size)
    for dot in dots:
        disc(pixels, (dot.x, dot.y), dot.radius + 1, BLACK)
        disc(pixels, (dot.x, dot.y), dot.radius, dot.color)
    drawn = Image.fromarray(pixels)
    for tag, place in zip(tags, places, strict=True):
        if tag and place is not None:
            drawn.paste(tag, place)
    return drawn


def _text_size(dots: Sequence[Dot], largest: int) -> int:
    """Choose text whose numbers fit between neighbours, as most of them stand."""
    if len(dots) < 2:  # noqa: PLR2004 - neighbours are two
        return largest
    centers = np.array([(dot.x, dot.y) for dot in dots])
    nearest = []
    for index, center in enumerate(centers):
        gaps = np.abs(centers - center).max(axis=1)
        gaps[index] = np.inf
        nearest.append(gaps.min())
    digits = len(str(max(dot.found.id for dot in dots)))
    return int(max(_SMALLEST_TEXT, min(largest, float(np.median(nearest)) / (_DIGIT * digits + 0.9))))


def _place(dots: Sequence[Dot], sizes: Sequence[Size | None], canvas: Size) -> list[tuple[int, int] | None]:
    """Find the upper left corner of each number: the nearest spot to its dot that is free, if any is."""
    taken = np.array([(dot.x - dot.radius, dot.y - dot.radius, dot.x + dot.radius, dot.y + dot.radius) for dot in dots])
    taken = np.concatenate((taken.reshape(-1, 4), np.zeros((len(dots), 4))))
    places: list[tuple[int, int] | None] = []
    for index, (dot, size) in enumerate(zip(dots, sizes, strict=True)):
        place = _free(dot, size, canvas, taken) if size and fits(size, canvas) else None
        places.append(place)
        if place and size:
            taken[len(dots) + index] = (*place, place[0] + size[0], place[1] + size[1])
    return places


def _free(dot: Dot, size: Size, canvas: Size, taken: Floats) -> tuple[int, int] | None:
    spots = _spots(dot, size)
    reach = spots[:, :2].min(axis=0), spots[:, 2:].max(axis=0)
    near = taken[(taken[:, :2] < reach[1]).all(axis=1) & (taken[:, 2:] > reach[0]).all(axis=1)]
    inside = (spots[:, :2] >= 0).all(axis=1) & (spots[:, 2:] <= canvas).all(axis=1)
    free = np.flatnonzero(inside & (shared(spots, near).sum(axis=1) == 0))
    if not free.size:
        return None
    x, y = spots[free[0], :2]
    return int(x), int(y)


def _spots(dot: Dot, size: Size) -> Floats:
    """List the spots for a number around its dot, the most natural first: upper right, then around, then further."""
    width, height = size
    spots = []
    for ring in _RINGS:
        gap = dot.radius + 1 + ring * height
        right, left, above, below = dot.x + gap, dot.x - gap - width, dot.y - gap - height, dot.y + gap
        center, middle = dot.x - width / 2, dot.y - height / 2
        near = 0.3 * gap  # a corner is off in both directions
        spots += [
            (dot.x + near, above), (right, middle), (dot.x - near - width, above), (left, middle), (center, above),
            (center, below), (dot.x + near, below), (dot.x - near - width, below),
        ]  # fmt: skip
    corner = np.round(spots)
    return np.concatenate((corner, corner + size), axis=1)


def _join(pixels: Pixels, dot: Dot, place: tuple[int, int], size: Size) -> None:
    """Draw a line from a dot to the nearest point of its number; a number at the dot covers it."""
    x = min(max(dot.x, place[0]), place[0] + size[0])
    y = min(max(dot.y, place[1]), place[1] + size[1])
    for color, width in ((BLACK, 2), (dot.color, 1)):
        stroke(pixels, (dot.x, dot.y), (x, y), color, width)
