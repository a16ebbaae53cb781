"""Pixels of any mode made plain: 8 bits, opaque, upright."""

import math
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image

SIDEWAYS = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height."""

_ORIENTATION = 0x0112
_BAND = 256


def orientation(image: "Image.Image") -> int:
    """Read how the picture is to be turned, as EXIF writes it: 1 to 8, and 1 where nothing readable is said."""
    from PIL.Image import Image

    if image.format == "TIFF":
        return 1  # Pillow's decoder turns it, size and pixels
    try:
        # The base class's method: PNG's own decodes the whole picture to look behind it.
        found = Image.getexif(image).get(_ORIENTATION, 1)
        return int(found) if found in range(1, 9) else 1
    except Exception:  # noqa: BLE001 - hostile metadata raises nearly anything, and the pixels are still good
        return 1


def turn(image: "Image.Image", orientation: int) -> "Image.Image":
    """Make a picture upright that is stored in one of the eight EXIF orientations."""
    from PIL.Image import Transpose

    method = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)
    return image if method is None else image.transpose(method)


def flatten(image: "Image.Image", factor: int = 1) -> "Image.Image":
    """Bring any mode to opaque RGB, or to L where it has no colour; transparent pixels show white.

    It is shrunk by the factor on the way, band by band: a few kilobytes can hold a hundred million pixels, and
    whole copies of these in several modes would take gigabytes.
    """
    from PIL import Image

    if factor == 1 and image.mode in {"L", "RGB"} and not image.has_transparency_data:
        return image
    plain = _converter(image)
    width, height = image.size
    rows = factor * math.ceil(_BAND / factor)
    flat = None
    for top in range(0, height, rows):
        band = plain(image.crop((0, top, width, min(top + rows, height)))).reduce(factor)
        flat = flat or Image.new(band.mode, (band.width, math.ceil(height / factor)))
        flat.paste(band, (0, top // factor))
    return flat or image


def _converter(image: "Image.Image") -> "Callable[[Image.Image], Image.Image]":
    """Choose how the bands of a picture become opaque L or RGB."""
    if image.mode.startswith("I;16"):
        return _high_byte
    if image.mode in {"I", "F"}:
        return _stretch(image)
    if image.has_transparency_data:
        return _on_white
    mode = "L" if image.mode in {"1", "L"} else "RGB"
    return lambda band: band.convert(mode)


def _high_byte(image: "Image.Image") -> "Image.Image":
    """Keep the high byte of 16-bit grey; the one grey that a PNG may call transparent shows white."""
    table = [value >> 8 for value in range(1 << 16)]
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        table[clear] = 255
    return image.convert("I").point(table, "L")


def _stretch(image: "Image.Image") -> "Callable[[Image.Image], Image.Image]":
    """Show samples without a fixed range from their darkest as black to their brightest as white."""
    low, high = (float(bound) for bound in cast("tuple[float, float]", image.getextrema()))
    if not math.isfinite(high - low) or low == high:
        low, high = 0.0, 255.0
    factor = 255 / (high - low)
    return lambda band: band.convert("F").point(lambda value: value * factor - low * factor).convert("L")


def _on_white(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    rgba = image.convert("RGBA")
    opaque = Image.new("RGB", image.size, "white")
    opaque.paste(rgba, mask=rgba.getchannel("A"))
    return opaque
