"""Which tags a picture gets and where, and what has no room on any: that is for the legend."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from PIL import Image

from dinox_mcp.drawing import words
from dinox_mcp.drawing.layout import Tag, place_tags, text_size
from dinox_mcp.drawing.shapes import Shape, Size, make_shapes
from dinox_mcp.drawing.style import Style
from dinox_mcp.drawing.tags import draw_tag
from dinox_mcp.schema import DetectedObject

MOST_TAGS = 500
"""Objects that get a tag, those of the lowest numbers: the time to find places grows with the square of their number,
and more would hide the image."""


class PlacedTag(NamedTuple):
    """A tag and its upper left corner in the view."""

    image: Image.Image
    corner: tuple[int, int]


class _Candidate(NamedTuple):
    """The tag of a shape in both its forms; `remark` says that the full one tells more than the name."""

    shape: Shape
    full: Image.Image
    short: Image.Image
    remark: bool


def place(shapes: Sequence[Shape], style: Style, view: Size) -> list[PlacedTag]:
    """Place the tags of a view of (width, height) pixels."""
    tags, _ = _plan(shapes, style, view)
    return tags


def untold(objects: Sequence[DetectedObject], style: Style, view: Size, original_size: Size) -> list[DetectedObject]:
    """Choose the objects about which a model told more than their tags have room for, by number; sizes in pixels."""
    if not style.captions:
        return []
    listed = words.too_much(objects, tags=not style.dots)
    if len(listed) < len(objects) and any(words.remark(found) for found in objects):
        _, numbers = _plan(make_shapes(objects, view, original_size, style), style, view)
        listed = [found for found in objects if found.id in numbers]
    return sorted(listed, key=lambda found: found.id)


def _plan(shapes: Sequence[Shape], style: Style, view: Size) -> tuple[list[PlacedTag], set[int]]:
    """Place tags until each remark on one is seen; those that find no room leave their tag for the legend."""
    listed = {found.id for found in words.too_much([shape.found for shape in shapes], tags=not style.dots)}
    while True:
        candidates = _candidates(shapes, style, text_size(view, len(shapes)), listed)
        tags = place_tags(
            [one.shape.box for one in candidates],
            [one.full.size for one in candidates],
            [one.short.size for one in candidates],
            view,
        )
        pairs = list(zip(candidates, tags, strict=True))
        crowded = {one.shape.found.id for one, tag in pairs if one.remark and not (tag and tag.full)}
        if not crowded:
            return [_placed(one, tag) for one, tag in pairs if tag], listed
        listed |= crowded


def _candidates(shapes: Sequence[Shape], style: Style, size: int, listed: Collection[int]) -> list[_Candidate]:
    candidates = []
    for shape in sorted(shapes, key=lambda shape: shape.found.id)[:MOST_TAGS]:
        found, color = shape.found, shape.color
        remark = style.captions and found.id not in listed and bool(words.remark(found))
        full = draw_tag(found, color, size, number=style.numbers, label=style.labels, remark=remark)
        short = draw_tag(found, color, size, number=True) if style.numbers else full
        if full and short:
            candidates.append(_Candidate(shape, full, short, remark))
    return candidates


def _placed(one: _Candidate, tag: Tag) -> PlacedTag:
    return PlacedTag(one.full if tag.full else one.short, (tag.x, tag.y))
