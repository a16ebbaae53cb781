"""Pictures built to crash a decoder or to keep it busy for hours: refused by their parts, before any decoder runs."""

import re

from dinox_mcp.errors import ForbiddenError

# A progressive JPEG has about ten scans. Each costs as much as decoding all its pixels, in as little as 31 bytes.
MAX_SCANS = 100
# Decoders handle each part in Python; files of a few bytes a part take minutes and gigabytes.
MAX_SEGMENTS = 4000
MAX_CHUNKS = 100_000

# Stuffed and fill bytes and the markers without a length (TEM, RSTn, SOI) are skipped over.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
_ITEM = re.compile(rb"infe")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


def check_structure(data: bytes, name: str, source: str) -> None:
    """Refuse a JPEG or a PNG of absurdly many parts, and a HEIC of parts without a proper name.

    Raises:
        ForbiddenError: the picture has parts that no honest encoder writes.
    """
    check = {"JPEG": _too_many_segments, "PNG": _too_many_chunks, "HEIF": _unnamed_items}.get(name)
    reason = check and check(data)
    if reason:
        raise ForbiddenError(
            f"{source} is built to break a decoder ({reason}); pass a picture saved by an ordinary program"
        )


def _too_many_segments(data: bytes) -> str | None:
    segments = scans = position = 0
    while match := _MARKER.search(data, position):
        marker, position = match[1][0], match.end()
        if marker == _END_OF_IMAGE:
            break
        segments += 1
        scans += marker == _START_OF_SCAN
        if scans > MAX_SCANS:
            return f"more than {MAX_SCANS} scans"
        if segments > MAX_SEGMENTS:
            return f"more than {MAX_SEGMENTS:,} segments"
        position += int.from_bytes(data[position : position + 2])
    return None


def _too_many_chunks(data: bytes) -> str | None:
    position = len(b"\x89PNG\r\n\x1a\n")
    for _ in range(MAX_CHUNKS):
        if position >= len(data):
            return None
        position += int.from_bytes(data[position : position + 4]) + 12
    return f"more than {MAX_CHUNKS:,} chunks"


def _unnamed_items(data: bytes) -> str | None:
    """Find an item whose type is no ASCII: pi-heif 1.4 crashes on it, and takes the whole process along."""
    for item in _ITEM.finditer(data):
        start, end = item.span()
        size = int.from_bytes(data[start - 4 : start])
        entry = data[end : min(end + 64, start - 4 + max(size, 20))]
        if size <= len(data) and not entry.isascii():
            return "an item without a proper name"
    return None
