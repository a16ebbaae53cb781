"""Square crops of a picture, at any place and any turn, and how their pixels lie in the picture."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from dinox_mcp.geometry import Box


@dataclass(frozen=True, slots=True)
class Crop:
    """A square of a picture, which may reach beyond it.

    Attributes:
        x: Where its center lies, in pixels of the picture.
        y: Likewise.
        half: Half the length of its side in pixels of the picture.
        angle: By how much it is turned clockwise, in radians.
    """

    x: float
    y: float
    half: float
    angle: float = 0.0

    @classmethod
    def around(cls, bbox: Box, factor: float) -> "Crop":
        """Show a box in a square whose side is so many times as long as the longer side of the box."""
        x1, y1, x2, y2 = bbox
        return cls((x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, y2 - y1) * factor / 2)

    @classmethod
    def whole(cls, image: Image.Image) -> "Crop":
        """Show a whole picture at the upper left of the smallest square that holds it."""
        half = max(image.size) / 2
        return cls(half, half, half)

    def pixels(self, image: Image.Image, side: int) -> npt.NDArray[np.uint8]:
        """Cut the crop out of a picture.

        Args:
            image: The picture, RGB.
            side: How many pixels high and wide the answer is.

        Returns:
            Pixels (side, side, 3), black where the crop reaches beyond the picture.
        """
        reduced = max(1, int(2 * self.half / side))  # bilinear sampling alone would leave out pixels
        corners = self.to_picture(np.array([(0, 0), (0, 1), (1, 0), (1, 1)]))
        left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int).tolist()
        right, bottom = np.minimum(np.ceil(corners.max(axis=0)), image.size).astype(int).tolist()
        if right <= left or bottom <= top:
            return np.zeros((side, side, 3), np.uint8)
        if reduced > 1:
            image = image.reduce(reduced, (left, top, right, bottom))
        else:
            left = top = 0
        step = self._axes() / (side * reduced)
        start = (corners[0] - (left, top)) / reduced
        matrix = (step[0, 0], step[0, 1], start[0], step[1, 0], step[1, 1], start[1])
        cut = image.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
        return np.asarray(cut, np.uint8)

    def to_picture(self, shares: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Map points (..., 2), given as shares of the crop's width and height, to pixels of the picture."""
        return np.asarray((shares - 0.5) @ self._axes().T + (self.x, self.y))

    def _axes(self) -> npt.NDArray[np.float64]:
        """Give the crop's lower and right sides as vectors in the picture: the columns of a matrix."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        return 2 * self.half * np.array([[cosine, -sine], [sine, cosine]])
