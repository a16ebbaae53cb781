"""Both images side by side, with the changes numbered alike in both. Slow: call it in a thread."""

from collections.abc import Callable
from typing import get_args

from PIL import Image

from dinox_mcp.compare.comparison import Change, Comparison, Kind
from dinox_mcp.drawing.annotate import annotate
from dinox_mcp.drawing.sheet import contact_sheet
from dinox_mcp.drawing.style import Style
from dinox_mcp.drawing.views import FULL_QUALITY, JPEG, PNG, encode_jpeg, encode_png
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import Box, is_ordered
from dinox_mcp.types.detection import DetectedObject

_SIDE = 1600
"""Pixels of the longest side of each image."""
_STYLE = Style(captions=False, all_labels=get_args(Kind))


def side_by_side(comparison: Comparison, before: Picture, after: Picture, mime_type: str = JPEG) -> bytes:
    """Draw the changes on both images, and put these beside each other, or below each other if they are wide.

    Args:
        comparison: the changes.
        before: the first image.
        after: the second image.
        mime_type: of the result, JPEG or PNG.
    """
    sides = (("before", before, _before, "appeared"), ("after", after, _after, "disappeared"))
    frames = [
        (_drawn(comparison, picture, box, absent), f"{name} · {_summary(comparison)}")
        for name, picture, box, absent in sides
    ]
    sheet = contact_sheet(frames, 2 * _SIDE)
    return encode_png(sheet) if mime_type == PNG else encode_jpeg(sheet, FULL_QUALITY)


def _drawn(comparison: Comparison, picture: Picture, box_of: Callable[[Change], Box], absent: str) -> Image.Image:
    """Draw the changes on an image, with dashed boxes for those of the kind whose object is absent there."""
    objects = [
        DetectedObject(id=change.id, label=change.kind, bbox=box_of(change))
        for change in comparison.changes
        if is_ordered(box_of(change))  # it may lie outside of this image
    ]
    dashed = tuple(change.id for change in comparison.changes if change.kind == absent)
    style = _STYLE.model_copy(update={"doubtful": dashed})
    return annotate(picture.rgb(_SIDE), objects, original_size=(picture.width, picture.height), style=style)


def _before(change: Change) -> Box:
    return change.before


def _after(change: Change) -> Box:
    return change.after


def _summary(comparison: Comparison) -> str:
    counts = ", ".join(f"{number} {kind}" for kind, number in comparison.counts.items())
    return counts or "no change"
