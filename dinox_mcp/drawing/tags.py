"""The tags of objects: their content, their drawing, and which descriptions go into the legend instead."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from PIL import Image

from dinox_mcp.drawing import text
from dinox_mcp.drawing.fonts import line_height
from dinox_mcp.drawing.layout import Tag, place_tags, text_size
from dinox_mcp.drawing.style import BLACK, Color, Shape, Size, Style, ink_on, make_shapes
from dinox_mcp.types.detection import DetectedObject

LABEL_LIMIT = 32
TAG_LIMIT = 24
CAPTION_LIMIT = 200
TEXT_LIMIT = 120
_FEW = 12  # up to so many objects, tags may have a description besides the name
MOST_TAGS = 500
"""Only the objects of the lowest numbers get a tag: placing takes time by the square of their number, and more tags
would hide the image."""


def without_common_categories(objects: Sequence[DetectedObject]) -> list[DetectedObject]:
    """Remove the category where all objects of a label share it, as it does not distinguish them."""
    categories: dict[str, list[str | None]] = {}
    for found in objects:
        categories.setdefault(found.label, []).append(found.category)
    common = {label for label, given in categories.items() if len(given) > 1 and len(set(given)) == 1}
    return [found.model_copy(update={"category": None}) if found.label in common else found for found in objects]


def name(found: DetectedObject) -> str:
    """Return the name on a tag: for text its transcript, for everything else the label."""
    transcript = found.text if _is_text(found) else None
    return text.shorten(transcript, TAG_LIMIT) if transcript else text.shorten(found.label, LABEL_LIMIT)


def score(found: DetectedObject) -> str:
    """Write the score with two digits; empty if there is none."""
    return "" if found.score is None else f"{found.score:.2f}"


def short_description(found: DetectedObject) -> str:
    """Return the description of an object if it is a single one and short enough for a tag; else ""."""
    described = _descriptions(found)
    return described[0] if len(described) == 1 and len(described[0]) <= TAG_LIMIT and not _is_text(found) else ""


def too_long_for_tags(objects: Sequence[DetectedObject], *, tags: bool = True) -> list[DetectedObject]:
    """List the objects whose descriptions do not fit on tags: all of them if there are many objects or no tags."""
    described = [found for found in objects if _descriptions(found)]
    return (
        [found for found in described if not short_description(found)] if tags and len(objects) <= _FEW else described
    )


def legend_entry(found: DetectedObject, *, label: bool) -> str:
    """Write the entry of an object in the legend: `label · category: caption “text”`, without missing parts."""
    name = found.label if label and not _is_text(found) else ""
    caption, transcript = _part(found.caption, CAPTION_LIMIT), _part(found.text, TEXT_LIMIT)
    head = " · ".join(filter(None, (_part(name, LABEL_LIMIT), _part(_category(found), LABEL_LIMIT))))
    body = " ".join(filter(None, (caption, f"“{transcript}”" if transcript else "")))
    return ": ".join(filter(None, (head, body)))


def _descriptions(found: DetectedObject) -> list[str]:
    """List caption, category and text of an object, as far as its tag does not show them as its name."""
    transcript = text.tidy(found.text or "")
    if _is_text(found) and len(transcript) <= TAG_LIMIT:
        transcript = ""
    return [part for part in (text.tidy(found.caption or ""), _category(found), transcript) if part]


def _part(part: str | None, limit: int) -> str:
    return text.writable(text.shorten(part or "", limit))


def _category(found: DetectedObject) -> str:
    """Return the category of an object if it differs from its label."""
    category = text.tidy(found.category or "")
    return "" if category.casefold() == found.label.strip().casefold() else category


def _is_text(found: DetectedObject) -> bool:
    return found.label.casefold() == "text"


def draw_tag(
    found: DetectedObject,
    color: Color,
    size: int,
    *,
    number: bool = False,
    label: bool = False,
    description: bool = False,
) -> Image.Image | None:
    """Draw the tag of an object.

    Args:
        found: The object.
        color: The color of the object.
        size: The text size in pixels.
        number: Write the number.
        label: Write name and score.
        description: Write the short description.

    Returns:
        The tag; None if nothing of it can be written.
    """
    parts = (
        name(found) if label else "",
        short_description(found) if description else "",
        score(found) if label else "",
    )
    body = [ink for part in parts if (ink := text.ink(part, size))]
    head = [ink for ink in (text.ink(str(found.id), size),) if ink and number]
    if not head:
        return _block(body, color, size) if body else None
    if not body:
        return _block(head, color, size)
    left, right = _block(head, color, size), _block(body, BLACK, size)
    tag = Image.new("RGB", (left.width + right.width, left.height))
    tag.paste(left, (0, 0))
    tag.paste(right, (left.width, 0))
    return tag


def _block(inks: list[Image.Image], background: Color, size: int) -> Image.Image:
    """Put drawn texts side by side on a color."""
    margin, gap = max(2, round(size / 4)), round(size / 3)
    width = sum(ink.width for ink in inks) + gap * (len(inks) - 1) + 2 * margin
    block = Image.new("RGB", (width, line_height(size)), background)
    x = margin
    for ink in inks:
        block.paste(ink_on(background), (x, 0), ink)
        x += ink.width + gap
    return block


class PlacedTag(NamedTuple):
    """A tag and its upper left corner in the view."""

    image: Image.Image
    corner: tuple[int, int]


class _Candidate(NamedTuple):
    """The tag of a shape in both forms; `described` says that the full form has a description."""

    shape: Shape
    full: Image.Image
    short: Image.Image
    described: bool


def make_tags(shapes: Sequence[Shape], style: Style, view: Size) -> list[PlacedTag]:
    """Draw and place the tags of a view of (width, height) pixels."""
    tags, _ = _plan(shapes, style, view)
    return tags


def objects_for_legend(
    objects: Sequence[DetectedObject], style: Style, view: Size, original_size: Size
) -> list[DetectedObject]:
    """List the objects whose descriptions do not fit on their tags, by number.

    Args:
        objects: The objects, in original pixels.
        style: What is drawn.
        view: Width and height of the view in pixels.
        original_size: Width and height of the original in pixels.
    """
    if not style.captions:
        return []
    listed = too_long_for_tags(objects, tags=not style.dots)
    if len(listed) < len(objects) and any(short_description(found) for found in objects):
        _, numbers = _plan(make_shapes(objects, view, original_size, style), style, view)
        listed = [found for found in objects if found.id in numbers]
    return sorted(listed, key=lambda found: found.id)


def _plan(shapes: Sequence[Shape], style: Style, view: Size) -> tuple[list[PlacedTag], set[int]]:
    """Place tags, and move descriptions for which there is no space to the legend; return its object numbers too."""
    listed = {found.id for found in too_long_for_tags([shape.found for shape in shapes], tags=not style.dots)}
    while True:
        candidates = _candidates(shapes, style, text_size(view, len(shapes)), listed)
        tags = place_tags(
            [one.shape.box for one in candidates],
            [one.full.size for one in candidates],
            [one.short.size for one in candidates],
            view,
        )
        pairs = list(zip(candidates, tags, strict=True))
        crowded = {one.shape.found.id for one, tag in pairs if one.described and not (tag and tag.full)}
        if not crowded:
            return [_placed(one, tag) for one, tag in pairs if tag], listed
        listed |= crowded


def _candidates(shapes: Sequence[Shape], style: Style, size: int, listed: Collection[int]) -> list[_Candidate]:
    candidates = []
    for shape in sorted(shapes, key=lambda shape: shape.found.id)[:MOST_TAGS]:
        found, color = shape.found, shape.color
        described = style.captions and found.id not in listed and bool(short_description(found))
        full = draw_tag(found, color, size, number=style.numbers, label=style.labels, description=described)
        short = draw_tag(found, color, size, number=True) if style.numbers else full
        if full and short:
            candidates.append(_Candidate(shape, full, short, described))
    return candidates


def _placed(one: _Candidate, tag: Tag) -> PlacedTag:
    return PlacedTag(one.full if tag.full else one.short, (tag.x, tag.y))
