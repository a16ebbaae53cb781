"""What the detectors hand on: a kind, four corners, and what was read there."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.embedded.vocabulary import Kind

Pixels = npt.NDArray[np.uint8]
Quad = npt.NDArray[np.float32]
"""Corners (4, 2) in order around the shape, x and y in pixels."""

# Columns: how wide a line ends them, in parts of all; lines of one column; their distance and width, in their heights.
_WIDE, _LEAST_LINES, _MOST_PITCH, _LEAST_WIDTH = 0.6, 3, 2.5, 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """One thing found; `score` only where its detector gives one, `text` only where it could be read.

    `category` is a code's symbology. `note` is what the caller must know of the text.
    """

    kind: Kind
    quad: Quad
    text: str | None = None
    score: float | None = None
    category: str | None = None
    note: str | None = None


def quad(points: Any) -> Quad:  # noqa: ANN401 - whatever shape a detector of OpenCV gives
    """Bring four corners to the shape (4, 2)."""
    return np.asarray(points, np.float32).reshape(4, 2)


def sides(shape: Quad) -> npt.NDArray[np.float32]:
    """Measure the four sides in pixels."""
    return np.asarray(np.linalg.norm(shape - np.roll(shape, 1, axis=0), axis=1), np.float32)


def share_inside(inner: Quad, outer: Quad) -> float:
    """Share of `inner` that lies in `outer`, from 0 to 1."""
    size = cv2.contourArea(inner)
    if not size:
        return 0.0
    shared, _ = cv2.intersectConvexConvex(cv2.convexHull(inner), cv2.convexHull(outer))
    return float(shared) / size


def same_place(a: Quad, b: Quad, least: float = 0.6) -> bool:
    """Tell whether two shapes are views of one thing: so much of the smaller lies in the larger."""
    small, large = sorted((a, b), key=cv2.contourArea)
    return share_inside(small, large) > least


def once(findings: Iterable[Finding], least: float = 0.6) -> list[Finding]:
    """Keep each thing once, as the view that read it best: by score, by length of text, by size."""
    ranked = sorted(
        findings, key=lambda item: (-(item.score or 0.0), -len(item.text or ""), -cv2.contourArea(item.quad))
    )
    low = np.array([found.quad.min(axis=0) for found in ranked]).reshape(-1, 2)
    high = np.array([found.quad.max(axis=0) for found in ranked]).reshape(-1, 2)
    kept: list[int] = []
    for index, found in enumerate(ranked):
        meets = (low[kept] < high[index]).all(axis=1) & (high[kept] > low[index]).all(axis=1)
        if not any(same_place(found.quad, ranked[kept[near]].quad, least) for near in np.flatnonzero(meets)):
            kept.append(index)
    return [ranked[index] for index in kept]


def reading_order(findings: Iterable[Finding]) -> list[Finding]:
    """Sort top to bottom and left to right; columns of text come one after the other.

    What stands on one line stays together, also on a skewed one. A wide line, as a title, ends the columns above it.
    """
    ordered: list[Finding] = []
    loose: list[_Placed] = []  # what stands in no columns, and is yet to be sorted
    for band in _bands(sorted(map(_place, findings), key=lambda item: item.y)):
        if len(columns := _columns(band)) > 1:
            ordered += [*_by_rows(loose), *(found for column in columns for found in _by_rows(column))]
            loose = []
        else:
            loose += band
    return ordered + _by_rows(loose)


def _by_rows(placed: Iterable["_Placed"]) -> list[Finding]:
    """Sort by rows, and each row from left to right; what is placed comes from top to bottom."""
    rows: list[list[_Placed]] = []
    for item in placed:
        row = next((row for row in reversed(rows) if _on_line(item, row)), None)
        if row is None:
            rows.append([item])
        else:
            row.append(item)
    return [item.found for row in rows for item in sorted(row, key=lambda item: item.x)]


def _bands(placed: Sequence["_Placed"]) -> Iterator[list["_Placed"]]:
    """Split lines before and after each that is wide."""
    if not placed:
        return
    width = max(item.right for item in placed) - min(item.left for item in placed)
    for _, band in groupby(placed, key=lambda item: item.right - item.left > _WIDE * width):
        yield list(band)


def _columns(band: Sequence["_Placed"]) -> list[list["_Placed"]]:
    """Split a band into columns of text: three lines or more each, close to each other, and a narrow gap between.

    The cells of a table stand farther apart.
    """
    columns: list[list[_Placed]] = []
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


def _is_column(column: Sequence["_Placed"]) -> bool:
    if len(column) < _LEAST_LINES:
        return False
    heights = sorted(item.y for item in column)
    thickness = float(np.median([item.thickness for item in column]))
    width = float(np.median([item.right - item.left for item in column]))
    pitch = max(below - above for above, below in pairwise(heights))
    return pitch < _MOST_PITCH * thickness and width > _LEAST_WIDTH * thickness


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    found: Finding
    x: float
    y: float
    left: float
    right: float
    thickness: float


def _place(found: Finding) -> _Placed:
    x, y = found.quad.mean(axis=0).tolist()
    left, right = float(found.quad[:, 0].min()), float(found.quad[:, 0].max())
    return _Placed(found, x, y, left, right, float(sides(found.quad).min()))


def _on_line(placed: _Placed, row: Sequence[_Placed]) -> bool:
    nearest = min(row, key=lambda other: abs(other.x - placed.x))
    return abs(nearest.y - placed.y) < min(nearest.thickness, placed.thickness) / 2
