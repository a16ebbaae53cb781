"""Pictures for a soak: small honest ones, those made to break a decoder, and the largest that are allowed."""

import base64
import io
import random
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

ASTRONAUT = Path(__file__).parents[2] / "tests" / "pictures" / "astronaut.jpg"
SIDE = 9990
"""Nearly 100 million pixels, the most that the server takes by default, where both sides have it."""
_PNG = b"\x89PNG\r\n\x1a\n"


def encode(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """Encode a picture."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def data_uri(data: bytes) -> str:
    """Write a picture as a data: URI; the kind that it names is not what counts."""
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def person(chance: random.Random) -> bytes:
    """Cut the astronaut out of her photograph, a little differently each time."""
    left, top, side = chance.randrange(60), chance.randrange(20), chance.randrange(380, 440)
    image = _astronaut().crop((left, top, left + side, top + side)).resize((320, 320))
    ImageDraw.Draw(image).point((chance.randrange(320), chance.randrange(320)), chance.randrange(1 << 24))
    return encode(image, quality=chance.randrange(80, 90))


def code(chance: random.Random) -> tuple[bytes, str]:
    """Draw a QR code; gives the picture and what it says."""
    words = f"https://example.com/{chance.randrange(1_000_000)}"
    drawn = cv2.QRCodeEncoder.create().encode(words)
    square = Image.fromarray(np.asarray(drawn)).resize((160, 160), Image.Resampling.NEAREST)
    image = Image.new("RGB", (240, 240), "white")
    image.paste(square.convert("RGB"), (chance.randrange(10, 70), chance.randrange(10, 70)))
    return encode(image, "PNG"), words


def words(chance: random.Random) -> tuple[bytes, str]:
    """Print a number; gives the picture and the number."""
    number = str(chance.randrange(10_000, 100_000))
    image = Image.new("RGB", (320, 96), "white")
    ImageDraw.Draw(image).text((20, 24), f"Order {number}", "black", ImageFont.load_default(40))
    return encode(image, "PNG"), number


def hostile(chance: random.Random) -> bytes:
    """Take bytes that are no picture, a broken one, or one that is built to break a decoder."""
    data = chance.choice(_hostile())
    return data if chance.random() < 0.7 else _damaged(data[:20_000], chance)


@cache
def worst() -> dict[str, bytes]:
    """Make the largest pictures that are allowed, and those of the most parts, each from few bytes."""
    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 255, (3000, 4000, 3), dtype=np.uint8))
    return {
        "WebP of 34 bytes": tiny_webp(SIDE, SIDE),
        "PNG of 8 bits": png(SIDE, SIDE, 8, 2),
        "PNG of 16 bits with transparency": png(SIDE, SIDE, 16, 6),
        "PNG of one bit, 4 pixels high": png(24_000_000, 4, 1, 0),
        "JPEG": encode(Image.new("RGB", (SIDE, SIDE), "teal")),
        "progressive JPEG of 100 scans": scans(encode(noisy.resize((1200, 900)), progressive=True), 100),
        "GIF of two million comments": comments(2_000_000),
        "photograph of 12 megapixels": encode(noisy, quality=60),
    }


def tiny_webp(width: int, height: int) -> bytes:
    """Make a black lossless WebP: each of its codes has one symbol, which takes no bits, for however many pixels."""
    codes = sum(0b0001 << 4 * number for number in range(5))
    bits = 0x2F | (width - 1) << 8 | (height - 1) << 22 | codes << 43
    data = bits.to_bytes(9, "little") + bytes(5)
    return b"RIFF" + struct.pack("<I", 12 + len(data)) + b"WEBPVP8L" + struct.pack("<I", len(data)) + data


def png(width: int, height: int, depth: int, colour: int) -> bytes:
    """Make a black PNG row by row, so that it takes no memory here."""
    channels = {0: 1, 2: 3, 6: 4}[colour]
    row = bytes(1 + -(-width * depth * channels // 8))
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return _PNG + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND")


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """Write a part of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def scans(data: bytes, count: int) -> bytes:
    """Let the last scan of a progressive JPEG come again and again: each costs a pass over all pixels."""
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * (count - data.count(b"\xff\xda")) + data[-2:]


def comments(count: int) -> bytes:
    """Put empty comments into a GIF."""
    data = encode(Image.new("RGB", (64, 48), "red"), "GIF")
    at = data.rfind(b",\0\0\0\0")
    return data[:at] + b"!\xfe\x01 \0" * count + data[at:]


@cache
def _astronaut() -> Image.Image:
    return Image.open(ASTRONAUT).convert("RGB")


@cache
def _hostile() -> tuple[bytes, ...]:
    field = Image.new("RGB", (64, 48), "red")
    jpeg, small, gif = encode(field), encode(field, "PNG"), encode(field, "GIF")
    screen = bytearray(gif)
    screen[6:10] = struct.pack("<HH", 60_000, 60_000)
    return (
        b"",
        b"root:x:0:0:hunter2",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        *(start + b"hunter2" for start in (b"\xff\xd8\xff", _PNG, b"GIF89a", b"BM", b"II*\0", b"RIFF\0\0\0\0WEBP")),
        jpeg.replace(struct.pack(">HH", 48, 64), struct.pack(">HH", 60_000, 60_000), 1),
        png(100_000, 1, 1, 0).replace(struct.pack(">II", 100_000, 1), struct.pack(">II", 100_000, 100_000)),
        bytes(screen),
        tiny_webp(16_000, 16_000),
        tiny_webp(3000, 3000),
        png(3000, 3000, 16, 6),
        scans(encode(field, progressive=True), 101),
        jpeg[:2] + b"\xff\xfe\0\2" * 4001 + jpeg[2:],
        jpeg[: jpeg.rfind(b"\xff\xda")] + b"\xff\xda\0\2" * 100_000,
        small[:33] + chunk(b"abCd") * 100_001 + small[33:],
        small[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000))) + small[33:],
        comments(100_000),
        _tile(),
        *(encode(field, kind)[:-20] for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")),
    )


def _tile() -> bytes:
    """Make a TIFF whose tile is far larger than its picture."""
    wide = {256: 64, 257: 48, 258: 8, 259: 8, 262: 1, 277: 1, 322: 60_000, 323: 60_000, 324: 200, 325: 99}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in wide.items())
    return struct.pack("<2sHIH", b"II", 42, 8, len(wide)) + entries + bytes(600)


def _damaged(data: bytes, chance: random.Random) -> bytes:
    """Change some bytes."""
    return bytes(_bits(data, chance))


def _bits(data: bytes, chance: random.Random) -> Iterator[int]:
    for byte in data:
        yield chance.randrange(256) if chance.random() < 0.002 else byte
