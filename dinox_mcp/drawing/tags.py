"""The tags of objects: their content, their drawing and their places; what has no space goes into the legend.

Tags are placed at their boxes, inside the image, not on each other, and hide little.
"""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from dinox_mcp.drawing import text
from dinox_mcp.drawing.style import BLACK, Color, Shape, Size, Style, ink_on, make_shapes
from dinox_mcp.drawing.text import line_height
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import DetectedObject

Boxes = npt.NDArray[np.float64]

LABEL_LIMIT = 32
TAG_LIMIT = 24
CAPTION_LIMIT = 200
TEXT_LIMIT = 120
_FEW = 12  # up to so many objects, tags may have a description besides the name
MOST_TAGS = 500
"""Only the objects of the lowest numbers get a tag: placing takes time by the square of their number, and more tags
would hide the image."""
_OVERLAP = 100.0  # the cost of a tag that lies fully on others: higher than any other cost
_HIDING = 4.0  # the cost of a tag that hides a box fully
_LITTLE = 0.05  # the share of its own box that a tag may hide at a quarter of the cost
_DETOUR = 0.03  # the cost of each spot over the one before it in the list
_MOST_HIDDEN = 0.1  # the share of a box that the full form of a tag may hide
_CROWD = 50  # with more objects, text gets smaller


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
    """Draw the tag of an object in text of `size` pixels; None if nothing of it can be written."""
    parts = (
        name(found) if label else "",
        short_description(found) if description else "",
        score(found) if label else "",
    )
    body = [ink for part in parts if (ink := text.ink(part, size))]
    head = [ink for ink in (text.ink(str(found.id), size),) if ink and number]
    colored = ((head, color), (body, BLACK if head else color))
    blocks = [_block(inks, background, size) for inks, background in colored if inks]
    if not blocks:
        return None
    tag = Image.new("RGB", (sum(block.width for block in blocks), line_height(size)))
    tag.paste(blocks[0], (0, 0))
    tag.paste(blocks[-1], (tag.width - blocks[-1].width, 0))
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


class Tag(NamedTuple):
    """The upper left corner of a tag in full pixels, and whether its full form fits there."""

    x: int
    y: int
    full: bool


def place_tags(boxes: Sequence[Box], full: Sequence[Size], short: Sequence[Size], canvas: Size) -> list[Tag | None]:
    """Place a tag, of (width, height) in its `full` and `short` form, at each box in an image of `canvas` pixels.

    All tags are placed in their short form first, so that each gets a spot; one that is larger than the image gets
    none. Then each, in order, gets its full form if that covers no other tag and hides little.
    """
    around = np.array(boxes, dtype=float).reshape(-1, 4)
    taken = np.zeros_like(around)
    tags: list[Tag | None] = [None] * len(around)
    for index, size in enumerate(short):
        if fits(size, canvas):
            spot, _, _ = _best(around, index, size, canvas, taken)
            taken[index] = spot
            tags[index] = Tag(int(spot[0]), int(spot[1]), full=size == full[index])
    for index, tag in enumerate(tags):
        if tag is None or tag.full or not fits(full[index], canvas):
            continue
        others = np.delete(taken, index, axis=0)
        spot, overlap, hidden = _best(around, index, full[index], canvas, others)
        if overlap == 0 and hidden <= _MOST_HIDDEN:
            taken[index] = spot
            tags[index] = Tag(int(spot[0]), int(spot[1]), full=True)
    return tags


def text_size(size: Size, count: int = 1) -> int:
    """Choose the text size in pixels for an image of this size and a number of objects."""
    ideal = (7 + 0.0105 * math.sqrt(size[0] * size[1])) * min(1, max(0.7, math.sqrt(_CROWD / max(1, count))))
    return round(max(10, min(ideal, min(size) / 6)))


def fits(size: Size, canvas: Size) -> bool:
    """Return whether something of (width, height) `size` fits in an image."""
    return size[0] <= canvas[0] and size[1] <= canvas[1]


def _best(around: Boxes, index: int, size: Size, canvas: Size, taken: Boxes) -> tuple[Boxes, float, float]:
    """Find the cheapest spot; return it, its share that lies on other tags, and the largest share of a box it hides."""
    spots = _spots(around[index], size, canvas)
    overlap = shared_areas(spots, taken).sum(axis=1) / (size[0] * size[1])
    areas = (around[:, 2] - around[:, 0]) * (around[:, 3] - around[:, 1])
    hidden = shared_areas(spots, around) / np.maximum(areas, 1)
    own, others = hidden[:, index], np.delete(hidden, index, axis=1).sum(axis=1)
    hiding = np.where(own > _LITTLE, _HIDING, 1) * own + _HIDING * others
    best = int((_OVERLAP * overlap + hiding + _DETOUR * np.arange(len(spots))).argmin())
    return spots[best], float(overlap[best]), float(hidden[best].max())


def _spots(box: Boxes, size: Size, canvas: Size) -> Boxes:
    """List the spots for a tag at a box, the best first, moved into the image."""
    left, top, right, bottom = box
    width, height = size
    gap = round(height / 8) if bottom - top < 2 * height else 0  # boxes of text often end inside the letters
    end, foot, middle = right - width, bottom - height, (left + right - width) / 2
    above, below, before, after = top - height - gap, bottom + gap, left - width - gap, right + gap
    corners = (
        (left, above), (left, top), (left, below), (end, above), (end, top), (end, below),
        (middle, above), (middle, below), (left, foot), (end, foot),
        (after, top), (before, top), (after, foot), (before, foot),
    )  # fmt: skip
    corner = np.clip(np.round(corners), 0, np.subtract(canvas, size))
    return np.concatenate((corner, corner + size), axis=1)


def shared_areas(a: Boxes, b: Boxes) -> Boxes:
    """Compute the area that each box of `a` (n, 4) shares with each of `b` (m, 4), of shape (n, m)."""
    width = np.minimum(a[:, None, 2], b[:, 2]) - np.maximum(a[:, None, 0], b[:, 0])
    height = np.minimum(a[:, None, 3], b[:, 3]) - np.maximum(a[:, None, 1], b[:, 1])
    areas: Boxes = np.maximum(width, 0) * np.maximum(height, 0)
    return areas


PlacedTag = tuple[Image.Image, tuple[int, int]]
"""A tag and its upper left corner in the view."""


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
    """List the objects whose descriptions do not fit on their tags in a view of (width, height) pixels, by number."""
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
            placed = [(one.full if tag.full else one.short, (tag.x, tag.y)) for one, tag in pairs if tag]
            return placed, listed
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
