"""Images built to crash a decoder or to keep it busy for hours: refused by their parts, before any decoder runs."""

import re
import struct
from collections.abc import Callable, Iterator
from itertools import chain

from dinox_mcp.errors import ForbiddenError
from dinox_mcp.images import png

# A progressive JPEG has about ten scans. Each costs as much as decoding all its pixels, in as little as 31 bytes.
# Of a small image there may be more.
MAX_SCANS = 100
MAX_SCANNED = 100_000_000
# Decoders handle each part in Python; files of a few bytes a part take minutes and gigabytes.
MAX_SEGMENTS = 4000
MAX_CHUNKS = 100_000
MAX_BLOCKS = 100_000
MAX_STRIPS = 100_000
MAX_TAGS = 4096
# A number is 1 to 16 bytes in the file and an object of Python's in memory.
MAX_VALUES = 1_000_000
# libavif searches for each item among all the others.
MAX_ITEMS = 5000

# Stuffed and fill bytes and the markers without a length (TEM, RSTn, SOI) are skipped over.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
_ITEM = re.compile(rb"infe")
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STRIPS = {273: "strips", 279: "strips", 324: "tiles", 325: "tiles"}
_BYTES = {1, 2, 6, 7}
"""TIFF types of one byte, which stay bytes in memory."""


def check_structure(data: bytes, name: str, source: str) -> None:
    """Refuse an image of absurdly many parts, and a HEIC of parts without a proper name. Linear in time.

    Raises:
        ForbiddenError: the image has parts that no honest encoder writes.
    """
    reason = _CHECKS[name](data)
    if reason:
        raise ForbiddenError(
            f"{source} is built to break a decoder ({reason}); pass an image saved by an ordinary program"
        )


def jpeg_markers(data: bytes) -> Iterator[int]:
    """Give the markers of the segments of a JPEG in their order, to the end of the image where it is there."""
    return (marker for marker, _ in _segments(data))


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Give the marker of each segment of a JPEG, and where its content starts."""
    position, marker = 0, 0
    while marker != END_OF_IMAGE and (match := _MARKER.search(data, position)):
        marker, position = match[1][0], match.end()
        yield marker, position + 2
        position += int.from_bytes(data[position : position + 2])


def _too_many_segments(data: bytes) -> str | None:
    scans = pixels = 0
    for segments, (marker, start) in enumerate(_segments(data)):
        if marker in _START_OF_FRAME:
            height, width = (int.from_bytes(data[at : at + 2]) for at in (start + 1, start + 3))
            pixels = max(pixels, height * width)
        scans += marker == START_OF_SCAN
        if scans > MAX_SCANS and (scans * pixels > MAX_SCANNED or not pixels):
            return f"more than {MAX_SCANS} scans"
        if segments > MAX_SEGMENTS:
            return f"more than {MAX_SEGMENTS:,} segments"
    return None


def _too_many_chunks(data: bytes) -> str | None:
    for count, _ in enumerate(png.chunks(data)):
        if count >= MAX_CHUNKS:
            return f"more than {MAX_CHUNKS:,} chunks"
    return None


def _too_many_blocks(data: bytes) -> str | None:
    """Count the blocks of a GIF before its first frame: comments and what programs add."""
    flags = int.from_bytes(data[10:11])
    palette = 3 << (flags & 7) + 1 if flags & 0x80 else 0
    position, blocks = 13 + palette, 0
    while blocks < MAX_BLOCKS:
        blocks += 1
        kind = data[position : position + 1]
        position += 1
        if kind in {b",", b";", b""}:
            return None
        if kind == b"!":
            position += 1
            while blocks < MAX_BLOCKS and position < len(data) and data[position]:
                position += 1 + data[position]
                blocks += 1
            position += 1
    return f"more than {MAX_BLOCKS:,} blocks before the first frame"


def _too_many_riff_chunks(data: bytes) -> str | None:
    position = 12
    for _ in range(MAX_CHUNKS):
        if position >= len(data):
            return None
        position += 8 + (int.from_bytes(data[position + 4 : position + 8], "little") + 1 & ~1)
    return f"more than {MAX_CHUNKS:,} chunks"


def _too_many_values(data: bytes) -> str | None:
    """Count the strips, tiles and other numbers that the first directory of a TIFF announces."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in {b"+\0", b"\0+"}
    try:
        (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        (tags,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
    except (struct.error, OverflowError):
        return None  # cut off: the decoder says so
    if tags > MAX_TAGS:
        return f"{tags:,} tags, more than {MAX_TAGS:,}"
    size, entry = (20, order + "HHQ") if big else (12, order + "HHI")
    start += 8 if big else 2
    for position in range(start, min(start + tags * size, len(data) - size + 1), size):
        tag, kind, count = struct.unpack_from(entry, data, position)
        if tag in _STRIPS and count > MAX_STRIPS:
            return f"{count:,} {_STRIPS[tag]}, more than {MAX_STRIPS:,}"
        if kind not in _BYTES and count > MAX_VALUES:
            return f"{count:,} values of tag {tag}, more than {MAX_VALUES:,}"
    return None


def _too_many_items(data: bytes) -> str | None:
    """Count the boxes and the items of an AVIF or a HEIC, by what its tables announce."""
    count = 0
    for kind, start, end in _boxes(data, 0, len(data)):
        inside = _boxes(data, start + 4, end) if kind == b"meta" else iter(())
        for table, first, last in chain([(kind, start, end)], inside):
            count += 1
            if count > MAX_CHUNKS:
                return f"more than {MAX_CHUNKS:,} boxes"
            if (items := _items_of(table, data[first:last][:16], last - first)) > MAX_ITEMS:
                return f"{items:,} items, more than {MAX_ITEMS:,}"
    return None


def _items_of(table: bytes, head: bytes, size: int) -> int:
    """Read how many items a table of a `meta` box speaks of; `head` is how it begins."""
    version = head[0] if head else 0
    match table:
        case b"iinf":
            return int.from_bytes(head[4:8] if version else head[4:6])
        case b"iloc":
            return int.from_bytes(head[6:10] if version > 1 else head[6:8])
        case b"ipma":
            return int.from_bytes(head[4:8])
        case b"iref":
            return size // 14
        case _:
            return 0


def _boxes(data: bytes, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each box between two positions, and where its content starts and ends."""
    while position + 8 <= end:
        size, head = int.from_bytes(data[position : position + 4]), 8
        if size == 1:
            size, head = int.from_bytes(data[position + 8 : position + 16]), 16
        stop = min(position + size, end) if size else end
        yield data[position + 4 : position + 8], position + head, stop
        position = max(stop, position + head)


def _unnamed_items(data: bytes) -> str | None:
    """Find an item whose type is not ASCII: pi-heif 1.4 crashes on it, and ends the process."""
    for item in _ITEM.finditer(data):
        start, end = item.span()
        size = int.from_bytes(data[start - 4 : start])
        entry = data[end : min(end + 64, start - 4 + max(size, 20))]
        if size <= len(data) and not entry.isascii():
            return "an item without a proper name"
    return None


def _nothing(_: bytes) -> None:
    """A BMP has no parts to count."""


_CHECKS: dict[str, Callable[[bytes], str | None]] = {
    "JPEG": _too_many_segments,
    "PNG": _too_many_chunks,
    "GIF": _too_many_blocks,
    "WEBP": _too_many_riff_chunks,
    "TIFF": _too_many_values,
    "BMP": _nothing,
    "AVIF": _too_many_items,
    "HEIF": lambda data: _too_many_items(data) or _unnamed_items(data),
}
