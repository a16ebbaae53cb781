"""The part of a picture around a person, as ViTPose wants to see it."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from dinox_mcp.geometry import Box

Pixels = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]

_MARGIN = 1.25
"""A person's box is enlarged by as much, as in training."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A window of a picture: its centre and its size (x, y), in pixels whose centres are at whole numbers."""

    centre: Points
    size: Points

    @classmethod
    def around(cls, box: Box, aspect: float) -> Self:
        """Enlarge a box to a width that is `aspect` times its height, and by the margin."""
        x1, y1, x2, y2 = box
        width, height = max(x2 - x1, (y2 - y1) * aspect), max(y2 - y1, (x2 - x1) / aspect)
        centre = np.array([(x1 + x2) / 2, (y1 + y2) / 2], dtype=np.float32)
        return cls(centre, np.array([width, height], dtype=np.float32) * np.float32(_MARGIN))

    def of(self, pixels: Pixels, width: int, height: int) -> Pixels:
        """Sample a picture (height, width, 3) bilinearly; the outermost samples are at the window's edges.

        Beyond the picture all is black. What lies between four pixels is rounded, as SciPy and OpenCV do.
        """
        ys, down, inside_y = self._samples(1, height, pixels.shape[0])
        xs, across, inside_x = self._samples(0, width, pixels.shape[1])
        after = np.minimum(ys + 1, pixels.shape[0] - 1), np.minimum(xs + 1, pixels.shape[1] - 1)
        across = across[:, None]
        upper, lower = (
            pixels[rows][:, xs] * (1 - across) + pixels[rows][:, after[1]] * across for rows in (ys, after[0])
        )
        sampled = upper * (1 - down)[:, None, None] + lower * down[:, None, None] + 0.5
        sampled[~inside_y] = 0
        sampled[:, ~inside_x] = 0
        return sampled.astype(np.uint8)

    def to_picture(self, points: Points, width: int, height: int) -> Points:
        """Map points (..., 2) in a grid of `width` x `height` cells over the window into the picture."""
        step = self.size / np.array([width - 1, height - 1], dtype=np.float32)
        moved: Points = points * step + self.centre - self.size * np.float32(0.5)
        return moved

    def _samples(
        self, axis: int, count: int, limit: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Give the pixel before each sample of an axis, the weight of the one after, and whether they exist."""
        step = float(self.size[axis]) / (count - 1)
        where = np.arange(count) * step + float(self.centre[axis]) - float(self.size[axis]) / 2
        before = np.clip(np.floor(where), 0, limit - 1).astype(np.int64)
        return before, where - before, (where >= 0) & (where <= limit - 1)
