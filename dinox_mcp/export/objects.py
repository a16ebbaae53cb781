"""Objects of an image as images of their own, and copies of an image without the pixels of its objects.

Redacted pixels are replaced, not covered, and cannot be computed back.

`fill` leaves nothing. `blur` and `pixelate` average the object into a handful of cells, however large it is, and fade
them: what is shown of a face or of a line of text are at most `CELLS` x `CELLS` pale colors, and its edge is hidden by
a margin. A blur of a few pixels, as it is usual, would leave text legible for a program, and faces recognizable. All of
this was chosen by measuring (benchmarks/redaction.py): with more cells, more contrast or less of a margin, some faces
were still found as faces.
"""

import math
from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from dinox_mcp.drawing.views import encode_png
from dinox_mcp.export.options import Method, Shape
from dinox_mcp.store.results import Stored
from dinox_mcp.types import masks
from dinox_mcp.types.boxes import Box, clip
from dinox_mcp.types.detection import DetectedObject, get_object

CELLS = 3
"""Cells along the long side of an object that `blur` and `pixelate` keep."""
LEAST_MARGIN = 0.25
"""The margin that `blur` and `pixelate` have at least, as a share of the object's shorter side."""
_CONTRAST, _GREY = 0.5, 128

_Pixels = npt.NDArray[np.uint8]
_Frame = tuple[int, int, int, int]


def frame_of(bbox: Box, size: tuple[int, int], padding: float = 0.0) -> _Frame | None:
    """Widen a box to full pixels within an image; None if nothing of it is in the image.

    Args:
        bbox: the box in pixels.
        size: width and height of the image.
        padding: the margin on each side as a share of the box's side.
    """
    x1, y1, x2, y2 = clip(bbox, *size)
    across, down = padding * (x2 - x1), padding * (y2 - y1)
    left, top, right, bottom = clip((x1 - across, y1 - down, x2 + across, y2 + down), *size)
    frame = math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)
    return frame if frame[0] < frame[2] and frame[1] < frame[3] else None


def crop(image: Image.Image, found: DetectedObject, padding: float) -> Image.Image:
    """Cut an object out by its box, pixel for pixel; one outside the image is a single black pixel."""
    frame = frame_of(found.bbox, image.size, padding)
    return image.crop(frame) if frame else Image.new("RGB", (1, 1))


def cutout(image: Image.Image, found: DetectedObject) -> Image.Image:
    """Cut an object out by its mask, or by its box where it has none; all else is transparent.

    Nothing of the background is left in the file, not even below transparent pixels.

    Raises:
        ValueError: the mask is not a COCO RLE of its size.
    """
    if found.mask is None:
        return crop(image, found, 0.0).convert("RGBA")
    left, top, bits = masks.window(found.mask)
    if not bits.size:
        return Image.new("RGBA", (1, 1))
    height, width = bits.shape
    part = np.asarray(image.crop((left, top, left + width, top + height)).convert("RGB"))
    alpha = bits[:, :, None].astype(np.uint8)
    return Image.fromarray(np.concatenate((part * alpha, alpha * np.uint8(255)), axis=2), "RGBA")


def cutout_file(stored: Stored, number: int) -> bytes:
    """Cut one object of a result out, as PNG.

    Raises:
        NotFoundError: there is no such object.
    """
    found = get_object(stored.result.objects, number)
    return encode_png(cutout(stored.picture.rgb(), found))


def redacted(
    image: Image.Image,
    objects: Iterable[DetectedObject],
    method: Method = "fill",
    shape: Shape = "box",
    padding: float = 0.0,
) -> Image.Image:
    """Redact objects in a copy of an RGB image.

    Args:
        image: the image; no metadata of it is in the copy.
        objects: what is redacted.
        method: `fill` with black, `blur`, or `pixelate`.
        shape: `box`, or `mask` where an object has one.
        padding: the margin as a share of the object's shorter side; at least `LEAST_MARGIN`, but for `fill`.

    Raises:
        ValueError: a mask is not a COCO RLE of its size.
    """
    pixels = np.array(image)
    if method != "fill":
        padding = max(padding, LEAST_MARGIN)
    for found in objects:
        frame, bits = _region(found, image.size, shape, padding)
        if frame is None:
            continue
        left, top, right, bottom = frame
        part = pixels[top:bottom, left:right]
        instead = _instead(part, method)
        part[...] = instead if bits is None else np.where(bits[:, :, None], instead, part)
    return Image.fromarray(pixels)


def _region(
    found: DetectedObject, size: tuple[int, int], shape: Shape, padding: float
) -> tuple[_Frame | None, npt.NDArray[np.bool_] | None]:
    """Choose the frame to redact, and which of its pixels; None for all of them."""
    if shape == "box" or found.mask is None:
        return _frame(found, size, padding), None
    left, top, bits = masks.window(found.mask)
    if not bits.size:
        return _frame(found, size, padding), None
    reach = math.ceil(padding * min(bits.shape))
    right, bottom = left + bits.shape[1], top + bits.shape[0]
    frame = max(0, left - reach), max(0, top - reach), min(size[0], right + reach), min(size[1], bottom + reach)
    wide = np.pad(bits, ((top - frame[1], frame[3] - bottom), (left - frame[0], frame[2] - right)))
    if reach:  # the pixels within `reach` of the mask
        wide = cv2.distanceTransform((~wide).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5) <= reach
    return frame, wide


def _frame(found: DetectedObject, size: tuple[int, int], padding: float) -> _Frame | None:
    """Widen a box by the same margin on all sides: a line of text would else hide what is beside it."""
    x1, y1, x2, y2 = clip(found.bbox, *size)
    margin = padding * min(x2 - x1, y2 - y1)
    return frame_of((x1 - margin, y1 - margin, x2 + margin, y2 + margin), size)


def _instead(part: _Pixels, method: Method) -> _Pixels:
    """Make what replaces pixels (height, width, 3): black, or faded cells that are about as wide as high."""
    if method == "fill":
        return np.zeros_like(part)
    height, width = part.shape[:2]
    side = max(width, height) / CELLS
    cells = max(1, round(width / side)), max(1, round(height / side))
    means = cv2.resize(np.ascontiguousarray(part), cells, interpolation=cv2.INTER_AREA)
    faded = np.asarray(_CONTRAST * means + (1 - _CONTRAST) * _GREY, np.uint8)
    smooth = cv2.INTER_LINEAR if method == "blur" else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(faded, (width, height), interpolation=smooth), np.uint8)
