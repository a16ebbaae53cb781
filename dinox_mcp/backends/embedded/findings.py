"""What the detectors hand on: a kind, four corners, and what was read there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.embedded.vocabulary import Kind

Pixels = npt.NDArray[np.uint8]
Quad = npt.NDArray[np.float32]
"""Corners (4, 2) in order around the shape, x and y in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """One thing found; `score` only where its detector gives one, `text` only where it could be read.

    `category` is a code's symbology.
    """

    kind: Kind
    quad: Quad
    text: str | None = None
    score: float | None = None
    category: str | None = None


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
    """Sort top to bottom and left to right; what stands on one line stays together, also on a skewed one."""
    rows: list[list[_Placed]] = []
    for placed in sorted(map(_place, findings), key=lambda item: item.y):
        row = next((row for row in reversed(rows) if _on_line(placed, row)), None)
        if row is None:
            rows.append([placed])
        else:
            row.append(placed)
    return [placed.found for row in rows for placed in sorted(row, key=lambda item: item.x)]


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    found: Finding
    x: float
    y: float
    thickness: float


def _place(found: Finding) -> _Placed:
    x, y = found.quad.mean(axis=0).tolist()
    return _Placed(found, x, y, float(sides(found.quad).min()))


def _on_line(placed: _Placed, row: Sequence[_Placed]) -> bool:
    nearest = min(row, key=lambda other: abs(other.x - placed.x))
    return abs(nearest.y - placed.y) < min(nearest.thickness, placed.thickness) / 2
