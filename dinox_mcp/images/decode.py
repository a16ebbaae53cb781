"""From encoded bytes to upright RGB pixels, and what there is to say of them."""

from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from dinox_mcp.errors import DinoxError, ImageError
from dinox_mcp.images.budget import pixel_budget
from dinox_mcp.images.depth import Facts
from dinox_mcp.images.formats import open_picture, silence
from dinox_mcp.images.opencv import is_deep_colour, is_too_deep, opencv_raster, tiff_samples
from dinox_mcp.images.pixels import SIDEWAYS, flatten, orientation, raster_of, turn
from dinox_mcp.images.sources import shorten
from dinox_mcp.images.structure import has_end, has_many_scans, significant_bits

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFile import ImageFile

    Notes = tuple[str, ...]

_BAND = 64
# Bytes of a pixel:
_KEPT = 7  # of a decoded image: four of Pillow's, and three of the array that most callers make of it
_MADE = 4  # of the result while it is made, and of most modes of Pillow
_DECODING = {"WEBP": 7, "AVIF": 10, "HEIF": 12}  # in some decoders, as measured; in others, what its mode takes
_SMALL = 2  # at most in these modes, GIF's two frames included
_SMALL_MODES = frozenset({"1", "L", "P", "I;16", "I;16B", "I;16L"})
_DEEP = 16  # of 16 bits in OpenCV's decoder
_COEFFICIENTS = 6  # that the JPEG decoder keeps from one scan to the next, however small the result is

_UPPER_BITS = "it is so large that only the upper 8 of its 16 bits are shown; pass a smaller part to see the lower ones"
_ALL_BITS = 16
_BITS, _PHOTOMETRIC, _MAX_SAMPLE, _NODATA = 258, 262, 281, 42113

_ENDS_EARLY = "the file ends early; all rows of the image could be read, perhaps in less detail"
_LEAST_SHARE = 0.02  # of the pixels of a JPEG that is cut off
_MISSING = 128  # the grey that the decoder shows for what is missing
_JPEG_TABLES, _JPEG_SCAN, _JPEG_END = b"\xff\xc4", b"\xff\xda", b"\xff\xd9"


def decode(data: bytes, source: str, size: tuple[int, int]) -> "tuple[Image.Image, Notes]":
    """Decode the first frame to upright RGB of a size, where the format can at no more than is needed of it.

    Slow: call it in a thread.

    Returns:
        The image, and what a caller should know of how it came about.

    Raises:
        ImageError: the bytes are damaged.
        BusyError: too many images are being decoded at once.
    """
    image = open_picture(data, source)
    try:
        with silence:
            stored = image.size
            turned = orientation(image)
            lying = size[::-1] if turned in SIDEWAYS else size
            drafted = image.draft(None, lying)
            needed = _bytes_to_decode(image, data, stored, lying) + (_MADE * size[0] * size[1] if turned > 1 else 0)
            with pixel_budget.decoding(needed) as keep:
                flat, notes = _flat(image, data, source, lying, drafted)
                del image  # its pixels may be far more than those of the result
                upright = turn(flat, turned)
                del flat
                keep(upright, upright.width * upright.height * _KEPT)
    except DinoxError:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise nearly anything on hostile bytes
        raise ImageError(
            f"{source} is damaged and cannot be decoded ({shorten(str(error)) or type(error).__name__}); "
            "pass an intact file"
        ) from None
    upright.info = {}
    return upright, notes + _blank(upright)


def _bytes_to_decode(image: "ImageFile", data: bytes, stored: tuple[int, int], size: tuple[int, int]) -> int:
    """Estimate what decoding an image of the size `stored` to another takes; a JPEG's own size is the reduced one."""
    pixels = image.width * image.height
    made = size[0] * size[1] * _MADE
    if samples := tiff_samples(image):
        # Twice: its one strip may be as large as the image.
        return pixels * 2 * samples.bands * max(samples.bits, _ALL_BITS) // 8 + made
    if is_deep_colour(image) and not is_too_deep(image):
        return pixels * _DEEP + made
    if image.mode == "RGB" and image.size == size and image.format not in _DECODING:
        made = 0  # the decoded pixels are the result
    if image.format == "JPEG" and has_many_scans(data):
        made += stored[0] * stored[1] * _COEFFICIENTS
    return pixels * _DECODING.get(image.format or "", _SMALL if image.mode in _SMALL_MODES else _MADE) + made


def _flat(
    image: "ImageFile",
    data: bytes,
    source: str,
    size: tuple[int, int],
    drafted: Any,  # noqa: ANN401 - Pillow's own
) -> "tuple[Image.Image, Notes]":
    """Decode to opaque pixels of a size, still lying as they are stored."""
    facts = _facts(image, data)
    raster = opencv_raster(image, data, size, facts)
    if raster is not None:
        return flatten(raster, size)
    upper = (_UPPER_BITS,) if is_too_deep(image) else ()
    image, notes = _loaded(image, data, source, size)
    flat, more = flatten(raster_of(image, facts), size, drafted[1][2:] if drafted else None)
    return flat, (*notes, *upper, *more)


def _loaded(image: "ImageFile", data: bytes, source: str, size: tuple[int, int]) -> "tuple[ImageFile, Notes]":
    """Decode with Pillow; a JPEG as far as it goes."""
    try:
        image.load()
    except OSError:
        if image.format != "JPEG":
            raise
        image.close()  # frees the pixels before they are decoded again
        return _load_cut_off(data, source, size)
    return image, (_ENDS_EARLY,) if image.format == "JPEG" and not has_end(data) else ()


def _load_cut_off(data: bytes, source: str, size: tuple[int, int]) -> "tuple[ImageFile, Notes]":
    """Decode a JPEG without its end, reduced to about a size, and say how much there is of it."""
    # Where the file ends inside of a table, the scans before it are complete.
    complete_scans = max(data.rfind(_JPEG_TABLES), data.rfind(_JPEG_SCAN))
    for end in (len(data), complete_scans):
        image = open_picture(data[:end] + _JPEG_END, source)
        image.draft(None, size)
        try:
            image.load()
        except OSError:
            continue
        there, known = _shares_read(image)
        if there >= _LEAST_SHARE:
            part = f"the file is cut off; only the first {known:.0%} of the image could be read, and the rest is grey"
            return image, (part if known < 1 else _ENDS_EARLY,)
    raise ImageError(f"{source} is cut off near its beginning and cannot be decoded; pass an intact file")


def _shares_read(image: "ImageFile") -> tuple[float, float]:
    """Measure which part of the pixels is there, and which part of the rows has any that are."""
    import numpy as np

    there = np.zeros(image.height)
    for row in range(image.height):
        pixels = np.asarray(image.crop((0, row, image.width, row + 1)))
        there[row] = np.mean(pixels != _MISSING)
    rows = np.flatnonzero(there)
    return float(there.mean()), (int(rows[-1]) + 1) / image.height if rows.size else 0.0


def _facts(image: "ImageFile", data: bytes) -> Facts:
    """Read what a file says of its samples of more than 8 bits."""
    if image.format == "PNG":
        bits = significant_bits(data)
        return Facts((1 << bits) - 1 if bits and bits < _ALL_BITS else None)
    tags: Any = getattr(image, "tag_v2", None)
    if tags is None:
        return Facts()
    bits, top = tags.get(_BITS, (_ALL_BITS,))[0], tags.get(_MAX_SAMPLE)
    if not isinstance(top, int) or top <= 0:
        top = (1 << bits) - 1 if bits < _ALL_BITS else None
    try:
        nodata = float(str(tags[_NODATA]).strip(" \0"))
    except (KeyError, ValueError):
        nodata = None
    # Pillow turns the shades of 8 bits by itself.
    return Facts(top, nodata, inverted=image.mode.startswith("I;16") and tags.get(_PHOTOMETRIC) == 0)


def _blank(image: "Image.Image") -> "Notes":
    """Note where all pixels have one colour. A few of them tell most images apart."""
    from PIL.Image import Resampling

    seen = []
    # In bands, as Pillow copies a channel to find its extrema.
    edges = ((top, min(top + _BAND, image.height)) for top in range(0, image.height, _BAND))
    bands = (image.crop((0, top, image.width, bottom)) for top, bottom in edges)
    for pixels in chain((image.resize((8, 8), Resampling.NEAREST),), bands):
        seen.append(cast("tuple[tuple[int, int], ...]", pixels.getextrema()))
        if any(max(high for _, high in one) - min(low for low, _ in one) > 1 for one in zip(*seen, strict=True)):
            return ()
    red, green, blue = cast("tuple[int, int, int]", image.getpixel((0, 0)))
    return (f"the image is blank: all of it has the colour #{red:02x}{green:02x}{blue:02x}",)
