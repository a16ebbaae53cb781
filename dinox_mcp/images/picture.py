"""An image as a value: its encoded bytes, its upright size, and its pixels on demand."""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

from dinox_mcp.errors import ForbiddenError
from dinox_mcp.images.decode import decode
from dinox_mcp.images.formats import open_picture, silence
from dinox_mcp.images.opencv import is_deep_colour
from dinox_mcp.images.pixels import SIDEWAYS, orientation
from dinox_mcp.images.sources import shorten
from dinox_mcp.images.structure import has_end

if TYPE_CHECKING:
    from PIL import Image

_NOTES_SIDE = 1024  # pixels of the long side to which an image is shrunk to find its notes
# A compressed image of a single colour takes less bytes a pixel than that, or has less bytes in all.
_LEAST_BYTES, _LEAST_FILE = 0.02, 4000
_UNPACKED = {"BMP", "TIFF"}


@dataclass(frozen=True, eq=False)
class Picture:
    """One still picture: `width` and `height` in pixels as a person sees it, EXIF orientation applied.

    It keeps the encoded bytes, which are small, and decodes on demand: at a reduced size where the format can.
    `origin` says what was taken where `source` does not: which page, which file, when. A page of a PDF has its scale
    `pixels_per_point`. Two images are equal when their bytes are.
    """

    data: bytes = field(repr=False)
    width: int
    height: int
    format: str
    source: str = ""
    origin: str = ""
    pixels_per_point: float | None = None

    @classmethod
    def from_bytes(cls, data: bytes, source: str = "", *, max_pixels: int = 100_000_000) -> Self:
        """Read the header of an encoded image.

        Raises:
            ImageError: the bytes are not an image of a known format.
            ForbiddenError: the image has more than `max_pixels` pixels, or is built to keep a decoder busy.
        """
        named = shorten(source) or "the image"
        image = open_picture(data, named)
        width, height = image.size
        if width * height > max_pixels:
            raise ForbiddenError(
                f"{named} has {width}x{height} pixels, more than the {max_pixels:,} allowed; "
                "pass a smaller image or raise DINOX_MCP_MAX_IMAGE_PIXELS"
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
        """Be the same image over equal bytes that are in memory already."""
        same = replace(self, data=data)
        same.__dict__.update({name: self.__dict__[name] for name in ("digest", "notes") if name in self.__dict__})
        return same

    def rgb(self, max_side: int | None = None) -> "Image.Image":
        """Decode the first frame to upright RGB, its long side at most `max_side` (never enlarged).

        Transparent pixels show the ground that contrasts with the others, samples of more than 8 bits are stretched
        over the range that they use, and a JPEG that is cut off is shown as far as it goes: see `notes`. No metadata
        comes along. Slow: call it off the event loop.

        Raises:
            ImageError: the bytes are damaged.
            BusyError: too many images are being decoded at once.
        """
        image, _ = self._decode(max_side)
        return image

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What was taken, and how the image is shown: stretched, cut off, blank. Slow where there may be something."""
        origin = (self.origin,) if self.origin else ()
        if not self._is_odd():
            return origin
        _, notes = self._decode(_NOTES_SIDE)
        return *origin, *notes

    def _decode(self, max_side: int | None) -> "tuple[Image.Image, tuple[str, ...]]":
        longest = max(self.width, self.height)
        factor = min(1.0, (max_side or longest) / longest)
        size = max(1, round(self.width * factor)), max(1, round(self.height * factor))
        return decode(self.data, shorten(self.source) or "the image", size)

    def _is_odd(self) -> bool:
        """Return whether the pixels may need a note, by the header: most photographs are not decoded for it."""
        if len(self.data) < max(self.width * self.height * _LEAST_BYTES, _LEAST_FILE) or self.format in _UNPACKED:
            return True  # perhaps blank
        if self.format == "JPEG":
            return not has_end(self.data)
        image = open_picture(self.data, shorten(self.source) or "the image")
        return image.mode not in {"L", "RGB"} or image.has_transparency_data or is_deep_colour(image)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Picture) and self.data == other.data

    def __hash__(self) -> int:
        return hash(self.digest)
