"""A picture as a value: its encoded bytes, its upright size, and its pixels on demand."""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

from dinox_mcp.errors import ForbiddenError, ImageError
from dinox_mcp.images.formats import open_picture, silence
from dinox_mcp.images.pixels import SIDEWAYS, flatten, orientation, turn
from dinox_mcp.images.sources import shorten

if TYPE_CHECKING:
    from PIL import Image


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
            ForbiddenError: the picture has more than `max_pixels` pixels, or is built to keep a decoder busy.
        """
        named = shorten(source) or "the image"
        image = open_picture(data, named)
        width, height = image.size
        if width * height > max_pixels:
            raise ForbiddenError(
                f"{named} has {width}x{height} pixels, more than the {max_pixels:,} allowed; "
                "pass a smaller picture or raise DINOX_MCP_MAX_IMAGE_PIXELS"
            )
        with silence:
            if orientation(image) in SIDEWAYS:
                width, height = height, width
        return cls(data, width, height, image.format or "", source)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the bytes, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    def sharing(self, data: bytes) -> Self:
        """Be the same picture over equal bytes that are in memory already."""
        same = replace(self, data=data)
        same.__dict__["digest"] = self.digest
        return same

    def rgb(self, max_side: int | None = None) -> "Image.Image":
        """Decode the first frame to upright RGB, its long side at most `max_side` (never enlarged).

        Transparent pixels show white, 16-bit samples keep their high byte, samples without a fixed range
        (32-bit, floating point) are stretched from black to white. No metadata comes along.
        Slow: call it off the event loop.

        Raises:
            ImageError: the bytes are damaged.
        """
        from PIL.Image import Resampling

        named = shorten(self.source) or "the image"
        image = open_picture(self.data, named)
        size = _fit(self.width, self.height, max_side)
        try:
            with silence:
                turned = orientation(image)
                lying = size[::-1] if turned in SIDEWAYS else size
                drafted = image.draft(None, lying) if max_side is not None else None
                image.load()
                _, _, *exact = drafted[1] if drafted else (0, 0, *image.size)
                factor = max(1, min(image.width // lying[0], image.height // lying[1]) // 2)
                flat = flatten(image, factor)
                if flat.size != lying:
                    box = (0, 0, exact[0] / factor, exact[1] / factor)
                    flat = flat.resize(lying, Resampling.BICUBIC, box=box)
                upright = turn(flat, turned).convert("RGB")
        except Exception as error:  # noqa: BLE001 - decoders raise nearly anything on hostile bytes
            raise ImageError(
                f"{named} is damaged and cannot be decoded ({shorten(str(error)) or type(error).__name__}); "
                "pass an intact file"
            ) from None
        upright.info = {}
        return upright

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Picture) and self.data == other.data

    def __hash__(self) -> int:
        return hash(self.digest)


def _fit(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    factor = min(1.0, (max_side or max(width, height)) / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))
