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


def raw_tiff(
    samples: np.ndarray,
    bits: int,
    *,
    kind: int = 1,
    photometric: int | None = None,
    extra: int = 0,
    apart: bool = False,
) -> bytes:
    """A TIFF of samples (height, width) or (height, width, bands), for what Pillow does not write.

    `kind` is 1 for whole numbers, which are packed where their bits are no bytes, 2 for signed ones and 3 for floats.
    Of the bands `extra` are beyond those of the colour, without a meaning.
    """
    height, width = samples.shape[:2]
    count = samples.shape[2] if samples.ndim == 3 else 1
    laid = np.moveaxis(samples, 2, 0) if apart else samples
    raw = laid.tobytes() if bits % 8 == 0 else b"".join(_packed(row, bits) for row in samples.reshape(height, -1))
    strips = count if apart else 1
    tags = {256: [width], 257: [height], 258: [bits] * count, 259: [1]}
    tags[262] = [(2 if count - extra == 3 else 1) if photometric is None else photometric]
    tags |= {273: [0] * strips, 277: [count], 278: [height], 279: [len(raw) // strips] * strips}
    tags |= {284: [2 if apart else 1], **({338: [0] * extra} if extra else {}), 339: [kind] * count}
    end = 8 + 2 + 12 * len(tags) + 4
    pixels = end + 4 * sum(len(values) for values in tags.values() if len(values) > 1)
    tags[273] = [pixels + strip * (len(raw) // strips) for strip in range(strips)]
    entries = more = b""
    for tag, values in tags.items():
        entries += struct.pack("<HHII", tag, 4, len(values), values[0] if len(values) == 1 else end + len(more))
        more += struct.pack(f"<{len(values)}I", *values) if len(values) > 1 else b""
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + more + raw


def _packed(row: np.ndarray, bits: int) -> bytes:
    """Pack numbers, and fill up the last byte."""
    text = "".join(f"{int(value):0{bits}b}" for value in row)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8)
