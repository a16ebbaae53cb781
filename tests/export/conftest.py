"""A result with a mask, a text and a box, and the image that it is of."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from dinox_mcp.images.picture import Picture
from dinox_mcp.types import masks
from dinox_mcp.types.detection import DetectedObject, DetectionRequest, DetectionResult, ImageInfo

SIZE = (100, 80)


def disk(x: int, y: int, radius: int) -> npt.NDArray[np.bool_]:
    """Give the pixels (80, 100) of a disk."""
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 <= radius**2)


BITS = disk(30, 30, 15)
OBJECTS = (
    DetectedObject(id=1, label="cat", bbox=(15, 15, 46, 46), score=0.9, mask=masks.encode(BITS)),
    DetectedObject(id=2, label="text", bbox=(0, 0, 30, 10), text="出口"),
    DetectedObject(id=3, label="red car", bbox=(60.4, 20.5, 90, 70), score=0.4),
)


def result_of(*objects: DetectedObject, source: str = "/photos/cat 1.png", result_id: str = "r1") -> DetectionResult:
    """Make a result of objects in an image of 100x80 pixels."""
    return DetectionResult(
        result_id=result_id,
        backend="dinox",
        model="DINO-X-1.0",
        image=ImageInfo(width=SIZE[0], height=SIZE[1], source=source),
        request=DetectionRequest(),
        objects=objects,
        counts={},
    )


@pytest.fixture
def colorful() -> Image.Image:
    """An image whose pixels are all different."""
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    pixels = np.stack([columns * 2 + 20, rows * 3 + 10, (columns * 7 + rows * 13) % 200 + 30], axis=2)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture
def photo(colorful: Image.Image) -> Picture:
    buffer = io.BytesIO()
    colorful.save(buffer, "PNG")
    return Picture.from_bytes(buffer.getvalue(), "/photos/cat 1.png")
