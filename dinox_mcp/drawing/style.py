"""What is drawn, in which colours, and the shapes of objects in the pixels of a view."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from dinox_mcp.types import boxes
from dinox_mcp.types.detection import DetectedObject, Value

Color = tuple[int, int, int]

BLACK: Color = (16, 16, 16)
WHITE: Color = (255, 255, 255)

_LIGHTNESS = (0.80, 0.71, 0.63)  # never dark, so that a dark halo and dark text always stand out
_CHROMA = 0.19
_HUES = 36
_STEP = 13  # no divisor of 36, and near enough to a third of it


def by_label(labels: Iterable[str]) -> Callable[[DetectedObject], Color]:
    """Colour objects by their labels, no two labels of an image alike as long as there are no more than 36.

    One label alone tells nothing apart: then each object has the colour of its number. `viewer/src/colors.ts` does
    the same.

    Args:
        labels: all labels of the image, also of objects that are not drawn: a part then has the colours of the whole.
    """
    names = sorted({_plain(label) for label in labels})
    if len(names) <= 1:
        return lambda found: color_of_number(found.id)
    colors = {name: color_of_number(place) for place, name in enumerate(names, start=1)}
    return lambda found: colors.get(_plain(found.label), WHITE)


def color_of_number(number: int) -> Color:
    """Pick the colour of an object or track: those of numbers close by are far apart."""
    return palette()[_STEP * number % _HUES]


@cache
def palette() -> tuple[Color, ...]:
    """All colours for labels as sRGB: evenly spaced hues in OKLCH, neighbours in different lightness."""
    return tuple(_vivid(_LIGHTNESS[hue % len(_LIGHTNESS)], math.tau * hue / _HUES) for hue in range(_HUES))


def ink_on(background: Color) -> Color:
    """Pick black or white, whichever reads better on a background."""
    return max(BLACK, WHITE, key=lambda ink: contrast(ink, background))


def contrast(a: Color, b: Color) -> float:
    """Contrast ratio of two colours as WCAG 2 defines it, from 1 to 21."""
    dark, light = sorted((_luminance(a), _luminance(b)))
    return (light + 0.05) / (dark + 0.05)


def _plain(label: str) -> str:
    return label.strip().lower()


def _luminance(color: Color) -> float:
    linear = [_to_linear(value / 255) for value in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _vivid(lightness: float, hue: float) -> Color:
    """Take the most saturated colour of this lightness and hue that a screen can show."""
    chroma = _CHROMA
    while min(rgb := _oklch_to_linear_rgb(lightness, chroma, hue)) < 0 or max(rgb) > 1:
        chroma -= 0.005
    red, green, blue = (round(255 * _from_linear(value)) for value in rgb)
    return red, green, blue


def _oklch_to_linear_rgb(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    """Convert with the matrices of the OKLab definition (Björn Ottosson, 2020)."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def _to_linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 - sRGB


def _from_linear(value: float) -> float:
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055  # noqa: PLR2004 - sRGB


class Style(Value):
    """Which parts of an object are drawn.

    `labels` are label and score, `opacity` fills the masks, `keypoints` are the bones of bodies and hands, and
    `captions` a model's words about the object (caption, category, text). Colours tell labels apart, or single objects
    by their number, as of tracks. `all_labels` are those of the whole image, where only some of its objects are drawn.

    Numbers without boxes and labels are for counting: each object is a dot, with its number beside it.
    """

    boxes: bool = True
    masks: bool = True
    labels: bool = True
    numbers: bool = True
    keypoints: bool = True
    captions: bool = True
    color_by: Literal["label", "number"] = "label"
    all_labels: tuple[str, ...] = ()
    opacity: Annotated[float, Field(ge=0, le=1)] = 0.4

    @property
    def dots(self) -> bool:
        """Whether objects are dots to be counted."""
        return self.numbers and not self.boxes and not self.labels

    def colors(self, objects: Sequence[DetectedObject]) -> Callable[[DetectedObject], Color]:
        """Say how objects are coloured that are drawn together."""
        if self.color_by == "number":
            return lambda found: color_of_number(found.id)
        return by_label(self.all_labels or (found.label for found in objects))


PixelBox = tuple[int, int, int, int]
Size = tuple[int, int]


class Shape(NamedTuple):
    """An object in pixels of the view: the box half-open, at least one pixel large and in the picture."""

    found: DetectedObject
    box: PixelBox
    color: Color


def make_shapes(objects: Sequence[DetectedObject], size: Size, original_size: Size, style: Style) -> list[Shape]:
    """Map objects of a picture of `original_size` into a view of `size`, the largest first: small ones stay visible."""
    factor_x, factor_y = size[0] / original_size[0], size[1] / original_size[1]
    color_of = style.colors(objects)
    shapes = [
        Shape(found, _to_pixels(boxes.scale(found.bbox, factor_x, factor_y), size), color_of(found))
        for found in objects
    ]
    return sorted(shapes, key=lambda shape: -boxes.area(shape.box))


def _to_pixels(bbox: boxes.Box, size: Size) -> PixelBox:
    x1, y1, x2, y2 = (round(edge) for edge in boxes.clip(bbox, *size))
    x1, y1 = min(x1, size[0] - 1), min(y1, size[1] - 1)
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)
