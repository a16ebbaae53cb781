"""Pictures as the emulated service gets them, and masks as it sends them."""

import base64
import io
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dinox_mcp.types import masks


class PictureError(ValueError):
    """What was sent is not an intact picture."""


@lru_cache(maxsize=8)
def pixels_of(uri: str) -> npt.NDArray[np.uint8]:
    """Decode a data: URI completely, to RGB pixels of shape (height, width, 3).

    Raises:
        PictureError: it is not an intact picture.
    """
    header, _, data = uri.partition(",")
    if not header.startswith("data:image/") or not header.endswith(";base64"):
        raise PictureError(f"no data: URI of a picture: {header[:40]!r}")
    try:
        with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as image:
            return np.asarray(image.convert("RGB"))
    except (ValueError, OSError) as error:
        raise PictureError(str(error)) from None


def picture_size(uri: str) -> tuple[int, int]:
    """Decode a data: URI completely and give width and height.

    Raises:
        PictureError: it is not an intact picture.
    """
    height, width, _ = pixels_of(uri).shape
    return width, height


def ellipse(bbox: list[float], width: int, height: int) -> dict[str, Any]:
    """Encode the ellipse that fills a box."""
    y, x = np.ogrid[0.5 : height + 0.5, 0.5 : width + 0.5]
    middle_x, middle_y = (bbox[0] + bbox[2]) / 2, (bbox[1] + bbox[3]) / 2
    inside = ((x - middle_x) / (bbox[2] - middle_x)) ** 2 + ((y - middle_y) / (bbox[3] - middle_y)) ** 2 <= 1
    return {"counts": masks.encode(inside).counts, "size": [height, width], "format": "coco_rle"}
