"""Tags of objects: what they say, how they look, and which objects get one."""

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
_FEW = 12  # objects whose tags have room for more than a name


def without_common_categories(objects: Sequence[DetectedObject]) -> list[DetectedObject]:
    """Leave out a category that several objects of a label share: it tells none of them from the others."""
    categories: dict[str, list[str | None]] = {}
    for found in objects:
        categories.setdefault(found.label, []).append(found.category)
    common = {label for label, given in categories.items() if len(given) > 1 and len(set(given)) == 1}
    return [found.model_copy(update={"category": None}) if found.label in common else found for found in objects]


def name(found: DetectedObject) -> str:
    """Name an object: text by its transcript, everything else by its label."""
    transcript = found.text if _is_text(found) else None
    return text.shorten(transcript, TAG_LIMIT) if transcript else text.shorten(found.label, LABEL_LIMIT)


def score(found: DetectedObject) -> str:
    """Write how sure the model was; empty where it did not say."""
    return "" if found.score is None else f"{found.score:.2f}"


def remark_about(found: DetectedObject) -> str:
    """Give what a model told about an object, where that is one thing short enough for its tag; else nothing."""
    told = _told(found)
    return told[0] if len(told) == 1 and len(told[0]) <= TAG_LIMIT and not _is_text(found) else ""


def too_much(objects: Sequence[DetectedObject], *, tags: bool = True) -> list[DetectedObject]:
    """Choose the objects about which a model told more than a tag, if there are any, should say."""
    told = [found for found in objects if _told(found)]
    return [found for found in told if not remark_about(found)] if tags and len(objects) <= _FEW else told


def entry(found: DetectedObject, *, label: bool) -> str:
    """Write an object's line of the legend: `label · category: caption “text”`, of what there is and can be drawn."""
    name = found.label if label and not _is_text(found) else ""
    caption, transcript = _part(found.caption, CAPTION_LIMIT), _part(found.text, TEXT_LIMIT)
    head = " · ".join(filter(None, (_part(name, LABEL_LIMIT), _part(_category(found), LABEL_LIMIT))))
    body = " ".join(filter(None, (caption, f"“{transcript}”" if transcript else "")))
    return ": ".join(filter(None, (head, body)))


def _told(found: DetectedObject) -> list[str]:
    """List what a model told about an object beyond its name."""
    words = text.tidy(found.text or "")
    if _is_text(found) and len(words) <= TAG_LIMIT:
        words = ""
    return [told for told in (text.tidy(found.caption or ""), _category(found), words) if told]


def _part(part: str | None, limit: int) -> str:
    return text.writable(text.shorten(part or "", limit))


def _category(found: DetectedObject) -> str:
    """Give an object's category where it is not just its label again."""
    category = text.tidy(found.category or "")
    return "" if category.casefold() == found.label.strip().casefold() else category


def _is_text(found: DetectedObject) -> bool:
    return found.label.casefold() == "text"


def draw_tag(
    found: DetectedObject, color: Color, size: int, *, number: bool = False, label: bool = False, remark: bool = False
) -> Image.Image | None:
    """Draw the tag of an object with text of `size` pixels; None where nothing of it can be written.

    `label` is its name and score, `remark` what else there is to say, if it is short.
    """
    parts = (
        name(found) if label else "",
        remark_about(found) if remark else "",
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
    """Set words side by side on a colour."""
    margin, gap = max(2, round(size / 4)), round(size / 3)
    width = sum(ink.width for ink in inks) + gap * (len(inks) - 1) + 2 * margin
    block = Image.new("RGB", (width, line_height(size)), background)
    x = margin
    for ink in inks:
        block.paste(ink_on(background), (x, 0), ink)
        x += ink.width + gap
    return block


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
    listed = too_much(objects, tags=not style.dots)
    if len(listed) < len(objects) and any(remark_about(found) for found in objects):
        _, numbers = _plan(make_shapes(objects, view, original_size, style), style, view)
        listed = [found for found in objects if found.id in numbers]
    return sorted(listed, key=lambda found: found.id)


def _plan(shapes: Sequence[Shape], style: Style, view: Size) -> tuple[list[PlacedTag], set[int]]:
    """Place tags until each remark on one is seen; those that find no room leave their tag for the legend."""
    listed = {found.id for found in too_much([shape.found for shape in shapes], tags=not style.dots)}
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
        remark = style.captions and found.id not in listed and bool(remark_about(found))
        full = draw_tag(found, color, size, number=style.numbers, label=style.labels, remark=remark)
        short = draw_tag(found, color, size, number=True) if style.numbers else full
        if full and short:
            candidates.append(_Candidate(shape, full, short, remark))
    return candidates


def _placed(one: _Candidate, tag: Tag) -> PlacedTag:
    return PlacedTag(one.full if tag.full else one.short, (tag.x, tag.y))
