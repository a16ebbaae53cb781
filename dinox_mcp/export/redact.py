"""Redacts objects in an image: their pixels are replaced, not covered, and cannot be computed back.

`fill` leaves nothing. `blur` and `pixelate` average the object into a handful of cells, however large it is, and fade
them: what is shown of a face or of a line of text are at most `CELLS` x `CELLS` pale colors, and its edge is hidden by
a margin. A blur of a few pixels, as it is usual, would leave text legible for a program, and faces recognizable. All of
this was chosen by measuring (benchmarks/redaction.py): with more cells, more contrast or less of a margin, some faces
were still found as faces.
"""

import math
from collections.abc import Callable, Iterable

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from dinox_mcp.export.objects import frame_of
from dinox_mcp.export.options import Method, Shape
from dinox_mcp.types import masks
from dinox_mcp.types.boxes import clip
from dinox_mcp.types.detection import DetectedObject

CELLS = 3
"""Cells along the long side of an object that `blur` and `pixelate` keep."""
LEAST_MARGIN = 0.25
"""The margin that `blur` and `pixelate` have at least, as a share of the object's shorter side."""
_CONTRAST, _GREY = 0.5, 128

_Pixels = npt.NDArray[np.uint8]
_Bits = npt.NDArray[np.bool_]
_Frame = tuple[int, int, int, int]


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
        instead = _METHODS[method](part)
        part[...] = instead if bits is None else np.where(bits[:, :, None], instead, part)
    return Image.fromarray(pixels)


def _region(
    found: DetectedObject, size: tuple[int, int], shape: Shape, padding: float
) -> tuple[_Frame | None, _Bits | None]:
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


def _fill(part: _Pixels) -> _Pixels:
    return np.zeros_like(part)


def _pixelate(part: _Pixels) -> _Pixels:
    return np.asarray(cv2.resize(_cells(part), _size(part), interpolation=cv2.INTER_NEAREST), np.uint8)


def _blur(part: _Pixels) -> _Pixels:
    return np.asarray(cv2.resize(_cells(part), _size(part), interpolation=cv2.INTER_LINEAR), np.uint8)


def _cells(part: _Pixels) -> _Pixels:
    """Average pixels (height, width, 3) into faded cells that are about as wide as high."""
    width, height = _size(part)
    side = max(width, height) / CELLS
    cells = max(1, round(width / side)), max(1, round(height / side))
    means = cv2.resize(np.ascontiguousarray(part), cells, interpolation=cv2.INTER_AREA)
    return np.asarray(_CONTRAST * means + (1 - _CONTRAST) * _GREY, np.uint8)


def _size(part: _Pixels) -> tuple[int, int]:
    return part.shape[1], part.shape[0]


_METHODS: dict[Method, Callable[[_Pixels], _Pixels]] = {"fill": _fill, "blur": _blur, "pixelate": _pixelate}
