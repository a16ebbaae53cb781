"""Pixels of an image, shapes and views of them; what is read in them: text, codes and markers; and its order."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise, product
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.embedded.prompts import Kind
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import Box

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")
Pixels = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]
Quad = npt.NDArray[np.float32]
"""Corners (4, 2) in order around the shape, x and y in pixels."""

MAX_PIXELS = 20_000_000
MAX_SIDE = 32_000
"""The longest side that is searched. ZXing's limit is twice that, 65,535 pixels; models pad thin images."""
_TILE, _OVERLAP = 1600, 400
_SMALL = 1_500_000

# Columns: the share of the width at which a line ends them; their least lines; the distance of these and their width,
# in line heights.
_WIDE, _LEAST_LINES, _MOST_PITCH, _LEAST_WIDTH = 0.6, 3, 2.5, 3.0
_INSIDE_BOX = 0.6


def quad(points: Any) -> Quad:  # noqa: ANN401 - whatever shape a detector of OpenCV gives
    """Convert four corners to an array (4, 2)."""
    return np.asarray(points, np.float32).reshape(4, 2)


def sides(shape: Quad) -> npt.NDArray[np.float32]:
    """Return the lengths of the four sides in pixels."""
    return np.asarray(np.linalg.norm(shape - np.roll(shape, 1, axis=0), axis=1), np.float32)


def outline(box: Box) -> Quad:
    """Return the corners of a box."""
    left, top, right, bottom = box
    return quad([[left, top], [right, top], [right, bottom], [left, bottom]])


def rounded(box: Box) -> Box:
    """Round a box to tenths of a pixel."""
    left, top, right, bottom = box
    return round(left, 1), round(top, 1), round(right, 1), round(bottom, 1)


def share_inside(inner: Quad, outer: Quad) -> float:
    """Return the share of `inner` that lies in `outer`, from 0 to 1."""
    size = cv2.contourArea(inner)
    if not size:
        return 0.0
    shared, _ = cv2.intersectConvexConvex(cv2.convexHull(inner), cv2.convexHull(outer))
    return float(shared) / size


def overlap(a: Quad, b: Quad, least: float = 0.6) -> bool:
    """Return whether more than a share `least` of the smaller shape lies in the larger, so that both show one thing."""
    small, large = sorted((a, b), key=cv2.contourArea)
    return share_inside(small, large) > least


def distinct(ranked: Iterable[T], is_same: Callable[[T, T], bool]) -> list[T]:
    """Keep each item that is not the same as a better one, which comes before it."""
    kept: list[T] = []
    for item in ranked:
        if not any(is_same(item, other) for other in kept):
            kept.append(item)
    return kept


def levelled(
    pixels: Pixels,
    shape: Quad,
    size: tuple[float, float],
    margin: float = 0.0,
    how: int = cv2.INTER_CUBIC,
    border: int = cv2.BORDER_REPLICATE,
) -> tuple[Pixels, Matrix]:
    """Show a shape as an upright rectangle of this width and height, with a margin on each side.

    Returns:
        The pixels, and the matrix that maps points in them back to the image. Beyond the image they are as `border`
        says, or white.
    """
    width, height = size
    corners = outline((margin, margin, margin + width, margin + height))
    matrix = cv2.getPerspectiveTransform(shape, corners)
    shown = math.ceil(width + 2 * margin), math.ceil(height + 2 * margin)
    level = cv2.warpPerspective(pixels, matrix, shown, flags=how, borderMode=border, borderValue=(255, 255, 255))
    return np.asarray(level, np.uint8), np.asarray(np.linalg.inv(matrix), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A part of an image: `pixels` show it enlarged by `factor`; its upper left corner is at (`x`, `y`)."""

    pixels: Pixels
    x: int = 0
    y: int = 0
    factor: float = 1.0

    def cuts(self, points: Any, image: Pixels) -> bool:  # noqa: ANN401 - OpenCV's detectors return various shapes
        """Return whether a shape reaches an edge of this view that is not an edge of the image."""
        shape = quad(points)
        (left, top), (right, bottom) = shape.min(axis=0), shape.max(axis=0)
        height, width = self.pixels.shape[:2]
        return bool(
            (left <= 0 < self.x)
            or (top <= 0 < self.y)
            or (right >= width and self.x + width / self.factor < image.shape[1])
            or (bottom >= height and self.y + height / self.factor < image.shape[0])
        )

    def to_image(self, points: Any) -> Quad:  # noqa: ANN401 - OpenCV's detectors return various shapes
        """Map corners in pixels of this view to pixels of the image."""
        return quad(points) / np.float32(self.factor) + np.array([self.x, self.y], np.float32)


def decode_rgb(picture: Picture) -> tuple["Image.Image", list[str]]:
    """Decode to RGB. A very large image is reduced, and a note says so."""
    longest, size = max(picture.width, picture.height), picture.width * picture.height
    side = min(MAX_SIDE, math.floor(longest * math.sqrt(min(1.0, MAX_PIXELS / size))))
    if side >= longest:
        return picture.rgb(), []
    rgb = picture.rgb(side)
    return rgb, [f"searched at {rgb.width}x{rgb.height} pixels; zoom in for what is smaller"]


def decode(picture: Picture) -> tuple[Pixels, list[str]]:
    """Decode to pixels (height, width, BGR), as `decode_rgb` does."""
    rgb, notes = decode_rgb(picture)
    return to_bgr(rgb), notes


def to_bgr(rgb: "Image.Image") -> Pixels:
    """Convert an image to an array (height, width, BGR)."""
    return np.asarray(cv2.cvtColor(np.asarray(rgb), cv2.COLOR_RGB2BGR), np.uint8)


def resized(pixels: Pixels, factor: float) -> View:
    """Return a view of the full image at another size."""
    if factor == 1:
        return View(pixels)
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return View(np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=how), np.uint8), factor=factor)


def around(pixels: Pixels, shape: Quad, margin: float, side: int) -> View:
    """Return a view of a shape, `margin` times its size wider on each side, `side` pixels high."""
    height, width = pixels.shape[:2]
    size = shape.max(axis=0) - shape.min(axis=0)
    x1, y1 = np.maximum(shape.min(axis=0) - margin * size - 8, 0).astype(int).tolist()
    x2, y2 = np.minimum(shape.max(axis=0) + margin * size + 8, (width, height)).astype(int).tolist()
    part = pixels[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
    view = resized(part, side / part.shape[0])
    return View(view.pixels, x1, y1, view.factor)


def views(pixels: Pixels) -> list[View]:
    """Choose views that show large and small things: of a large image a reduced one, and tiles at full size."""
    height, width = pixels.shape[:2]
    if height * width <= _SMALL or max(height, width) <= _TILE:
        return [View(pixels)]
    return [resized(pixels, _TILE / max(height, width)), *tiles(pixels, _TILE, _OVERLAP)]


def tiles(pixels: Pixels, side: int, overlap: int) -> list[View]:
    """Cut an image into overlapping squares at full size."""
    height, width = pixels.shape[:2]
    corners = product(_starts(height, side, overlap), _starts(width, side, overlap))
    return [View(pixels[y : y + side, x : x + side], x, y) for y, x in corners]


def _starts(length: int, side: int, overlap: int) -> list[int]:
    """Place the fewest tiles that overlap enough, evenly."""
    count = max(1, -(-(length - overlap) // (side - overlap)))
    return [round(index * max(0, length - side) / max(1, count - 1)) for index in range(count)]


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A line of text, a code or a marker; without a text, it could not be read.

    The `category` is the symbology of a code, the `note` what the caller must know about the text.
    """

    kind: Kind
    quad: Quad
    text: str | None = None
    score: float | None = None
    category: str | None = None
    note: str | None = None


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
    shape = outline(box)
    inside = [one for one in readings if one.text and share_inside(one.quad, shape) >= _INSIDE_BOX]
    return "\n".join(one.text for one in reading_order(inside) if one.text) or None


class _Located(NamedTuple):
    """A reading with its middle (x, y), its ends, and the height of its letters."""

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


def _by_rows(items: Iterable[_Located]) -> list[Reading]:
    """Sort by rows, and each row from left to right; the input is sorted from top to bottom."""
    rows: list[list[_Located]] = []
    for item in items:
        for row in reversed(rows):
            if _on_line(item, row):
                row.append(item)
                break
        else:
            rows.append([item])
    return [item.reading for row in rows for item in sorted(row, key=lambda item: item.x)]


def _bands(items: Sequence[_Located]) -> Iterator[list[_Located]]:
    """Split readings before and after each wide one."""
    if not items:
        return
    width = max(item.right for item in items) - min(item.left for item in items)
    for _, band in groupby(items, key=lambda item: item.right - item.left > _WIDE * width):
        yield list(band)


def _columns(band: Sequence[_Located]) -> list[list[_Located]]:
    """Split a band into columns of text: close lines with a narrow gap between. Cells of a table are farther apart."""
    columns: list[list[_Located]] = []
    end = -math.inf
    for item in sorted(band, key=lambda item: item.left):
        if item.left >= end:
            columns.append([])
        columns[-1].append(item)
        end = max(end, item.right)
    extents = [(column[0].left, max(item.right for item in column)) for column in columns]
    narrowest = min(end - start for start, end in extents)
    widest_gap = max((start - end for (_, end), (start, _) in pairwise(extents)), default=0.0)
    if not all(map(_is_column, columns)) or widest_gap > narrowest:
        return [list(band)]
    return [sorted(column, key=lambda item: item.y) for column in columns]


def _is_column(column: Sequence[_Located]) -> bool:
    if len(column) < _LEAST_LINES:
        return False
    heights = sorted(item.y for item in column)
    thickness = float(np.median([item.thickness for item in column]))
    width = float(np.median([item.right - item.left for item in column]))
    pitch = max(below - above for above, below in pairwise(heights))
    return pitch < _MOST_PITCH * thickness and width > _LEAST_WIDTH * thickness


def _on_line(item: _Located, row: Sequence[_Located]) -> bool:
    nearest = min(row, key=lambda other: abs(other.x - item.x))
    return abs(nearest.y - item.y) < min(nearest.thickness, item.thickness) / 2
