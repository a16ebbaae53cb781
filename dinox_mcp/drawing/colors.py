"""Colours: one for each label of an image, or one for each object."""

import math
from collections.abc import Callable, Iterable
from functools import cache

from dinox_mcp.schema import DetectedObject

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
