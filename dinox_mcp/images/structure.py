"""Pictures built to keep a decoder busy for hours: refused by counting their parts before any decoder runs."""

import re

from dinox_mcp.errors import ForbiddenError

# A progressive JPEG has about ten scans. Each costs as much as decoding all its pixels, in as little as 31 bytes.
MAX_SCANS = 100
# Decoders handle each part in Python; files of a few bytes a part take minutes and gigabytes.
MAX_SEGMENTS = 4000
MAX_CHUNKS = 100_000

# Stuffed and fill bytes and the markers without a length (TEM, RSTn, SOI) are skipped over.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


def check_structure(data: bytes, name: str, source: str) -> None:
    """Refuse a JPEG or a PNG of absurdly many parts.

    Raises:
        ForbiddenError: the picture has more parts than any honest encoder writes.
    """
    too_many = {"JPEG": _too_many_segments, "PNG": _too_many_chunks}.get(name)
    reason = too_many and too_many(data)
    if reason:
        raise ForbiddenError(
            f"{source} is built to keep a decoder busy ({reason}); pass a picture saved by an ordinary program"
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
