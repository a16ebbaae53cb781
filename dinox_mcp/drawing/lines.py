"""Draws smooth lines: skeletons of bodies and hands, and trails of tracks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from dinox_mcp.drawing.style import BLACK, Color, color_of_number
from dinox_mcp.types import boxes
from dinox_mcp.types.detection import Keypoint, Point
from dinox_mcp.types.keypoints import BODY_BONES, FINGERS, HAND_BONES, visibility

Pixels = npt.NDArray[np.uint8]
XY = tuple[float, float]
Ink = tuple[int, ...]  # one value per channel

_SUBPIXEL = 4  # bits of a coordinate below the pixel

LEFT: Color = (86, 180, 233)
RIGHT: Color = (255, 150, 10)
CENTER: Color = (245, 245, 245)
FINGER_COLORS: Mapping[str, Color] = dict(
    zip(FINGERS, ((230, 159, 0), (86, 180, 233), (0, 200, 140), (240, 228, 66), (225, 130, 190)), strict=True)
)
_BONES = BODY_BONES + HAND_BONES
_BONE = 0.011  # width of a bone, as a share of the size of its body or hand
_RIMLESS = 40  # pixels: a smaller skeleton would be more rim than bone

_FAINTEST = 40  # opacity of the oldest part of a trail, of 255
_RIM = 0.5  # opacity of the dark rim of a trail, as a share of the line's own


def stroke(pixels: Pixels, start: XY, stop: XY, ink: Ink, width: int) -> None:
    """Draw a line of `width` pixels into an array of shape (height, width) or (height, width, channels)."""
    cv2.line(pixels, _fixed(start), _fixed(stop), ink, width, cv2.LINE_AA, _SUBPIXEL)


def disc(pixels: Pixels, center: XY, radius: float, ink: Ink) -> None:
    """Draw a filled circle into such an array."""
    cv2.circle(pixels, _fixed(center), round(radius * 2**_SUBPIXEL), ink, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL)


def _fixed(point: XY) -> tuple[int, int]:
    """Convert a point to OpenCV's fixed-point numbers, which are integers at the centers of pixels."""
    return round((point[0] - 0.5) * 2**_SUBPIXEL), round((point[1] - 0.5) * 2**_SUBPIXEL)


class _Joint(NamedTuple):
    at: XY
    color: Color
    hidden: bool


def draw_skeletons(
    image: Image.Image, skeletons: Iterable[Sequence[Keypoint]], *, original_size: tuple[int, int], line: int
) -> Image.Image:
    """Draw skeletons, in pixels of an original of (width, height), on a copy of its RGB image at any size.

    Bones follow the size of their body, up to 1.5 times the width `line` of other lines. Later ones are on top.
    """
    pixels = np.array(image)
    for points in skeletons:
        joints = _joints(points, image.size, original_size)
        if joints:
            _draw_skeleton(pixels, joints, line)
    return Image.fromarray(pixels)


def _joints(points: Sequence[Keypoint], size: tuple[int, int], original: tuple[int, int]) -> dict[str, _Joint]:
    """Map the visible and hidden keypoints to the image, without those far outside of it."""
    width, height = size
    factor_x, factor_y = width / original[0], height / original[1]
    joints = {}
    for point in points:
        seen, x, y = visibility(point), point.x * factor_x, point.y * factor_y
        if seen and -width <= x <= 2 * width and -height <= y <= 2 * height:
            joints[point.name] = _Joint((x, y), _color(point.name), hidden=seen == 1)
    return joints


def _color(name: str) -> Color:
    if name.startswith("left_"):
        return LEFT
    if name.startswith("right_"):
        return RIGHT
    return FINGER_COLORS.get(name.rpartition("_")[0], CENTER)


def _bone_color(first: str, second: str) -> Color:
    """Color a bone like its joints, or like its outer joint if the other has no side."""
    a, b = _color(first), _color(second)
    return b if a in (CENTER, b) else CENTER


def _draw_skeleton(pixels: Pixels, joints: Mapping[str, _Joint], line: int) -> None:
    x1, y1, x2, y2 = boxes.around([joint.at for joint in joints.values()])
    size = math.hypot(x2 - x1, y2 - y1)
    thick = max(1, min(round(_BONE * size), round(1.5 * line)))
    rim = 0 if size < _RIMLESS else max(1, round(2 * thick / 3))  # both sides together
    bones = [(joints[a].at, joints[b].at, _bone_color(a, b)) for a, b in _BONES if a in joints and b in joints]
    for start, stop, _ in bones if rim else ():
        stroke(pixels, start, stop, BLACK, thick + rim)
    for start, stop, color in bones:
        stroke(pixels, start, stop, color, thick)
    if bones and not rim:
        return  # too small for joints
    radius = 1.3 * thick
    for joint in joints.values():
        disc(pixels, joint.at, radius + rim / 2, BLACK)
        disc(pixels, joint.at, radius, joint.color)
        if joint.hidden:
            disc(pixels, joint.at, 0.5 * radius, BLACK)


def draw_trails(image: Image.Image, trails: Mapping[int, Sequence[Point]]) -> Image.Image:
    """Draw the positions of each track, the oldest first, as a line on a copy of an image, the older the fainter.

    The number of the track gives the color, as with `Style.color_by="number"`.
    """
    canvas = image.convert("RGB")
    width = max(2, round(max(canvas.size) / 320))
    for number, points in trails.items():
        _draw_trail(canvas, _near(points, canvas.size), color_of_number(number), width)
    return canvas


def _near(points: Sequence[Point], size: tuple[int, int]) -> list[Point]:
    """Leave out points far outside the image."""
    width, height = size
    return [(x, y) for x, y in points if -width <= x <= 2 * width and -height <= y <= 2 * height]


def _draw_trail(canvas: Image.Image, points: Sequence[Point], color: Color, width: int) -> None:
    """Blend one trail into its part of the canvas only, so that many short trails cost little on a large canvas."""
    if len(points) < 2:  # noqa: PLR2004 - a line has two ends
        return
    x1, y1, x2, y2 = boxes.around(points)
    margin = width + 2
    left, top, right, bottom = (
        round(edge) for edge in boxes.clip((x1 - margin, y1 - margin, x2 + margin, y2 + margin), *canvas.size)
    )
    if left >= right or top >= bottom:
        return
    corners = [(x - left, y - top) for x, y in points]
    for ink, extra, strength in ((BLACK, 2, _RIM), (color, 0, 1.0)):
        opacity = np.zeros((bottom - top, right - left), np.uint8)
        for age, (start, stop) in enumerate(pairwise(corners), start=1):
            part = age / (len(corners) - 1)
            shade = round(strength * (_FAINTEST + (255 - _FAINTEST) * part))
            stroke(opacity, start, stop, (shade,), max(1, round(width * (0.4 + 0.6 * part))) + extra)
        canvas.paste(ink, (left, top), Image.fromarray(opacity))
