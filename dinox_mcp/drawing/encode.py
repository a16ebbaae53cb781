"""Encodes images: lossless, or within a number of bytes."""

import io
import math

from PIL import Image

from dinox_mcp.types import masks
from dinox_mcp.types.detection import Mask

JPEG = "image/jpeg"

_QUALITIES = (85, 70, 55)  # below these, a smaller image looks better than more compression
_SMALLEST_SIDE = 16


def encode_jpeg(image: Image.Image, quality: int = 85) -> bytes:
    """Encode as baseline JPEG, the fastest kind to encode and decode."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def encode_png(image: Image.Image) -> bytes:
    """Encode as PNG, at the fastest level that filters: higher ones barely make photographs smaller."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=2)
    return buffer.getvalue()


def fit_bytes(image: Image.Image, max_bytes: int, max_side: int | None = None) -> tuple[bytes, str, tuple[int, int]]:
    """Encode an image as JPEG of at most so many bytes: first at lower quality, then at a smaller size.

    Args:
        image: The image, RGB.
        max_bytes: The most bytes; exceeded only if an image of 16 pixels needs more.
        max_side: The longest side in pixels; None for any.

    Returns:
        The bytes, their MIME type, and width and height of the encoded image in pixels.
    """
    if max_side is not None and max(image.size) > max_side:
        image = _shrink(image, max_side / max(image.size))
    for quality in _QUALITIES:
        data = encode_jpeg(image, quality)
        if len(data) <= max_bytes:
            return data, JPEG, image.size
    while len(data) > max_bytes and max(image.size) > _SMALLEST_SIDE:
        image = _shrink(image, min(0.9, 0.95 * math.sqrt(max_bytes / len(data))))
        data = encode_jpeg(image, _QUALITIES[1])
    return data, JPEG, image.size


def mask_png(mask: Mask) -> bytes:
    """Encode a mask as a PNG with one bit per pixel, in the size of the original; the object is white.

    Raises:
        ValueError: the mask is not a COCO RLE of its size.
    """
    buffer = io.BytesIO()
    Image.fromarray(masks.decode(mask)).save(buffer, "PNG")
    return buffer.getvalue()


def _shrink(image: Image.Image, factor: float) -> Image.Image:
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
