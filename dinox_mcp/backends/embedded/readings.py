"""Readings: lines of text, codes and markers, each with its outline and what it says; and their order on a page."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.embedded.vocabulary import Kind
from dinox_mcp.types.boxes import Box

Pixels = npt.NDArray[np.uint8]
Quad = npt.NDArray[np.float32]
"""Corners (4, 2) in order around the shape, x and y in pixels."""

# Columns: the share of the width at which a line ends them; their least lines; the distance of these and their width,
# in line heights.
_WIDE, _LEAST_LINES, _MOST_PITCH, _LEAST_WIDTH = 0.6, 3, 2.5, 3.0
_INSIDE_BOX = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A line of text, a code or a marker.

    Attributes:
        kind: What it is.
        quad: Its corners in pixels.
        text: What it says; None if it could not be read.
        score: From 0 to 1; None if its reader gives none.
        category: The symbology of a code.
        note: What the caller must know about the text.
    """

    kind: Kind
    quad: Quad
    text: str | None = None
    score: float | None = None
    category: str | None = None
    note: str | None = None


def quad(points: Any) -> Quad:  # noqa: ANN401 - whatever shape a detector of OpenCV gives
    """Convert four corners to an array (4, 2)."""
    return np.asarray(points, np.float32).reshape(4, 2)


def sides(shape: Quad) -> npt.NDArray[np.float32]:
    """Return the lengths of the four sides in pixels."""
    return np.asarray(np.linalg.norm(shape - np.roll(shape, 1, axis=0), axis=1), np.float32)


def share_inside(inner: Quad, outer: Quad) -> float:
    """Return the share of `inner` that lies in `outer`, from 0 to 1."""
    size = cv2.contourArea(inner)
    if not size:
        return 0.0
    shared, _ = cv2.intersectConvexConvex(cv2.convexHull(inner), cv2.convexHull(outer))
    return float(shared) / size


def overlap(a: Quad, b: Quad, least: float = 0.6) -> bool:
    """Tell whether more than a share `least` of the smaller shape lies in the larger, so that both show one thing."""
    small, large = sorted((a, b), key=cv2.contourArea)
    return share_inside(small, large) > least


def unique(readings: Iterable[Reading], least: float = 0.6) -> list[Reading]:
    """Keep of overlapping readings the best: by score, by length of text, by size."""
    ranked = sorted(
        readings, key=lambda item: (-(item.score or 0.0), -len(item.text or ""), -cv2.contourArea(item.quad))
    )
    low = np.array([reading.quad.min(axis=0) for reading in ranked]).reshape(-1, 2)
    high = np.array([reading.quad.max(axis=0) for reading in ranked]).reshape(-1, 2)
    kept: list[int] = []
    for index, reading in enumerate(ranked):
        meets = (low[kept] < high[index]).all(axis=1) & (high[kept] > low[index]).all(axis=1)
        if not any(overlap(reading.quad, ranked[kept[near]].quad, least) for near in np.flatnonzero(meets)):
            kept.append(index)
    return [ranked[index] for index in kept]


def text_in(box: Box, readings: Sequence[Reading]) -> str | None:
    """Join the texts in a box, from top to bottom; None if there are none."""
    left, top, right, bottom = box
    outline = quad([[left, top], [right, top], [right, bottom], [left, bottom]])
    inside = [one for one in readings if one.text and share_inside(one.quad, outline) >= _INSIDE_BOX]
    return "\n".join(one.text for one in reading_order(inside) if one.text) or None


def reading_order(readings: Iterable[Reading]) -> list[Reading]:
    """Sort from top to bottom and from left to right; columns of text come one after the other.

    Readings on one line stay together, on a skewed page, too. A wide line, such as a title, ends the columns above it.
    """
    ordered: list[Reading] = []
    loose: list[_Located] = []  # not in columns, and not sorted yet
    for band in _bands(sorted(map(_locate, readings), key=lambda item: item.y)):
        if len(columns := _columns(band)) > 1:
            ordered += [*_by_rows(loose), *(reading for column in columns for reading in _by_rows(column))]
            loose = []
        else:
            loose += band
    return ordered + _by_rows(loose)


def _by_rows(items: Iterable["_Located"]) -> list[Reading]:
    """Sort by rows, and each row from left to right; the input is sorted from top to bottom."""
    rows: list[list[_Located]] = []
    for item in items:
        row = next((row for row in reversed(rows) if _on_line(item, row)), None)
        if row is None:
            rows.append([item])
        else:
            row.append(item)
    return [item.reading for row in rows for item in sorted(row, key=lambda item: item.x)]


def _bands(items: Sequence["_Located"]) -> Iterator[list["_Located"]]:
    """Split readings before and after each wide one."""
    if not items:
        return
    width = max(item.right for item in items) - min(item.left for item in items)
    for _, band in groupby(items, key=lambda item: item.right - item.left > _WIDE * width):
        yield list(band)


def _columns(band: Sequence["_Located"]) -> list[list["_Located"]]:
    """Split a band into columns of text: three or more lines each, close to each other, with a narrow gap between.

    The cells of a table are farther apart.
    """
    columns: list[list[_Located]] = []
    ends: list[float] = []
    for item in sorted(band, key=lambda item: item.left):
        if columns and item.left < ends[-1]:
            columns[-1].append(item)
            ends[-1] = max(ends[-1], item.right)
        else:
            columns.append([item])
            ends.append(item.right)
    starts = [column[0].left for column in columns]
    gaps = [start - end for start, end in zip(starts[1:], ends[:-1], strict=True)]
    narrowest = min((end - start for start, end in zip(starts, ends, strict=True)), default=0.0)
    if not all(map(_is_column, columns)) or max(gaps, default=0.0) > narrowest:
        return [list(band)]
    return [sorted(column, key=lambda item: item.y) for column in columns]


def _is_column(column: Sequence["_Located"]) -> bool:
    if len(column) < _LEAST_LINES:
        return False
    heights = sorted(item.y for item in column)
    thickness = float(np.median([item.thickness for item in column]))
    width = float(np.median([item.right - item.left for item in column]))
    pitch = max(below - above for above, below in pairwise(heights))
    return pitch < _MOST_PITCH * thickness and width > _LEAST_WIDTH * thickness


@dataclass(frozen=True, slots=True, eq=False)
class _Located:
    reading: Reading
    x: float
    y: float
    left: float
    right: float
    thickness: float


def _locate(reading: Reading) -> _Located:
    x, y = reading.quad.mean(axis=0).tolist()
    left, right = float(reading.quad[:, 0].min()), float(reading.quad[:, 0].max())
    return _Located(reading, x, y, left, right, float(sides(reading.quad).min()))


def _on_line(item: _Located, row: Sequence[_Located]) -> bool:
    nearest = min(row, key=lambda other: abs(other.x - item.x))
    return abs(nearest.y - item.y) < min(nearest.thickness, item.thickness) / 2
