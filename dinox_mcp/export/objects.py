"""Objects of an image as images of their own: crops, and cut-outs with a transparent background."""

import math

import numpy as np
from PIL import Image

from dinox_mcp.drawing.views import encode_png
from dinox_mcp.store.results import Stored
from dinox_mcp.types import masks
from dinox_mcp.types.boxes import Box, clip
from dinox_mcp.types.detection import DetectedObject, get_object

_OPAQUE = 255


def frame_of(bbox: Box, size: tuple[int, int], padding: float = 0.0) -> tuple[int, int, int, int] | None:
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
    return Image.fromarray(np.concatenate((part * alpha, alpha * np.uint8(_OPAQUE)), axis=2), "RGBA")


def cutout_file(stored: Stored, number: int) -> bytes:
    """Cut one object of a result out, as PNG.

    Raises:
        NotFoundError: there is no such object.
    """
    found = get_object(stored.result.objects, number)
    return encode_png(cutout(stored.picture.rgb(), found))
