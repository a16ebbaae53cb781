"""Smooth lines and dots at fractions of a pixel, in the project's frame: pixel edges at whole numbers."""

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
XY = tuple[float, float]
Ink = tuple[int, ...]  # a value a channel

_SUBPIXEL = 4  # bits of a coordinate below the pixel


def stroke(pixels: Pixels, start: XY, stop: XY, ink: Ink, width: int) -> None:
    """Draw a line of `width` pixels into an array of shape (height, width) or (height, width, channels)."""
    cv2.line(pixels, _fixed(start), _fixed(stop), ink, width, cv2.LINE_AA, _SUBPIXEL)


def disc(pixels: Pixels, center: XY, radius: float, ink: Ink) -> None:
    """Draw a full circle likewise."""
    cv2.circle(pixels, _fixed(center), round(radius * 2**_SUBPIXEL), ink, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL)


def _fixed(point: XY) -> tuple[int, int]:
    """Give a point as OpenCV wants it: in parts of a pixel, whole numbers at the centres of pixels."""
    return round((point[0] - 0.5) * 2**_SUBPIXEL), round((point[1] - 0.5) * 2**_SUBPIXEL)
