"""The chunks of a PNG: counted, read, and left out where they are not pixels and a decoder would fail at them."""

import zlib
from collections.abc import Iterator

BEGINNING = b"\x89PNG\r\n\x1a\n"
MAX_TEXT = 1_000_000
"""Bytes of unpacked text that Pillow takes."""

_TEXT = {b"tEXt", b"zTXt", b"iTXt"}
_TURNING = (b"Raw profile type exif\0", b"Raw profile type APP1\0", b"XML:com.adobe.xmp\0")
"""Keywords of texts that may say how the image is to be turned; all other text is dropped."""


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Give the type of each chunk, and where it starts and ends, its length and checksum included."""
    position = len(BEGINNING)
    while position < len(data):
        end = position + int.from_bytes(data[position : position + 4]) + 12
        kind = data[position + 4 : position + 8]
        yield kind, position, min(end, len(data))
        if kind == b"IEND":
            return
        position = end


def without_metadata(data: bytes) -> bytes:
    """Leave out texts and the colour profile, which nothing here reads and which may unpack to gigabytes."""
    kept, position, turning = [], 0, 0
    for kind, start, end in chunks(data):
        dropped = kind == b"iCCP"
        if kind in _TEXT:
            dropped = turning > len(_TURNING) or not _says_how_to_turn(kind, data, start + 8, end - 4)
            turning += not dropped
        if dropped:
            kept.append(data[position:start])
            position = end
    return b"".join([*kept, data[position:]]) if position else data


def significant_bits(data: bytes) -> int | None:
    """Read how many bits of each sample carry the image, as the chunk sBIT says."""
    for kind, start, end in chunks(data):
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
