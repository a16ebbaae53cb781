"""JPEGs that end early: shown as far as they go."""

from typing import TYPE_CHECKING

from dinox_mcp.errors import ImageError
from dinox_mcp.images.formats import open_picture
from dinox_mcp.images.structure import END_OF_IMAGE, START_OF_SCAN, jpeg_markers

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

LEAST_SHARE = 0.02
_MISSING = 128
"""The grey that the decoder shows for what is missing."""
ENDS_EARLY = "the file ends early; all rows of the image could be read, perhaps in less detail"
_END = b"\xff\xd9"
_TABLES, _SCAN = b"\xff\xc4", b"\xff\xda"


def has_end(data: bytes) -> bool:
    """Return whether a JPEG has the marker that ends it."""
    return END_OF_IMAGE in jpeg_markers(data)


def has_many_scans(data: bytes) -> bool:
    """Return whether a JPEG gives its pixels in several passes, so that the decoder keeps all of them meanwhile."""
    return sum(marker == START_OF_SCAN for marker in jpeg_markers(data)) > 1


def load_cut_off(data: bytes, source: str, size: tuple[int, int] | None) -> "tuple[ImageFile, str]":
    """Decode a JPEG without its end, reduced to about a size where there is one, and say how much there is of it.

    Raises:
        ImageError: nearly nothing of it can be decoded.
    """
    # Where the file ends inside of a table, the scans before it are complete.
    whole_scans = max(data.rfind(_TABLES), data.rfind(_SCAN))
    for end in (len(data), whole_scans):
        image = open_picture(data[:end] + _END, source)
        if size:
            image.draft(None, size)
        try:
            image.load()
        except OSError:
            continue
        there, known = _measure(image)
        if there >= LEAST_SHARE:
            return image, _note(known)
    raise ImageError(f"{source} is cut off near its beginning and cannot be decoded; pass an intact file")


def _note(share: float) -> str:
    if share == 1:
        return ENDS_EARLY
    return f"the file is cut off; only the first {share:.0%} of the image could be read, and the rest is grey"


def _measure(image: "ImageFile") -> tuple[float, float]:
    """Measure which part of the pixels is there, and which part of the rows has any that are."""
    import numpy as np

    there = np.zeros(image.height)
    for row in range(image.height):
        pixels = np.asarray(image.crop((0, row, image.width, row + 1)))
        there[row] = np.mean(pixels != _MISSING)
    rows = np.flatnonzero(there)
    return float(there.mean()), (int(rows[-1]) + 1) / image.height if rows.size else 0.0
