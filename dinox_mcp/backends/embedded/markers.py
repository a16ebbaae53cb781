"""Reads ArUco markers and AprilTags with their dictionary and id.

OpenCV finds the dark squares. It could also identify them, but one dictionary at a time and at ten times the cost, so
each square is read here and compared with all dictionaries at once.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.embedded.prompts import Kind
from dinox_mcp.backends.embedded.readings import Pixels, Quad, Reading, View, quad, sides, unique, views
from dinox_mcp.backends.embedded.worker import Report

Cells = npt.NDArray[np.float64]
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

    codes: npt.NDArray[np.uint64]
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
                refined = _refined(gray, square)
                exact = self._read(gray, refined) if refined is not None else None
                usual = self._read(gray, square) if not inverted and _on_paper(gray, square) else None
                if refined is not None and exact and exact[0] >= max(_EXACT, usual[0] if usual else 0.0):
                    yield Reading(exact[1], view.to_image(refined), exact[2], exact[0])
                elif usual and usual[0] >= _LEAST_SCORE:
                    yield Reading(usual[1], view.to_image(square), usual[2], usual[0])

    def _read(self, gray: Pixels, shape: Quad) -> tuple[float, Kind, str]:
        """Read a square as the best marker of any size; return its score, kind and text."""
        return max(
            (_identify(gray, shape, bits, codebook) for bits, codebook in self._codebooks.items()),
            key=lambda one: one[0],
        )


def _refined(gray: Pixels, square: Quad) -> Quad | None:
    """Move the sides of a square to the end of its black border; None if the surroundings are not lighter."""
    # If the paper is only a thin white line, OpenCV puts the sides too far inside.
    cells = _MOST_BITS + 4
    size = cells * _FINE
    corners = np.array([[1, 1], [cells - 1, 1], [cells - 1, cells - 1], [1, cells - 1]], np.float32) * _FINE
    matrix = cv2.getPerspectiveTransform(square, corners)
    level = np.asarray(cv2.warpPerspective(gray, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    inner = level[_FINE:-_FINE, _FINE:-_FINE]
    black, white = np.percentile(inner, 10), np.percentile(inner, 90)
    moved: list[int] = []
    for turned in (np.rot90(level, turn) for turn in range(4)):  # the top side is the top, right, bottom and left one
        beside = np.median(turned[: _FINE * 3 // 2, 2 * _FINE : -2 * _FINE], axis=1)[::-1]  # from within outwards
        paper = float(beside.max() - black)
        ends = int(np.argmax(beside - black > paper / 2))
        if paper < max(_LEAST_CONTRAST, _LEAST_PAPER_BESIDE * (white - black)) or not ends:
            return None
        moved.append(ends - _FINE // 2)
    top, right, bottom, left = moved
    low, high = _FINE, size - _FINE
    refined = np.array(
        [[low - left, low - top], [high + right, low - top], [high + right, high + bottom], [low - left, high + bottom]]
    )
    back = cv2.perspectiveTransform(refined.astype(np.float32)[None], np.linalg.inv(matrix))[0]
    return quad(back)


def _identify(gray: Pixels, shape: Quad, bits: int, codebook: _Codebook) -> tuple[float, Kind, str]:
    """Read a square as a marker of so many bits per side; the score is 0 if it is not a marker."""
    nothing = 0.0, Kind.ARUCO, ""
    inner = _cells(gray, shape, bits)[1:-1, 1:-1]
    threshold, _ = cv2.threshold(inner.ravel(), 0, 255, cv2.THRESH_OTSU)
    dark = (inner <= threshold).mean(axis=(2, 3))
    light = dark < 0.5  # noqa: PLR2004 - half of a cell
    if light[_depth(bits + 2) == 0].mean() > _MOST_LIGHT_BORDER:
        return nothing
    code = _code(light[1:-1, 1:-1])
    wrong = np.bitwise_count(codebook.codes ^ code).astype(np.int64)
    fits = np.flatnonzero(wrong <= codebook.corrects)
    if not fits.size:
        return nothing
    best = fits[wrong[fits] == wrong[fits].min()]
    expected = np.ones((bits + 2, bits + 2))
    expected[1:-1, 1:-1] = 1 - _bits(codebook.codes[best[0]], bits)
    # A pattern of several dictionaries is named after all of them.
    names = dict.fromkeys(_name(_DICTIONARIES[codebook.owners[row]], int(codebook.ids[row])) for row in best)
    score = 1 - float(np.abs(expected - dark).mean())
    return score, _kind(_DICTIONARIES[codebook.owners[best[0]]]), " or ".join(names)


def _cells(gray: Pixels, shape: Quad, bits: int) -> Pixels:
    """Level a square with a ring of its surroundings; return the inner pixels of each cell (row, column, y, x)."""
    cells = bits + 4
    corners = np.array([[1, 1], [cells - 1, 1], [cells - 1, cells - 1], [1, cells - 1]], np.float32) * _CELL
    level = cv2.warpPerspective(
        gray,
        cv2.getPerspectiveTransform(shape, corners),
        (cells * _CELL, cells * _CELL),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(level.reshape(cells, _CELL, cells, _CELL)[:, 2:-2, :, 2:-2].swapaxes(1, 2), np.uint8)


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
    rows: dict[int, list[tuple[npt.NDArray[np.uint64], int, Numbers, int]]] = {}
    for owner, name in enumerate(_DICTIONARIES):
        if _kind(name) in kinds:
            known = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))
            codes = _codes(np.asarray(known.bytesList, np.uint8), known.markerSize)
            known_ids = np.setdiff1d(np.arange(len(codes)), _LOOKALIKES.get(name, ()))
            row = codes[known_ids].ravel(), owner, np.repeat(known_ids, 4), int(known.maxCorrectionBits * _CORRECTED)
            rows.setdefault(known.markerSize, []).append(row)
    return {
        bits: _Codebook(
            codes=np.concatenate([codes for codes, _, _, _ in group]),
            owners=np.concatenate([np.full(ids.size, owner) for _, owner, ids, _ in group]),
            ids=np.concatenate([ids for _, _, ids, _ in group]),
            corrects=np.concatenate([np.full(ids.size, corrects) for _, _, ids, corrects in group]),
        )
        for bits, group in rows.items()
    }


def _codes(packed: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.uint64]:
    """Turn OpenCV's bytes, those of all four rotations in a row, into numbers (ids, 4), first bit highest."""
    size = packed.shape[1]
    rotations = packed.reshape(len(packed), 4, size)
    codes = np.zeros((len(packed), 4), np.uint64)
    for index in range(size):
        held = min(8, bits * bits - 8 * index)  # the last byte has the remaining bits
        codes = codes << np.uint64(held) | rotations[:, :, index].astype(np.uint64)
    return codes


def _code(light: npt.NDArray[np.bool_]) -> np.uint64:
    """Turn bits into a number, first bit highest."""
    return np.uint64(int("".join("1" if bit else "0" for bit in light.ravel()), 2))


def _bits(code: np.uint64, bits: int) -> Cells:
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
