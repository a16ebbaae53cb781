"""How a picture looks from the frame of a template: moved, scaled and turned back."""

import math
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.embedded.findings import Pixels, Quad

Floats = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]


class Pose(NamedTuple):
    """Where a copy lies: its middle in pixels, its scale, its turn in radians, clockwise as y points down."""

    x: float
    y: float
    scale: float = 1.0
    turn: float = 0.0

    def moved(self, x: float, y: float) -> "Pose":
        """Move by a distance in the frame of the template."""
        dx, dy = self.scale * rotation(self.turn) @ (x, y)
        return self._replace(x=float(self.x + dx), y=float(self.y + dy))

    def outline(self, size: tuple[float, float]) -> Quad:
        """Give the four corners of a copy of something of this width and height."""
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size / 2
        return np.asarray(corners @ rotation(self.turn).T * self.scale + (self.x, self.y), np.float32)


class Pyramid:
    """A picture at full size, half, a quarter and so on, each made when it is first needed."""

    def __init__(self, bgr: Pixels) -> None:
        self._levels = [bgr]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height at full size."""
        height, width = self._levels[0].shape[:2]
        return width, height

    def level(self, factor: float) -> Pixels:
        """Give the smallest level that shows no less than the picture reduced by a factor."""
        depth = max(0, math.floor(-math.log2(factor) + 1e-6))
        while len(self._levels) <= depth and min(self._levels[-1].shape[:2]) > 1:
            height, width = self._levels[-1].shape[:2]
            half = cv2.resize(self._levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
            self._levels.append(np.asarray(half, np.uint8))
        return self._levels[min(depth, len(self._levels) - 1)]

    def reduced(self, factor: float) -> Pixels:
        """Show the whole picture reduced by a factor."""
        width, height = (max(1, round(length * factor)) for length in self.size)
        return np.asarray(cv2.resize(self.level(factor), (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    def seen(self, pose: Pose, factor: float, shape: tuple[int, int]) -> Pixels:
        """Show what lies at a pose as an upright picture of a shape (height, width), reduced by a factor."""
        level = self.level(min(1.0, factor / pose.scale))
        back = rotation(-pose.turn) * (factor / pose.scale)
        middle = np.array(shape[::-1]) / 2
        stretch = np.array(self.size) / level.shape[1::-1]
        matrix = affine(back * stretch, middle - back @ (pose.x, pose.y))
        return np.asarray(
            cv2.warpAffine(level, matrix, shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
            np.uint8,
        )


def rotation(turn: float) -> Matrix:
    """Turn points (2,) by radians."""
    return np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])


def affine(linear: Matrix, offset: Matrix) -> Matrix:
    """Write a map of points as OpenCV wants it, for which pixels have their middles at whole numbers."""
    return np.column_stack([linear, offset + linear.sum(axis=1) / 2 - 0.5])
