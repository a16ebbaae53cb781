"""Reads ArUco markers and AprilTags with their dictionary and id.

OpenCV finds the dark squares. It could also identify them, but one dictionary at a time and at ten times the cost, so
each square is read here and compared with all dictionaries at once.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.embedded.prompts import Kind
from dinox_mcp.backends.embedded.readings import (
    Pixels,
    Quad,
    Reading,
    View,
    levelled,
    outline,
    quad,
    sides,
    unique,
    views,
)
from dinox_mcp.backends.embedded.worker import Report

Codes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]

# The smaller dictionaries of a size have the first ids of the largest.
_DICTIONARIES = (
    "DICT_4X4_1000",
    "DICT_5X5_1000",
    "DICT_6X6_1000",
    "DICT_7X7_1000",
    "DICT_ARUCO_ORIGINAL",
    "DICT_ARUCO_MIP_36h12",
    "DICT_APRILTAG_16h5",
    "DICT_APRILTAG_25h9",
    "DICT_APRILTAG_36h10",
    "DICT_APRILTAG_36h11",
)
_LOOKALIKES = {"DICT_ARUCO_ORIGINAL": (0, 1023)}  # a bar in a dark frame, like windows and buttons
_SIZES = (50, 100, 250, 1000)
_CORRECTED = 0.6  # share of the correctable bits of a dictionary that are corrected, as in OpenCV
_MOST_BITS = 7
_CELL = 8  # pixels of a cell of a levelled square, of which the inner 4 are read

# With these, nothing was found in 200 megapixels of photographs without markers.
_LEAST_SCORE = 0.9
_LEAST_CONTRAST = 10
_LEAST_PAPER = 0.3
_LEAST_PAPER_BESIDE, _EXACT = 0.15, 0.97
_FINE = 16  # pixels of a cell when the sides of a square are refined
_MOST_LIGHT_BORDER = 0.1
_LEAST_ASPECT = 0.35  # short against long side, seen at an angle


@dataclass(frozen=True, slots=True, eq=False)
class _Codebook:
    """The codes of all markers with the same number of bits, in each of four rotations."""

    codes: Codes
    owners: Numbers  # index in _DICTIONARIES
    ids: Numbers
    corrects: Numbers  # bits that may be wrong


class MarkerReader:
    """Finds markers of some kinds; the score is the share of a marker's area that is right."""

    def __init__(self, kinds: AbstractSet[Kind]) -> None:
        self._codebooks = _codebooks(kinds)
        settings = cv2.aruco.DetectorParameters()
        settings.adaptiveThreshWinSizeMax = 13  # of 3, 13 and 23 the last finds no more markers
        settings.minMarkerDistanceRate = settings.minGroupDistance = 0.0  # or the edge of the paper replaces the marker
        self._squares: Any = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50), settings)

    def read(self, gray: Pixels, report: Report) -> list[Reading]:
        """Find markers in an image (height, width)."""
        shown = views(gray)
        found: list[Reading] = []
        for done, view in enumerate(shown):
            report(done / len(shown))
            found += self._read_view(view)
        return unique(found)

    def _read_view(self, view: View) -> Iterator[Reading]:
        """Find markers in a view; only exact ones where they are white on black, or have little paper around."""
        for inverted, gray in enumerate((view.pixels, np.asarray(255 - view.pixels, np.uint8))):
            known, _, others = self._squares.detectMarkers(gray)
            for square in map(quad, (*known, *others)):
                if sides(square).min() < _LEAST_ASPECT * sides(square).max():
                    continue
                readings: list[Reading] = []
                refined = _refined(gray, square)
                if refined is not None:
                    readings += self._read(gray, refined, _EXACT)
                if not inverted and _on_paper(gray, square):
                    readings += self._read(gray, square, _LEAST_SCORE)
                if readings:
                    best = max(readings, key=lambda one: one.score or 0.0)
                    yield replace(best, quad=view.to_image(best.quad))

    def _read(self, gray: Pixels, shape: Quad, least: float) -> Iterator[Reading]:
        """Read a square as a marker of each size; yield what has at least a score."""
        for bits, codebook in self._codebooks.items():
            found = _identify(gray, shape, bits, codebook)
            if found and found.score and found.score >= least:
                yield found


def _refined(gray: Pixels, square: Quad) -> Quad | None:
    """Move the sides of a square to the end of its black border; None if the surroundings are not lighter."""
    # If the paper is only a thin white line, OpenCV puts the sides too far inside.
    side = (_MOST_BITS + 2) * _FINE
    level, back = levelled(gray, square, (side, side), _FINE, cv2.INTER_LINEAR)
    black, white = np.percentile(level[_FINE:-_FINE, _FINE:-_FINE], (10, 90))
    moved: list[int] = []
    for turned in (np.rot90(level, turn) for turn in range(4)):  # the top side is the top, right, bottom and left one
        beside = np.median(turned[: _FINE * 3 // 2, 2 * _FINE : -2 * _FINE], axis=1)[::-1]  # from within outwards
        paper = float(beside.max() - black)
        ends = int(np.argmax(beside - black > paper / 2))
        if paper < max(_LEAST_CONTRAST, _LEAST_PAPER_BESIDE * (white - black)) or not ends:
            return None
        moved.append(ends - _FINE // 2)
    top, right, bottom, left = moved
    refined = outline((_FINE - left, _FINE - top, _FINE + side + right, _FINE + side + bottom))
    return quad(cv2.perspectiveTransform(refined[None], back))


def _identify(gray: Pixels, shape: Quad, bits: int, codebook: _Codebook) -> Reading | None:
    """Read a square as a marker of so many bits per side; None if it is not a marker."""
    inner = _cells(gray, shape, bits)[1:-1, 1:-1]
    threshold, _ = cv2.threshold(inner.ravel(), 0, 255, cv2.THRESH_OTSU)
    dark = (inner <= threshold).mean(axis=(2, 3))
    light = dark < 0.5  # noqa: PLR2004 - half of a cell
    if light[_depth(bits + 2) == 0].mean() > _MOST_LIGHT_BORDER:
        return None
    code = np.uint64(int("".join("1" if bit else "0" for bit in light[1:-1, 1:-1].ravel()), 2))
    wrong = np.bitwise_count(codebook.codes ^ code).astype(np.int64)
    fits = np.flatnonzero(wrong <= codebook.corrects)
    if not fits.size:
        return None
    best = fits[wrong[fits] == wrong[fits].min()]
    expected = np.ones((bits + 2, bits + 2))
    expected[1:-1, 1:-1] = 1 - _bits(codebook.codes[best[0]], bits)
    # A pattern of several dictionaries is named after all of them.
    names = dict.fromkeys(_name(_DICTIONARIES[codebook.owners[row]], int(codebook.ids[row])) for row in best)
    kind, score = _kind(_DICTIONARIES[codebook.owners[best[0]]]), 1 - float(np.abs(expected - dark).mean())
    return Reading(kind, shape, " or ".join(names), score)


def _cells(gray: Pixels, shape: Quad, bits: int) -> Pixels:
    """Level a square with a ring of its surroundings; return the inner pixels of each cell (row, column, y, x)."""
    side = (bits + 2) * _CELL
    level, _ = levelled(gray, shape, (side, side), _CELL, cv2.INTER_LINEAR)
    return level.reshape(bits + 4, _CELL, bits + 4, _CELL)[:, 2:-2, :, 2:-2].swapaxes(1, 2)


def _on_paper(gray: Pixels, shape: Quad) -> bool:
    """Return whether the surroundings are lighter than the black border, like paper and unlike dark texture."""
    means = _cells(gray, shape, _MOST_BITS).mean(axis=(2, 3))
    depth = _depth(len(means))
    paper, border, white = means[depth == 0].mean(), means[depth == 1].mean(), np.percentile(means[depth > 1], 90)
    return bool(paper - border >= max(_LEAST_CONTRAST, _LEAST_PAPER * (white - border)))


def _depth(cells: int) -> Numbers:
    """Count the cells between each cell of a square and its nearest edge."""
    edge = np.minimum(np.arange(cells), np.arange(cells)[::-1])
    return np.asarray(np.minimum.outer(edge, edge), np.int64)


def _codebooks(kinds: AbstractSet[Kind]) -> dict[int, _Codebook]:
    """Gather the dictionaries of some kinds by the bits on a side."""
    rows: dict[int, list[tuple[Codes, Numbers, Numbers, Numbers]]] = {}
    for owner, name in enumerate(_DICTIONARIES):
        if _kind(name) in kinds:
            known = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))
            codes = _codes(np.asarray(known.bytesList, np.uint8), known.markerSize)
            ids = np.repeat(np.setdiff1d(np.arange(len(codes)), _LOOKALIKES.get(name, ())), 4)
            corrects = int(known.maxCorrectionBits * _CORRECTED)
            row = codes[ids[::4]].ravel(), np.full(ids.size, owner), ids, np.full(ids.size, corrects)
            rows.setdefault(known.markerSize, []).append(row)
    return {bits: _Codebook(*map(np.concatenate, zip(*group, strict=True))) for bits, group in rows.items()}


def _codes(packed: Pixels, bits: int) -> Codes:
    """Turn OpenCV's bytes, those of all four rotations in a row, into numbers (ids, 4), first bit highest."""
    rotations = packed.reshape(len(packed), 4, -1).astype(np.uint64)
    codes = np.zeros(rotations.shape[:2], np.uint64)
    for index in range(rotations.shape[2]):
        held = min(8, bits * bits - 8 * index)  # the last byte has the remaining bits
        codes = codes << np.uint64(held) | rotations[:, :, index]
    return codes


def _bits(code: np.uint64, bits: int) -> npt.NDArray[np.float64]:
    """Turn a number into bits of shape (bits, bits)."""
    return np.array([int(bit) for bit in f"{int(code):0{bits * bits}b}"], float).reshape(bits, bits)


def _kind(dictionary: str) -> Kind:
    return Kind.APRILTAG if "APRILTAG" in dictionary else Kind.ARUCO


def _name(dictionary: str, number: int) -> str:
    """Name a marker after the smallest dictionary that has it."""
    if _kind(dictionary) is Kind.APRILTAG:
        return f"AprilTag {dictionary.removeprefix('DICT_APRILTAG_')} id {number}"
    stem, _, size = dictionary.rpartition("_")
    if size.isdecimal():
        return f"{stem}_{next(known for known in _SIZES if number < known)} id {number}"
    return f"{dictionary} id {number}"
