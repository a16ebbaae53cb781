"""Places tags: at their boxes, inside the image, not on each other, and hiding little."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dinox_mcp.drawing.style import Size
from dinox_mcp.types.boxes import Box

Boxes = npt.NDArray[np.float64]

_OVERLAP = 100.0  # the cost of a tag that lies fully on others: higher than any other cost
_DETOUR = 0.05  # the cost of each spot over the one before it in the list
_MOST_HIDDEN = 0.25  # the share of a box that the full form of a tag may hide
_CROWD = 50  # with more objects, text gets smaller


class Tag(NamedTuple):
    """The upper left corner of a tag in full pixels, and whether its full form fits there."""

    x: int
    y: int
    full: bool


def place_tags(boxes: Sequence[Box], full: Sequence[Size], short: Sequence[Size], canvas: Size) -> list[Tag | None]:
    """Place a tag at each box.

    All tags are placed in their short form first, so that each gets a spot. Then each, in order, gets its full form
    if that covers no other tag and hides little.

    Args:
        boxes: The boxes in pixels of the image.
        full: Width and height of each tag in its full form.
        short: Width and height of each tag in its short form.
        canvas: Width and height of the image.

    Returns:
        The tag of each box; None if its short form is larger than the image.
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
    """Tell whether something of (width, height) `size` fits in an image."""
    return size[0] <= canvas[0] and size[1] <= canvas[1]


def _best(around: Boxes, index: int, size: Size, canvas: Size, taken: Boxes) -> tuple[Boxes, float, float]:
    """Find the cheapest spot; return it, its share that lies on other tags, and the largest share of a box it hides."""
    spots = _spots(around[index], size, canvas)
    overlap = shared_areas(spots, taken).sum(axis=1) / (size[0] * size[1])
    areas = (around[:, 2] - around[:, 0]) * (around[:, 3] - around[:, 1])
    hidden = shared_areas(spots, around) / np.maximum(areas, 1)
    best = int((_OVERLAP * overlap + hidden.sum(axis=1) + _DETOUR * np.arange(len(spots))).argmin())
    return spots[best], float(overlap[best]), float(hidden[best].max())


def _spots(box: Boxes, size: Size, canvas: Size) -> Boxes:
    """List the spots for a tag at a box, the best first, moved into the image."""
    left, top, right, bottom = box
    width, height = size
    end, foot, middle = right - width, bottom - height, (left + right - width) / 2
    corners = (
        (left, top - height), (left, top), (left, bottom), (end, top - height), (end, top), (end, bottom),
        (middle, top - height), (middle, bottom), (left, foot), (end, foot),
        (right, top), (left - width, top), (right, foot), (left - width, foot),
    )  # fmt: skip
    corner = np.clip(np.round(corners), 0, np.subtract(canvas, size))
    return np.concatenate((corner, corner + size), axis=1)


def shared_areas(a: Boxes, b: Boxes) -> Boxes:
    """Compute the area that each box of `a` (n, 4) shares with each of `b` (m, 4), of shape (n, m)."""
    width = np.minimum(a[:, None, 2], b[:, 2]) - np.maximum(a[:, None, 0], b[:, 0])
    height = np.minimum(a[:, None, 3], b[:, 3]) - np.maximum(a[:, None, 1], b[:, 1])
    areas: Boxes = np.maximum(width, 0) * np.maximum(height, 0)
    return areas
