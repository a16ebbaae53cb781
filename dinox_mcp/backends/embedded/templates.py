"""How examples look: small pictures cut out of pictures, to be looked for in others."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Base64Bytes, BaseModel, Field, FiniteFloat, TypeAdapter, ValidationError

from dinox_mcp.backends.embedded.findings import Pixels
from dinox_mcp.errors import DinoxError, InputError, UnsupportedError
from dinox_mcp.geometry import Box, clip, scale
from dinox_mcp.images.picture import Picture
from dinox_mcp.schema import Embedding, Example

Floats = npt.NDArray[np.float32]
Size = tuple[float, float]

LEAST_SIDE = 8
LEAST_CONTRAST = 6.0  # of 255, the standard deviation along the color axis: a plain wall has noise of 2 to 4
_MOST_AREA = 96 * 96
_MOST_LENGTH = 512
_MOST_EXAMPLES = 100

_Length = Annotated[FiniteFloat, Field(ge=LEAST_SIDE, le=100_000)]


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """How one example looks: `pixels` (height, width, BGR) show it, reduced where it is large.

    `size` is its width and height in its picture, `place` its box where that is the picture that is searched.
    """

    label: str
    pixels: Pixels
    size: Size
    negative: bool = False
    place: Box | None = None


class _Kept(BaseModel):
    """A template in a saved prompt."""

    size: tuple[_Length, _Length]
    png: Base64Bytes


_KEPT = TypeAdapter(Annotated[list[_Kept], Field(min_length=1, max_length=_MOST_EXAMPLES)])


def cut(bgr: Pixels, example: Example, frame: Picture) -> Template:
    """Cut an example out of its picture `frame`, whose pixels (height, width, BGR) may be reduced.

    Raises:
        InputError: its box is outside of the picture, too small, or shows nothing that would be known again.
    """
    if example.bbox is None:
        raise UnsupportedError("the backend embedded takes no points as examples; draw a box around the example")
    box = clip(example.bbox, frame.width, frame.height)
    size = box[2] - box[0], box[3] - box[1]
    named = f"the example [{', '.join(f'{edge:g}' for edge in example.bbox)}]"
    if min(size) < LEAST_SIDE:
        raise InputError(
            f"{named} covers {size[0]:.0f}x{size[1]:.0f} pixels of a picture of {frame.width}x{frame.height}; "
            f"the backend embedded needs {LEAST_SIDE} each way: draw a larger box"
        )
    factor = bgr.shape[1] / frame.width
    left, top, right, bottom = (round(edge) for edge in scale(box, factor, factor))
    pixels = _reduced(bgr[top : max(bottom, top + 1), left : max(right, left + 1)])
    contrast = color_axis(pixels)[1]
    if contrast < LEAST_CONTRAST:
        raise InputError(
            f"{named} is nearly of one color (contrast {contrast:.1f} of 255, {LEAST_CONTRAST:g} needed), as any "
            "plain surface is; draw the box so that edges or a pattern are in it"
        )
    return Template(example.label, pixels, size, example.negative, None if example.image else box)


def color_axis(pixels: Pixels) -> tuple[Floats, float]:
    """Give the direction in color space that pixels vary along most, of length 1, and how much they do (std. dev.)."""
    values, axes = np.linalg.eigh(np.cov(pixels.reshape(-1, 3).T.astype(float)))
    return axes[:, -1].astype(np.float32), math.sqrt(max(0.0, float(values[-1])))


def keep(templates: Sequence[Template]) -> str:
    """Write templates as the data of an embedding: sizes and PNGs, lossless."""
    kept = [
        _Kept(size=template.size, png=base64.b64encode(cv2.imencode(".png", template.pixels)[1].tobytes()))
        for template in templates
    ]
    return base64.b64encode(_KEPT.dump_json(kept)).decode()


def restore(embedding: Embedding, example: Example) -> list[Template]:
    """Read the templates of an embedding.

    Raises:
        InputError: they are not of this backend, or damaged.
    """
    try:
        kept = _KEPT.validate_json(base64.b64decode(embedding.data, validate=True))
        return [
            Template(
                example.label, _decode(Picture.from_bytes(one.png, max_pixels=_MOST_AREA)), one.size, example.negative
            )
            for one in kept
        ]
    except (ValidationError, ValueError, DinoxError):
        raise InputError(
            f"the saved prompt of {example.label!r:.80} is not one of the backend embedded, or damaged; save it again"
        ) from None


def resized(template: Template, factor: float) -> Template:
    """See a template in a picture that is shown at another size."""
    place = template.place and scale(template.place, factor, factor)
    return replace(template, size=(template.size[0] * factor, template.size[1] * factor), place=place)


def _decode(picture: Picture) -> Pixels:
    return np.asarray(cv2.cvtColor(np.asarray(picture.rgb()), cv2.COLOR_RGB2BGR), np.uint8)


def _reduced(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    factor = min(1.0, math.sqrt(_MOST_AREA / (height * width)), _MOST_LENGTH / max(height, width))
    size = max(1, int(width * factor)), max(1, int(height * factor))
    return pixels if factor == 1 else np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
