"""The images of a search that hold most, with their objects, on one sheet. Drawing is imported when it is used."""

from collections.abc import Sequence
from contextlib import suppress
from statistics import median_low
from typing import TYPE_CHECKING

from dinox_mcp.batch.summary import FoundImage, SearchResult
from dinox_mcp.errors import DinoxError
from dinox_mcp.images.picture import Picture

if TYPE_CHECKING:
    from PIL import Image

SHEET_IMAGES = 9
"""Images on a sheet: more would be too small to be checked."""
_CELL = 512
"""Pixels of the long side of an image on the sheet."""


def on_sheet(result: SearchResult) -> list[tuple[int, FoundImage]]:
    """Choose the images for the sheet, each with its number in the result: the first that are not copies of others."""
    numbered = enumerate(result.images, start=1)
    return [(place, found) for place, found in numbered if not found.copy_of_another][:SHEET_IMAGES]


def make_sheet(images: Sequence[tuple[int, FoundImage, Picture]], max_side: int, max_bytes: int) -> bytes | None:
    """Draw images with their objects on a sheet, as JPEG. Slow: call it in a thread.

    Args:
        images: the number of each, what was found in it, and the image itself.
        max_side: the longest side of the sheet in pixels.
        max_bytes: the most bytes.

    Returns:
        The sheet; None if none of the images can be decoded.
    """
    from dinox_mcp.drawing.sheet import contact_sheet
    from dinox_mcp.drawing.views import fit_bytes

    cells = []
    for place, found, picture in images:
        with suppress(DinoxError):  # it was changed since
            cells.append((_draw(found, picture), f"{place}: {_counts(found)}"))
    if not cells:
        return None
    # The sheet takes the shape of the first, which may be the only upright one.
    shape = median_low(image.width / image.height for image, _ in cells)
    cells[0] = (_framed(cells[0][0], shape), cells[0][1])
    return fit_bytes(contact_sheet(cells, max_side), max_bytes, max_side)[0]


def _draw(found: FoundImage, picture: Picture) -> "Image.Image":
    from dinox_mcp.drawing.annotate import annotate
    from dinox_mcp.drawing.style import Style
    from dinox_mcp.drawing.views import enlarge

    image, size = enlarge(picture.rgb(_CELL), _CELL), (picture.width, picture.height)
    return annotate(image, found.objects, original_size=size, style=Style(numbers=False))


def _framed(image: "Image.Image", shape: float) -> "Image.Image":
    """Put an image in the middle of a background of this shape (width divided by height)."""
    from PIL import ImageOps

    from dinox_mcp.drawing.sheet import PAPER

    size = (_CELL, round(_CELL / shape)) if shape > 1 else (round(_CELL * shape), _CELL)
    return ImageOps.pad(image, size, color=PAPER)


def _counts(found: FoundImage) -> str:
    return ", ".join(f"{number} {label}" for label, number in found.counts.items())
