"""A picture as a value: its encoded bytes, its upright size, and its pixels on demand."""

import hashlib
import io
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

from PIL import Image, ImageOps, UnidentifiedImageError

from dinox_mcp.errors import ForbiddenError, ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "MPO")
_TRANSPOSED = {5, 6, 7, 8}
_ORIENTATION = 0x0112


@dataclass(frozen=True, eq=False)
class Picture:
    """One still picture: `width` and `height` in pixels as a person sees it, EXIF orientation applied.

    It keeps the encoded bytes, which are small, and decodes when asked: at a reduced size where the format can.
    Two pictures are equal when their bytes are.
    """

    data: bytes = field(repr=False)
    width: int
    height: int
    format: str
    source: str = ""

    @classmethod
    def from_bytes(cls, data: bytes, source: str = "", *, max_pixels: int = 100_000_000) -> Self:
        """Read the header of an encoded picture.

        Raises:
            ImageError: the bytes are not a picture of a known format.
            ForbiddenError: the picture has more than `max_pixels` pixels.
        """
        with _opened(data, source) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ForbiddenError(
                    f"{source or 'the image'} has {width}x{height} pixels, more than the {max_pixels:,} allowed; "
                    "pass a smaller picture or raise DINOX_MCP_MAX_IMAGE_PIXELS"
                )
            if image.getexif().get(_ORIENTATION) in _TRANSPOSED:
                width, height = height, width
            return cls(data, width, height, image.format or "", source)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the bytes, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    def rgb(self, max_side: int | None = None) -> Image.Image:
        """Decode the first frame to upright RGB, its long side at most `max_side` (never enlarged).

        Transparent pixels show white, 16-bit samples keep their high byte. Slow: call it off the event loop.

        Raises:
            ImageError: the bytes are damaged.
        """
        with _opened(self.data, self.source) as image:
            size = _fit(self.width, self.height, max_side)
            try:
                if max_side is not None:
                    image.draft("RGB", size if image.size == (self.width, self.height) else size[::-1])
                upright = ImageOps.exif_transpose(image)
                rgb = _flatten(upright)
            except (OSError, ValueError, SyntaxError, IndexError, MemoryError, Image.DecompressionBombError) as error:
                raise ImageError(
                    f"{self.source or 'the image'} is damaged and cannot be decoded ({error}); pass an intact file"
                ) from None
        return rgb if rgb.size == size else rgb.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Picture) and self.data == other.data

    def __hash__(self) -> int:
        return hash(self.digest)


def _opened(data: bytes, source: str) -> Image.Image:
    """Open the header, trying only formats that are pictures and safe to decode."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name in Image.registered_extensions().values()])
    except UnidentifiedImageError:
        raise ImageError(
            f"{source or 'the input'} is not a picture that can be read; pass a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF file"
        ) from None


def _fit(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    factor = min(1.0, (max_side or max(width, height)) / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _flatten(image: Image.Image) -> Image.Image:
    """Bring any mode to RGB."""
    if image.mode in {"I;16", "I;16B", "I;16L", "I"}:
        image = image.point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
