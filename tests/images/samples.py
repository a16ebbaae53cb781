"""Pictures made for tests: a field of four colours, as every format stores it."""

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
SIZE = (64, 48)
ORIENTATION = 0x0112

# The same field as HEIC, made once by pillow-heif (which pi-heif, the decoder, cannot do).
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAchtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAADRpbG9j"
    "AAAAAERAAAIAAQAAAAAB7AABAAAAAAAAAD8AAgAAAAACKwABAAAAAAAAACQAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAA"
    "ABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABB2lwcnAAAADmaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNg"
    "AAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZE"
    "AcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAADAAAAABAAAAQAAAAAH////wAAAAAgAAAAAA"
    "AAACAAAAEHBpeGkAAAAAAwgICAAAAAlpcm90AwAAABlpcG1hAAAAAAAAAAEAAQaBAgMFhIYAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAA"
    "AGttZGF0AAAAOygBrxmA94RJWj+r/SF368Gvs2ZSOrAcqkz1yTHvjvg9kgnT+drg+zZoMVSckP4rxApjaYsQRTiAq8/wAAAABkV4aWYAAE1N"
    "ACoAAAAIAAEBEgADAAAAAQAGAAAAAAAA"
)


def field(size: tuple[int, int] = SIZE, mode: str = "RGB") -> Image.Image:
    """Red, green / blue, white."""
    image = Image.new("RGB", size, WHITE)
    half_x, half_y = size[0] // 2, size[1] // 2
    image.paste(RED, (0, 0, half_x, half_y))
    image.paste(GREEN, (half_x, 0, size[0], half_y))
    image.paste(BLUE, (0, half_y, half_x, size[1]))
    return image.convert(mode)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:  # noqa: ANN401 - options of any encoder
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def quadrants(image: Image.Image) -> list[tuple[int, ...]]:
    """The colours in the middle of the four quadrants, row by row."""
    x, y = image.width // 4, image.height // 4
    pixels = np.asarray(image)
    return [tuple(int(v) for v in pixels[row, column]) for row in (y, 3 * y) for column in (x, 3 * x)]


def near(found: list[tuple[int, ...]], expected: list[tuple[int, ...]], tolerance: int = 12) -> bool:
    return all(abs(a - b) <= tolerance for f, e in zip(found, expected, strict=True) for a, b in zip(f, e, strict=True))


def exif(orientation: int) -> bytes:
    data = Image.Exif()
    data[ORIENTATION] = orientation
    return data.tobytes()


def png_chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG from its own fields, for what Pillow does not write; `rows` as they are, each after a 0."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + body
