"""Templates: the pixels of examples, cut out of images or saved; and poses at which an image shows them."""

import base64
import math
from collections.abc import Mapping
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Base64Bytes, BaseModel, Field, FiniteFloat, TypeAdapter

from dinox_mcp.backends.embedded.readings import Pixels, Quad, decode, to_bgr
from dinox_mcp.backends.embedded.runtime import Floats
from dinox_mcp.backends.embedded.worker import Steps
from dinox_mcp.errors import DinoxError, InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import Box, clip, scale
from dinox_mcp.types.detection import Embedding, Example

Matrix = npt.NDArray[np.float64]

LEAST_SIDE = 8
LEAST_CONTRAST = 6.0  # of 255, the standard deviation along the color axis: a plain wall has noise of 2 to 4
_MOST_AREA = 96 * 96
_MOST_LENGTH = 512
_MOST_EXAMPLES = 100

_Length = Annotated[FiniteFloat, Field(ge=LEAST_SIDE, le=100_000)]


class Template(NamedTuple):
    """The pixels (height, width, BGR) of one example, reduced if it is large.

    `size` is its width and height in its image, and `bbox` its box if it is in the image that is searched.
    """

    label: str
    pixels: Pixels
    size: tuple[float, float]
    negative: bool = False
    bbox: Box | None = None

    def scaled(self, factor: float) -> "Template":
        """Return the template as for an image at another size."""
        bbox = self.bbox and scale(self.bbox, factor, factor)
        return self._replace(size=(self.size[0] * factor, self.size[1] * factor), bbox=bbox)


class _Kept(BaseModel):
    """A template in a saved prompt."""

    size: tuple[_Length, _Length]
    png: Base64Bytes


_KEPT = TypeAdapter(Annotated[list[_Kept], Field(min_length=1, max_length=_MOST_EXAMPLES)])


def save(picture: Picture, examples: tuple[Example, ...], pictures: Mapping[str, Picture], steps: Steps) -> str:
    """Write examples as the data of an embedding: sizes and PNGs, lossless.

    Raises:
        InputError: an example is negative, too small, of one color, damaged, or its image is missing.
        ImageError: an image is damaged.
    """
    if any(example.negative for example in examples):
        raise InputError(
            "a saved prompt cannot have negative examples; save it without them, and pass them when searching"
        )
    steps.report(0.0, "decoding the image")
    kept = [
        _Kept(size=template.size, png=base64.b64encode(cv2.imencode(".png", template.pixels)[1].tobytes()))
        for template in collect(picture, decode(picture)[0], examples, pictures)
    ]
    return base64.b64encode(_KEPT.dump_json(kept)).decode()


def collect(
    picture: Picture, bgr: Pixels, examples: tuple[Example, ...], pictures: Mapping[str, Picture]
) -> list[Template]:
    """Cut all examples out of their images, the first of which is decoded already, and load the saved ones.

    Raises:
        InputError: an example is too small, of one color, damaged, or its image is missing.
        ImageError: an image is damaged.
    """
    decoded = {"": (picture, bgr)}
    collected: list[Template] = []
    for example in examples:
        if example.embedding is not None:
            collected += _load(example, example.embedding)
            continue
        if example.image not in decoded:
            if example.image not in pictures:
                raise InputError(f"the image of the example {example.label!r:.80} is missing; pass it again")
            decoded[example.image] = pictures[example.image], decode(pictures[example.image])[0]
        frame, pixels = decoded[example.image]
        collected.append(_cut(pixels, example, frame))
    return collected


def _cut(bgr: Pixels, example: Example, frame: Picture) -> Template:
    """Cut an example out of its image `frame`, whose pixels (height, width, BGR) may be reduced."""
    bbox = example.bbox or (0.0, 0.0, 0.0, 0.0)
    box = clip(bbox, frame.width, frame.height)
    size = box[2] - box[0], box[3] - box[1]
    named = f"the example [{', '.join(f'{edge:g}' for edge in bbox)}]"
    if min(size) < LEAST_SIDE:
        raise InputError(
            f"{named} covers {size[0]:.0f}x{size[1]:.0f} pixels of an image of {frame.width}x{frame.height}; "
            f"the backend embedded needs {LEAST_SIDE} each way: draw a larger box"
        )
    factor = bgr.shape[1] / frame.width
    left, top, right, bottom = (round(edge) for edge in scale(box, factor, factor))
    pixels = _reduced(bgr[top : max(bottom, top + 1), left : max(right, left + 1)])
    contrast = color_axis(pixels)[1]
    if contrast < LEAST_CONTRAST:
        raise InputError(
            f"{named} is nearly of one color (contrast {contrast:.1f} of 255, {LEAST_CONTRAST:g} needed), as any "
            "plain surface is; draw a box with edges or a pattern in it"
        )
    return Template(example.label, pixels, size, example.negative, None if example.image else box)


def color_axis(pixels: Pixels) -> tuple[Floats, float]:
    """Return the direction in color space along which pixels vary most, of length 1, and their standard deviation."""
    values, axes = np.linalg.eigh(np.cov(pixels.reshape(-1, 3).T.astype(float)))
    return axes[:, -1].astype(np.float32), math.sqrt(max(0.0, float(values[-1])))


def _load(example: Example, embedding: Embedding) -> list[Template]:
    """Read the templates of an embedding."""
    try:
        kept = _KEPT.validate_json(base64.b64decode(embedding.data, validate=True))
        shown = [to_bgr(Picture.from_bytes(one.png, max_pixels=_MOST_AREA).rgb()) for one in kept]
    except (ValueError, DinoxError):
        raise InputError(
            f"the saved prompt of {example.label!r:.80} is not one of the backend embedded, or damaged; save it again"
        ) from None
    return [
        Template(example.label, pixels, one.size, example.negative) for pixels, one in zip(shown, kept, strict=True)
    ]


def _reduced(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    factor = min(1.0, math.sqrt(_MOST_AREA / (height * width)), _MOST_LENGTH / max(height, width))
    size = max(1, int(width * factor)), max(1, int(height * factor))
    return pixels if factor == 1 else np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


class Pose(NamedTuple):
    """The pose of a copy: its center in pixels, its scale, and its clockwise rotation `turn` in radians."""

    x: float
    y: float
    scale: float = 1.0
    turn: float = 0.0

    def moved(self, x: float, y: float) -> "Pose":
        """Move by a distance in pixels of the template."""
        dx, dy = self.scale * rotation(self.turn) @ (x, y)
        return self._replace(x=float(self.x + dx), y=float(self.y + dy))

    def outline(self, size: tuple[float, float]) -> Quad:
        """Return the four corners of a copy of a template of this width and height."""
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size / 2
        return np.asarray(corners @ rotation(self.turn).T * self.scale + (self.x, self.y), np.float32)


class Pyramid:
    """An image at full size, half, a quarter and so on, each made on first use."""

    def __init__(self, bgr: Pixels) -> None:
        self._levels = [bgr]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height at full size."""
        height, width = self._levels[0].shape[:2]
        return width, height

    def level(self, factor: float) -> Pixels:
        """Return the smallest level that is not smaller than the image reduced by a factor."""
        depth = max(0, math.floor(-math.log2(factor) + 1e-6))
        while len(self._levels) <= depth and min(self._levels[-1].shape[:2]) > 1:
            height, width = self._levels[-1].shape[:2]
            half = cv2.resize(self._levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
            self._levels.append(np.asarray(half, np.uint8))
        return self._levels[min(depth, len(self._levels) - 1)]

    def reduced(self, factor: float) -> Pixels:
        """Return the full image reduced by a factor."""
        width, height = (max(1, round(length * factor)) for length in self.size)
        return np.asarray(cv2.resize(self.level(factor), (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    def cut(self, pose: Pose, factor: float, shape: tuple[int, int]) -> Pixels:
        """Cut out the pixels at a pose, upright, of a shape (height, width), reduced by a factor."""
        level = self.level(min(1.0, factor / pose.scale))
        back = rotation(-pose.turn) * (factor / pose.scale)
        middle = np.array(shape[::-1]) / 2
        stretch = np.array(self.size) / level.shape[1::-1]
        matrix = affine(back * stretch, middle - back @ (pose.x, pose.y))
        return np.asarray(cv2.warpAffine(level, matrix, shape[::-1], borderMode=cv2.BORDER_REPLICATE), np.uint8)


def rotation(turn: float) -> Matrix:
    """Return the matrix that rotates points (2,) by radians."""
    return np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])


def affine(linear: Matrix, offset: Matrix) -> Matrix:
    """Write an affine map for OpenCV, in which pixels have their centers at integers."""
    return np.column_stack([linear, offset + linear.sum(axis=1) / 2 - 0.5])
