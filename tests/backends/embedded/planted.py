"""Cluttered pictures with copies of one thing planted in known places, scaled, turned, lit, noisy, JPEG-compressed."""

import math
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from dinox_mcp.images.picture import Picture
from dinox_mcp.types.detection import BBox

Pixels = npt.NDArray[np.uint8]
Random = np.random.Generator
Thing = tuple[Pixels, Pixels]
"""Pixels (height, width, 3) and how much they cover (height, width), 0 to 255."""


def encode(bgr: Pixels) -> Picture:
    """Encode losslessly."""
    return Picture.from_bytes(cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes(), "planted.png")


def texture(rng: Random, side: int = 70) -> Thing:
    """Make something like a piece of a photo."""
    return _clouds(rng, side, side, (3, 6, 12, 24, 48)), _full(side, side)


def logo(_rng: Random, side: int = 70) -> Thing:
    """Draw a few shapes in flat colors."""
    drawn = np.full((side, side, 3), (40, 40, 200), np.uint8)
    cv2.circle(drawn, (side // 2, side // 2), side // 3, (255, 255, 255), -1, cv2.LINE_AA)
    corners = np.array([[0.5, 0.25], [0.72, 0.62], [0.28, 0.62]]) * side
    cv2.fillPoly(drawn, [corners.astype(np.int32)], (200, 120, 20), cv2.LINE_AA)
    cv2.rectangle(drawn, (side // 10, side * 17 // 20), (side * 6 // 10, side * 19 // 20), (0, 220, 255), -1)
    return drawn, _full(side, side)


def screw(_rng: Random, side: int = 70) -> Thing:
    """Draw the head of a cross-slotted screw: gray and round, what is around it shows in the corners of its box."""
    y, x = np.mgrid[:side, :side] - side / 2 + 0.5
    radius = np.hypot(x, y)
    shine = 150 + 60 * np.cos(np.arctan2(y, x) - 0.8) * np.clip(2 * radius / side, 0, 1)
    drawn = np.repeat(shine[..., None], 3, axis=2).astype(np.uint8)
    for angle in (0.5, 0.5 + math.pi / 2):
        arm = np.array([math.cos(angle), math.sin(angle)]) * side * 0.3
        ends = [tuple((side / 2 + sign * arm).round().astype(int).tolist()) for sign in (-1, 1)]
        cv2.line(drawn, ends[0], ends[1], (30, 30, 35), side // 9, cv2.LINE_AA)
    cv2.circle(drawn, (side // 2, side // 2), round(side * 0.46), (70, 70, 75), 2, cv2.LINE_AA)
    return drawn, np.where(radius < side * 0.48, 255, 0).astype(np.uint8)


def icon(_rng: Random, side: int = 40) -> Thing:
    """Draw a magnifying glass on a rounded square, as on a screen."""
    drawn = np.full((side, side, 3), (200, 110, 40), np.uint8)
    at, radius = (round(side * 0.45), round(side * 0.42)), round(side * 0.22)
    cv2.circle(drawn, at, radius, (255, 255, 255), max(2, side // 14), cv2.LINE_AA)
    ends = [(round(side * end), round(side * end)) for end in (0.6, 0.82)]
    cv2.line(drawn, ends[0], ends[1], (255, 255, 255), max(2, side // 10), cv2.LINE_AA)
    cover, corner = np.zeros((side, side), np.uint8), side // 5
    for margin in ((corner, 0), (0, corner)):
        cv2.rectangle(cover, margin, (side - 1 - margin[0], side - 1 - margin[1]), 255, -1)
    for place in ((x, y) for x in (corner, side - corner - 1) for y in (corner, side - corner - 1)):
        cv2.circle(cover, place, corner, 255, -1)
    return drawn, cover


def label(_rng: Random, side: int = 36) -> Thing:
    """Print a label, three times as wide as high."""
    drawn = np.full((side, 3 * side, 3), 235, np.uint8)
    cv2.rectangle(drawn, (1, 1), (3 * side - 2, side - 2), (20, 20, 20), 1)
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(drawn, "A-4711", (5, round(side * 0.68)), font, side / 42, (20, 20, 20), 2, cv2.LINE_AA)
    return drawn, _full(side, 3 * side)


KINDS: dict[str, Callable[..., Thing]] = {
    "texture": texture,
    "logo": logo,
    "screw": screw,
    "icon": icon,
    "label": label,
}


def planted(
    kind: str,
    seed: int,
    size: tuple[int, int] = (1200, 900),
    *,
    copies: int = 20,
    scales: tuple[float, float] = (0.7, 1.4),
    turn: float = 15,
    side: int | None = None,
) -> tuple[Pixels, list[BBox]]:
    """Plant copies into clutter; the first, in its size and upright, may serve as the example."""
    rng = np.random.default_rng(seed)
    scene = clutter(rng, *size)
    thing = KINDS[kind](rng, **({} if side is None else {"side": side}))
    height, width = thing[1].shape
    boxes: list[BBox] = []
    taken: list[tuple[float, float, float]] = []
    while len(boxes) < copies:
        first = not boxes
        scale = 1.0 if first else float(rng.uniform(*scales))
        angle = 0.0 if first else float(rng.uniform(-turn, turn))
        reach = math.hypot(height, width) / 2 * scale + 3
        x, y = (float(rng.integers(math.ceil(reach), math.floor(length - reach))) for length in size)
        if all(math.hypot(x - other[0], y - other[1]) > reach + other[2] for other in taken):
            taken.append((x, y, reach))
            light = 1.0 if first else float(rng.uniform(0.85, 1.15))
            boxes.append(plant(scene, thing, (x + width % 2 / 2, y + height % 2 / 2), scale, angle, light))
    noisy = (scene + rng.normal(0, 3, scene.shape)).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], 1), np.uint8), boxes


def plant(
    scene: Pixels, thing: Thing, at: tuple[float, float], scale: float = 1, turned: float = 0, light: float = 1
) -> BBox:
    """Plant one copy, its middle at a point, turned by degrees; say where it is."""
    height, width = thing[1].shape
    angle = math.radians(turned)
    linear = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) - (width / 2, height / 2)
    outline = corners @ linear.T + at
    corner = np.maximum(outline.min(axis=0).astype(int) - 2, 0)
    patch = scene[corner[1] : int(outline[:, 1].max()) + 3, corner[0] : int(outline[:, 0].max()) + 3]
    offset = at - corner - linear @ (width / 2, height / 2)
    matrix = np.column_stack([linear, offset + linear.sum(axis=1) / 2 - 0.5])
    size = patch.shape[1], patch.shape[0]
    shown = cv2.warpAffine(thing[0], matrix, size, borderMode=cv2.BORDER_REPLICATE) * light
    cover = cv2.warpAffine(thing[1], matrix, size)[..., None] / 255
    patch[:] = (patch * (1 - cover) + shown.clip(0, 255) * cover).astype(np.uint8)
    (left, top), (right, bottom) = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
    return left, top, right, bottom


def clutter(rng: Random, width: int, height: int) -> Pixels:
    """Fill a picture with clouds, shapes, lines and words of all colors."""
    scene = _clouds(rng, width, height, (4, 8, 16, 32, 64, 128), 27)
    for _ in range(width * height // 8000):
        color = tuple(rng.integers(0, 256, 3).tolist())
        at, reach = (int(rng.integers(0, width)), int(rng.integers(0, height))), int(rng.integers(6, 60))
        thickness = int(rng.integers(1, 6))
        match int(rng.integers(0, 5)):
            case 0:
                cv2.circle(scene, at, reach, color, thickness if reach % 2 else -1, cv2.LINE_AA)
            case 1:
                cv2.rectangle(scene, at, (at[0] + reach, at[1] + 40), color, thickness if reach % 2 else -1)
            case 2:
                cv2.line(scene, at, tuple((at + rng.integers(-120, 120, 2)).tolist()), color, thickness, cv2.LINE_AA)
            case 3:
                word = "".join(chr(letter) for letter in rng.integers(65, 91, 5))
                cv2.putText(scene, word, at, thickness % 4, reach / 40, color, 1 + thickness // 2, cv2.LINE_AA)
            case _:
                corners = (at + rng.integers(-reach, reach + 1, (4, 2))).astype(np.int32)
                cv2.fillPoly(scene, [corners], color, cv2.LINE_AA)
    return scene


def _clouds(rng: Random, width: int, height: int, sizes: tuple[int, ...], contrast: float = 45) -> Pixels:
    """Add up noise of several sizes."""
    total = np.zeros((height, width, 3))
    for size in sizes:
        grid = rng.normal(0, math.sqrt(size), (height // size + 2, width // size + 2, 3))
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray((128 + contrast * total / total.std()).clip(0, 255), np.uint8)


def _full(height: int, width: int) -> Pixels:
    return np.full((height, width), 255, np.uint8)
