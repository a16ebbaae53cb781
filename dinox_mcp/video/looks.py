"""What things look like, to tell those that cross apart: the colours in a box."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dinox_mcp import geometry
from dinox_mcp.video.frames import Pixels

Looks = npt.NDArray[np.float64]
"""Of shape (boxes, bins): square roots of the parts of a box that have a colour, so that each row is of length 1."""

_LEVELS = 5  # of each of red, green and blue
_SAMPLES = 24  # points along each side of a box
_EDGE = 0.1  # of a box left out on each side, where there is more background


def looks(pixels: Pixels, boxes: Sequence[geometry.Box]) -> Looks:
    """Measure boxes of a picture of shape (height, width, 3)."""
    height, width, _ = pixels.shape
    measured = np.zeros((len(boxes), _LEVELS**3))
    steps = np.linspace(_EDGE, 1 - _EDGE, _SAMPLES)
    for row, box in enumerate(boxes):
        x1, y1, x2, y2 = geometry.clip(box, width, height)
        xs = np.clip((x1 + steps * (x2 - x1)).astype(int), 0, width - 1)
        ys = np.clip((y1 + steps * (y2 - y1)).astype(int), 0, height - 1)
        levels = pixels[np.ix_(ys, xs)].astype(int) * _LEVELS // 256
        bins = (levels @ [_LEVELS**2, _LEVELS, 1]).ravel()
        measured[row] = np.sqrt(np.bincount(bins, minlength=_LEVELS**3) / bins.size)
    return measured


def unlikeness(a: Looks, b: Looks) -> Looks:
    """Hellinger distance of each of `a` from each of `b`, from 0 (the same colours) to 1 (none in common)."""
    distance: Looks = np.sqrt(np.clip(1 - a @ b.T, 0, 1))
    return distance
