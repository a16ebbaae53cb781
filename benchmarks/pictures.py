"""Pictures made from a fixed seed, so that every run measures the same ones."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PHOTO_SIZE = (4000, 3000)
QUALITY = 85


def photo(size: tuple[int, int] = PHOTO_SIZE, seed: int = 7) -> Image.Image:
    """Make something that compresses like a photo: noise of all sizes, larger ones stronger, and shapes on it.

    At 12 megapixels it takes about 2.4 MB as JPEG.
    """
    random = np.random.default_rng(seed)
    width, height = size
    pixels = np.full((height, width, 3), 128.0, np.float32)
    cells = 4
    while cells < min(size):
        # Light varies more than color, as in most of what there is to see.
        grid = random.normal(0, 1, (cells, cells, 1)) + random.normal(0, 0.05, (cells, cells, 3))
        for channel in range(3):
            layer = Image.fromarray(grid[:, :, channel].astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
            pixels[:, :, channel] += (184 / cells + 2.2) * np.asarray(layer)
        cells *= 4
    pixels += random.normal(0, 5.6, (height, width, 1)).astype(np.float32)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        x, y = int(random.integers(0, width)), int(random.integers(0, height))
        w, h = int(random.integers(width // 60, width // 10)), int(random.integers(height // 60, height // 6))
        color = tuple(int(part) for part in random.integers(20, 235, 3))
        shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        shape((x, y, x + w, y + h), outline=color, width=max(2, width // 400))
    return image


def encode(image: Image.Image) -> bytes:
    """Encode a picture as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def write(image: Image.Image, path: Path) -> Path:
    """Write a picture as JPEG and give its path."""
    path.write_bytes(encode(image))
    return path


def different(size: tuple[int, int]) -> Iterator[Image.Image]:
    """Make pictures without end, each different from all others."""
    large = photo((size[0] * 3 // 2, size[1] * 3 // 2))
    random = np.random.default_rng(11)
    number = 0
    while True:
        left, top = int(random.integers(0, size[0] // 2)), int(random.integers(0, size[1] // 2))
        image = large.crop((left, top, left + size[0], top + size[1]))
        number += 1
        ImageDraw.Draw(image).text((10, 10), f"picture {number}", "white", ImageFont.load_default(size[1] / 20))
        yield image


def shelf(size: tuple[int, int]) -> Image.Image:
    """Make a scene for the embedded backend: ten lines of text, a QR code, an ArUco marker."""
    import cv2

    width, height = size
    image = photo(size, seed=3)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(height / 24)
    for number, line in enumerate(_LINES):
        top = height * (0.06 + 0.09 * number)
        box = draw.textbbox((width * 0.06, top), line, font)
        draw.rectangle((box[0] - 12, box[1] - 8, box[2] + 12, box[3] + 8), "white")
        draw.text((width * 0.06, top), line, "black", font)
    side = height // 3
    code = cv2.QRCodeEncoder.create().encode("https://example.com/shelf/17")
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    marker = cv2.copyMakeBorder(
        cv2.aruco.generateImageMarker(dictionary, 23, 60), 8, 8, 8, 8, cv2.BORDER_CONSTANT, value=255
    )
    for top, pattern in ((0.1, code), (0.55, marker)):
        square = Image.fromarray(np.asarray(pattern)).resize((side, side), Image.Resampling.NEAREST)
        image.paste(square.convert("RGB"), (int(width * 0.7), int(height * top)))
    return image


_LINES = (
    "Aisle 17: fasteners",
    "Hexagon bolts M8 x 40",
    "Order number 4711-0815",
    "Best before 2027-03-31",
    "Keep away from heat",
    "Gross weight 12.5 kg",
    "Made in three countries",
    "This side up",
    "Caution: sharp edges",
    "Thank you for reading",
)
