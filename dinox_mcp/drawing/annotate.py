"""Objects on a picture: masks below, then boxes and skeletons, then tags on top."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from dinox_mcp import masks
from dinox_mcp.drawing import tagging
from dinox_mcp.drawing.colors import Color
from dinox_mcp.drawing.dots import draw_dots, make_dot
from dinox_mcp.drawing.layout import text_size
from dinox_mcp.drawing.shapes import PixelBox, Shape, make_shapes
from dinox_mcp.drawing.skeletons import draw_skeletons
from dinox_mcp.drawing.style import Style
from dinox_mcp.schema import DetectedObject, Mask

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
        for tag in tagging.place(shapes, style, canvas.size):
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
