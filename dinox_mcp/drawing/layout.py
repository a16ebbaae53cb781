"""Where tags go: at their boxes, inside the picture, clear of each other and of what they would hide."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dinox_mcp.types.boxes import Box

Size = tuple[int, int]
Boxes = npt.NDArray[np.float64]

_OVERLAP = 100.0  # the cost of a tag that is all over others: worse than anything else
_DETOUR = 0.05  # the cost of each place over the more natural one before it
_MOST_HIDDEN = 0.25  # the share of any one box that a tag may hide to tell more than its number


_CROWD = 50  # objects from which on text gets smaller


class Tag(NamedTuple):
    """A tag's upper left corner in whole pixels, and whether there is room for its full form."""

    x: int
    y: int
    full: bool


def place_tags(boxes: Sequence[Box], full: Sequence[Size], short: Sequence[Size], canvas: Size) -> list[Tag | None]:
    """Place a tag at each box of a picture of (width, height) `canvas`; `full` and `short` are sizes likewise.

    Every tag gets a place for its short form first, so that none is crowded out; then each, in order, grows to
    its full form where that covers no other tag and hides little. None where the short form exceeds the picture.
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
    """Choose text for the area of a picture, less in a crowd, but never too small to read nor too high for a strip."""
    wanted = (7 + 0.0105 * math.sqrt(size[0] * size[1])) * min(1, max(0.7, math.sqrt(_CROWD / max(1, count))))
    return round(max(10, min(wanted, min(size) / 6)))


def fits(size: Size, canvas: Size) -> bool:
    """Whether something of (width, height) `size` has room in a picture."""
    return size[0] <= canvas[0] and size[1] <= canvas[1]


def _best(around: Boxes, index: int, size: Size, canvas: Size, taken: Boxes) -> tuple[Boxes, float, float]:
    """Find the cheapest spot, the share of it that is over other tags, and the largest share of a box that it hides."""
    spots = _spots(around[index], size, canvas)
    overlap = shared(spots, taken).sum(axis=1) / (size[0] * size[1])
    areas = (around[:, 2] - around[:, 0]) * (around[:, 3] - around[:, 1])
    hidden = shared(spots, around) / np.maximum(areas, 1)
    best = int((_OVERLAP * overlap + hidden.sum(axis=1) + _DETOUR * np.arange(len(spots))).argmin())
    return spots[best], float(overlap[best]), float(hidden[best].max())


def _spots(box: Boxes, size: Size, canvas: Size) -> Boxes:
    """List the places for a tag at a box, the most natural first, moved into the picture."""
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


def shared(a: Boxes, b: Boxes) -> Boxes:
    """Compute the areas that each of `a` shares with each of `b`, of shape (len(a), len(b))."""
    width = np.minimum(a[:, None, 2], b[:, 2]) - np.maximum(a[:, None, 0], b[:, 0])
    height = np.minimum(a[:, None, 3], b[:, 3]) - np.maximum(a[:, None, 1], b[:, 1])
    shared: Boxes = np.maximum(width, 0) * np.maximum(height, 0)
    return shared
