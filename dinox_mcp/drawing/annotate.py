"""Objects on a picture: masks below, then boxes and skeletons, then tags on top."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from dinox_mcp import geometry, masks
from dinox_mcp.drawing.colors import Color
from dinox_mcp.drawing.dots import draw_dots, make_dot
from dinox_mcp.drawing.layout import place_tags, text_size
from dinox_mcp.drawing.skeletons import draw_skeletons
from dinox_mcp.drawing.style import Style
from dinox_mcp.drawing.tags import draw_tag
from dinox_mcp.drawing.words import in_legend
from dinox_mcp.schema import DetectedObject, Mask

PixelBox = tuple[int, int, int, int]

_HALO = 130  # opacity of the dark rim of a line, of 255: seen on white, no second frame on dark


class _Shape(NamedTuple):
    """An object in pixels of the view: the box half-open, at least one pixel large and in the picture."""

    found: DetectedObject
    box: PixelBox
    color: Color


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
    shapes = _shapes(objects, canvas.size, original_size, style)
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
        _paint_tags(canvas, shapes, style, letters)
    return canvas


def _shapes(
    objects: Sequence[DetectedObject], size: tuple[int, int], original: tuple[int, int], style: Style
) -> list[_Shape]:
    """Map objects into the view, the largest first, so that small ones stay visible."""
    factor_x, factor_y = size[0] / original[0], size[1] / original[1]
    shapes = [
        _Shape(found, _to_pixels(geometry.scale(found.bbox, factor_x, factor_y), size), style.color_of(found))
        for found in objects
    ]
    return sorted(shapes, key=lambda shape: -geometry.area(shape.box))


def _to_pixels(bbox: geometry.Box, size: tuple[int, int]) -> PixelBox:
    x1, y1, x2, y2 = (round(edge) for edge in geometry.clip(bbox, *size))
    x1, y1 = min(x1, size[0] - 1), min(y1, size[1] - 1)
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)


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


def _paint_boxes(canvas: Image.Image, shapes: Sequence[_Shape], line: int) -> None:
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


def _paint_tags(canvas: Image.Image, shapes: Sequence[_Shape], style: Style, size: int) -> None:
    told = {found.id for found in in_legend([shape.found for shape in shapes])}
    tagged: list[tuple[_Shape, Image.Image, Image.Image]] = []
    for shape in sorted(shapes, key=lambda shape: shape.found.id):
        full = draw_tag(
            shape.found,
            shape.color,
            size,
            number=style.numbers,
            label=style.labels,
            remark=style.captions and shape.found.id not in told,
        )
        short = draw_tag(shape.found, shape.color, size, number=True) if style.numbers else full
        if full and short:
            tagged.append((shape, full, short))
    places = place_tags(
        [shape.box for shape, _, _ in tagged],
        [full.size for _, full, _ in tagged],
        [short.size for _, _, short in tagged],
        canvas.size,
    )
    for (_, full, short), place in zip(tagged, places, strict=True):
        if place:
            canvas.paste(full if place.full else short, (place.x, place.y))
