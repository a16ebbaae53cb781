"""A part of a picture, large enough to look at."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from dinox_mcp.errors import InputError
from dinox_mcp.types.boxes import Box, clip

LEGIBLE_SIDE = 512
_MOST_ENLARGED = 4


class Crop(NamedTuple):
    """A cut-out: its pixels, and the `frame` of the original that they show, in original pixels."""

    image: Image.Image
    frame: Box

    @property
    def scale(self) -> float:
        """Pixels of the cut-out for one of the original."""
        return self.image.width / (self.frame[2] - self.frame[0])

    def to_original(self, bbox: Sequence[float]) -> Box:
        """Map a box in pixels of the cut-out to pixels of the original."""
        left, top, right, bottom = self.frame
        x, y = (right - left) / self.image.width, (bottom - top) / self.image.height
        return left + bbox[0] * x, top + bbox[1] * y, left + bbox[2] * x, top + bbox[3] * y


def crop(image: Image.Image, bbox: Sequence[float], padding: float = 0.1, *, min_side: int = 48) -> Crop:
    """Cut a box in pixels of the image out of it, and enlarge it when it is small.

    `padding` (not negative) is the margin on each side as a part of the box's side. What is shown ends at the
    borders of the image, and is at least `min_side` of its pixels wide and high where it has as many.

    Raises:
        InputError: none of the box is in the image.
    """
    x1, x2 = sorted((bbox[0], bbox[2]))
    y1, y2 = sorted((bbox[1], bbox[3]))
    if not (x1 < image.width and x2 > 0 and y1 < image.height and y2 > 0):
        raise InputError(
            f"bbox {[round(edge, 1) for edge in bbox]} lies outside the image of {image.width}x{image.height} pixels; "
            "pass [x_min, y_min, x_max, y_max] in pixels of the original"
        )
    x1, y1, x2, y2 = clip((x1, y1, x2, y2), *image.size)
    left, right = _span(x1, x2, padding, min_side, image.width)
    top, bottom = _span(y1, y2, padding, min_side, image.height)
    return Crop(enlarge(image.crop((left, top, right, bottom))), (left, top, right, bottom))


def enlarge(image: Image.Image, side: int = LEGIBLE_SIDE) -> Image.Image:
    """Enlarge a small image to `side` pixels on its long side, though at most four times; others stay as they are."""
    factor = min(_MOST_ENLARGED, side / max(image.size))
    if factor <= 1:
        return image
    size = (round(image.width * factor), round(image.height * factor))
    return image.resize(size, Image.Resampling.LANCZOS)


def _span(low: float, high: float, padding: float, least: int, limit: int) -> tuple[int, int]:
    """Widen an interval by its margins, then to its least length, within 0 and `limit`; in whole pixels."""
    margin = padding * (high - low)
    low, high = max(0.0, low - margin), min(float(limit), high + margin)
    if high - low < least:
        low = min(max(0.0, (low + high - least) / 2), max(0.0, limit - least))
        high = min(low + least, limit)
    return math.floor(low), math.ceil(high)
