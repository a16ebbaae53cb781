"""Pictures as bytes: lossless, or within a budget."""

import io
import math

from PIL import Image

from dinox_mcp.types import masks
from dinox_mcp.types.detection import Mask

JPEG = "image/jpeg"

_QUALITIES = (85, 70, 55)  # below, compression hurts more than a smaller picture
_SMALLEST_SIDE = 16


def encode_jpeg(image: Image.Image, quality: int = 85) -> bytes:
    """Encode as baseline JPEG, which encodes and decodes fastest."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def encode_png(image: Image.Image) -> bytes:
    """Encode losslessly; at the fastest level that filters, as a photograph barely shrinks beyond it."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=2)
    return buffer.getvalue()


def fit_bytes(image: Image.Image, max_bytes: int, max_side: int | None = None) -> tuple[bytes, str, tuple[int, int]]:
    """Encode within a budget of bytes: first at lower quality, then at a smaller size.

    Gives the bytes, their MIME type, and the size (width, height) in pixels that they decode to, its long side
    at most `max_side`. A budget below what a picture of 16 pixels takes is exceeded.
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
    """Encode a mask as a PNG of one bit a pixel at the original size, foreground white.

    Raises:
        ValueError: the string is not a mask of the size that it claims.
    """
    buffer = io.BytesIO()
    Image.fromarray(masks.decode(mask)).save(buffer, "PNG")
    return buffer.getvalue()


def _shrink(image: Image.Image, factor: float) -> Image.Image:
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
