"""The parts of encoded images, counted and filtered before any decoder runs.

Some images are built to crash a decoder, or to keep it busy for hours with parts of a few bytes.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from dinox_mcp.errors import ForbiddenError

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
MAX_TEXT = 1_000_000  # bytes of unpacked text that Pillow takes

# Stuffed and fill bytes and the markers without a length (TEM, RSTn, SOI) are skipped over.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
_ITEM = re.compile(rb"infe")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STRIPS = {273: "strips", 279: "strips", 324: "tiles", 325: "tiles"}
_BYTES = {1, 2, 6, 7}  # TIFF types of one byte, which stay bytes in memory
_PNG_BEGINNING = b"\x89PNG\r\n\x1a\n"
_TEXT = {b"tEXt", b"zTXt", b"iTXt"}
_TURNING = (b"Raw profile type exif\0", b"Raw profile type APP1\0", b"XML:com.adobe.xmp\0")
"""Keywords of texts that may say how a PNG is to be turned; all other text is dropped."""


def check_structure(data: bytes, name: str, source: str) -> None:
    """Refuse an image of absurdly many parts, and a HEIC of parts without a proper name. Linear in time.

    Raises:
        ForbiddenError: the image has parts that no honest encoder writes.
    """
    if reason := _CHECKS[name](data):
        raise ForbiddenError(
            f"{source} is built to break a decoder ({reason}); pass an image saved by an ordinary program"
        )


def _too_many(parts: Iterable[object], most: int, what: str) -> str | None:
    return f"more than {most:,} {what}" if any(True for _ in islice(parts, most, None)) else None


# JPEG


def has_end(data: bytes) -> bool:
    """Return whether a JPEG has the marker that ends it."""
    return any(marker == _END_OF_IMAGE for marker, _ in _segments(data))


def has_many_scans(data: bytes) -> bool:
    """Return whether a JPEG gives its pixels in several passes, so that the decoder keeps all of them meanwhile."""
    return sum(marker == _START_OF_SCAN for marker, _ in _segments(data)) > 1


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the marker of each segment of a JPEG to the end of the image, and where its content starts."""
    position, marker = 0, 0
    while marker != _END_OF_IMAGE and (match := _MARKER.search(data, position)):
        marker, position = match[1][0], match.end()
        yield marker, position + 2
        position += int.from_bytes(data[position : position + 2])


def _too_many_segments(data: bytes) -> str | None:
    scans = pixels = 0
    for segments, (marker, start) in enumerate(_segments(data)):
        if marker in _START_OF_FRAME:
            height, width = (int.from_bytes(data[at : at + 2]) for at in (start + 1, start + 3))
            pixels = max(pixels, height * width)
        scans += marker == _START_OF_SCAN
        if scans > MAX_SCANS and (scans * pixels > MAX_SCANNED or not pixels):
            return f"more than {MAX_SCANS} scans"
        if segments > MAX_SEGMENTS:
            return f"more than {MAX_SEGMENTS:,} segments"
    return None


# PNG


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each chunk, and where it starts and ends, its length and checksum included."""
    position = len(_PNG_BEGINNING)
    while position < len(data):
        end = position + int.from_bytes(data[position : position + 4]) + 12
        kind = data[position + 4 : position + 8]
        yield kind, position, min(end, len(data))
        if kind == b"IEND":
            return
        position = end


def without_metadata(data: bytes) -> bytes:
    """Leave out of a PNG texts and the colour profile, which nothing here reads and which may unpack to gigabytes."""
    kept, position, turning = [], 0, 0
    for kind, start, end in _png_chunks(data):
        dropped = kind == b"iCCP"
        if kind in _TEXT:
            dropped = turning > len(_TURNING) or not _says_how_to_turn(kind, data, start + 8, end - 4)
            turning += not dropped
        if dropped:
            kept.append(data[position:start])
            position = end
    return b"".join([*kept, data[position:]]) if position else data


def significant_bits(data: bytes) -> int | None:
    """Read how many bits of each sample of a PNG carry the image, as the chunk sBIT says."""
    for kind, start, end in _png_chunks(data):
        if kind == b"sBIT":
            return max(data[start + 8 : end - 4], default=None)
        if kind == b"IDAT":
            break
    return None


def _says_how_to_turn(kind: bytes, data: bytes, start: int, end: int) -> bool:
    if end - start > MAX_TEXT or not data.startswith(_TURNING, start):
        return False
    if kind == b"tEXt":
        return True
    _, _, packed = data[start:end].partition(b"\0")
    if kind == b"zTXt":
        packed = packed[1:]  # past the method
    elif packed[:1] == b"\1":
        packed = packed[2:].split(b"\0", 2)[-1]  # past the flag, the method, the language, the translated keyword
    else:
        return True  # not packed
    try:
        return len(zlib.decompressobj().decompress(packed, MAX_TEXT)) < MAX_TEXT
    except zlib.error:
        return False


# GIF, WebP, TIFF


def _gif_blocks(data: bytes) -> Iterator[int]:
    """Yield where each block before the first frame starts: comments and what programs add."""
    flags = int.from_bytes(data[10:11])
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)  # past the palette
    while (kind := data[position : position + 1]) not in {b",", b";", b""}:
        yield position
        position += 1
        if kind == b"!":
            position += 1
            while position < len(data) and data[position]:
                yield position
                position += 1 + data[position]
            position += 1


def _webp_chunks(data: bytes) -> Iterator[int]:
    position = 12
    while position < len(data):
        yield position
        position += 8 + (int.from_bytes(data[position + 4 : position + 8], "little") + 1 & ~1)


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


# AVIF and HEIC


def _boxes(data: bytes, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each box between two positions, and where its content starts and ends."""
    while position + 8 <= end:
        size, head = int.from_bytes(data[position : position + 4]), 8
        if size == 1:
            size, head = int.from_bytes(data[position + 8 : position + 16]), 16
        stop = min(position + size, end) if size else end
        yield data[position + 4 : position + 8], position + head, stop
        position = max(stop, position + head)


def _all_boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes of a file, and those in its `meta` box."""
    for kind, start, end in _boxes(data, 0, len(data)):
        yield kind, start, end
        if kind == b"meta":
            yield from _boxes(data, start + 4, end)


def _too_many_items(data: bytes) -> str | None:
    """Count the boxes and the items of an AVIF or a HEIC, by what its tables announce."""
    for count, (kind, start, end) in enumerate(_all_boxes(data)):
        if count >= MAX_CHUNKS:
            return f"more than {MAX_CHUNKS:,} boxes"
        items = _items_of(kind, data[start : min(end, start + 16)], end - start)
        if items > MAX_ITEMS:
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


def _unnamed_items(data: bytes) -> str | None:
    """Find an item whose type is not ASCII: pi-heif 1.4 crashes on it, and ends the process."""
    for item in _ITEM.finditer(data):
        start, end = item.span()
        size = int.from_bytes(data[start - 4 : start])
        entry = data[end : min(end + 64, start - 4 + max(size, 20))]
        if size <= len(data) and not entry.isascii():
            return "an item without a proper name"
    return None


_CHECKS: dict[str, Callable[[bytes], str | None]] = {
    "JPEG": _too_many_segments,
    "PNG": lambda data: _too_many(_png_chunks(data), MAX_CHUNKS, "chunks"),
    "GIF": lambda data: _too_many(_gif_blocks(data), MAX_BLOCKS, "blocks before the first frame"),
    "WEBP": lambda data: _too_many(_webp_chunks(data), MAX_CHUNKS, "chunks"),
    "TIFF": _too_many_values,
    "BMP": lambda _: None,  # it has no parts to count
    "AVIF": _too_many_items,
    "HEIF": lambda data: _too_many_items(data) or _unnamed_items(data),
}
