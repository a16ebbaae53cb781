"""Bodies and hands as bones and points.

The person's own left is sky blue, the own right orange, what joins them (shoulders, hips, nose) near white. The
fingers of a hand have five colours. All are of the Okabe-Ito palette, which the colour-blind can tell apart.
Seen points are full, hidden ones hollow; what is probably not in the picture is left out.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from dinox_mcp import geometry
from dinox_mcp.drawing.colors import BLACK, Color
from dinox_mcp.drawing.strokes import XY, Pixels, disc, stroke
from dinox_mcp.keypoints import BODY_BONES, FINGERS, HAND_BONES, visibility
from dinox_mcp.schema import Keypoint

LEFT: Color = (86, 180, 233)
RIGHT: Color = (255, 150, 10)
CENTER: Color = (245, 245, 245)
FINGER_COLORS: Mapping[str, Color] = dict(
    zip(FINGERS, ((230, 159, 0), (86, 180, 233), (0, 200, 140), (240, 228, 66), (225, 130, 190)), strict=True)
)

_BONES = BODY_BONES + HAND_BONES
_BONE = 0.011  # how thick a bone is, of the size of its body or hand
_RIMLESS = 40  # pixels: what is smaller would be more rim than bone


class _Joint(NamedTuple):
    at: XY
    color: Color
    hidden: bool


def draw_skeletons(
    image: Image.Image, skeletons: Iterable[Sequence[Keypoint]], *, original_size: tuple[int, int], line: int
) -> Image.Image:
    """Draw keypoints in pixels of the original (of width, height `original_size`) on a copy of an RGB image.

    Later ones lie on top. `line` is the width of the picture's other lines: bones follow the size of their body, and
    are at most half as thick again.
    """
    pixels = np.array(image)
    for points in skeletons:
        joints = _joints(points, image.size, original_size)
        if joints:
            _draw(pixels, joints, line)
    return Image.fromarray(pixels)


def _joints(points: Sequence[Keypoint], size: tuple[int, int], original: tuple[int, int]) -> dict[str, _Joint]:
    """Map the points that are there into the image, without those far out of it, where numbers have no meaning."""
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
    """Colour a bone like its joints, or like its outer one where the other has no side."""
    a, b = _color(first), _color(second)
    return b if a in (CENTER, b) else CENTER


def _draw(pixels: Pixels, joints: Mapping[str, _Joint], line: int) -> None:
    x1, y1, x2, y2 = geometry.around([joint.at for joint in joints.values()])
    size = math.hypot(x2 - x1, y2 - y1)
    thick = max(1, min(round(_BONE * size), round(1.5 * line)))
    rim = 0 if size < _RIMLESS else max(1, round(2 * thick / 3))  # of both sides together
    bones = [(joints[a].at, joints[b].at, _bone_color(a, b)) for a, b in _BONES if a in joints and b in joints]
    for start, stop, _ in bones if rim else ():
        stroke(pixels, start, stop, BLACK, thick + rim)
    for start, stop, color in bones:
        stroke(pixels, start, stop, color, thick)
    if bones and not rim:
        return  # too small for points
    radius = 1.3 * thick
    for joint in joints.values():
        disc(pixels, joint.at, radius + rim / 2, BLACK)
        disc(pixels, joint.at, radius, joint.color)
        if joint.hidden:
            disc(pixels, joint.at, 0.5 * radius, BLACK)
