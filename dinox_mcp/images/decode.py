"""From encoded bytes to upright RGB pixels, and what there is to say of them."""

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from dinox_mcp.errors import DinoxError, ImageError
from dinox_mcp.images import png
from dinox_mcp.images.budget import pixel_budget
from dinox_mcp.images.depth import Facts
from dinox_mcp.images.formats import open_picture, silence
from dinox_mcp.images.jpeg import ENDS_EARLY, has_end, has_many_scans, load_cut_off
from dinox_mcp.images.opencv import is_deep_colour, is_too_deep, opencv_raster, tiff_samples
from dinox_mcp.images.pixels import SIDEWAYS, flatten, orientation, raster_of, turn
from dinox_mcp.images.sources import shorten

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFile import ImageFile

_BAND = 64
_KEPT = 7
"""Bytes of a decoded pixel: four of Pillow's, and three of the array that most callers make of it."""
_MADE = 4
"""Bytes of a pixel of the result while it is made, and of most modes of Pillow."""
_DECODING = {"WEBP": 7, "AVIF": 10, "HEIF": 12}
"""Bytes that a pixel takes in some decoders, as measured; in others, what its mode takes."""
_SMALL_MODES = frozenset({"1", "L", "P", "I;16", "I;16B", "I;16L"})
"""Modes whose pixels take 2 bytes at most, GIF's two frames included."""
_DEEP = 16
"""Bytes that a pixel of 16 bits takes in OpenCV's decoder."""
_COEFFICIENTS = 6
"""Bytes of a pixel that the JPEG decoder keeps from one scan to the next, however small the result is."""
_UPPER_BITS = "it is so large that only the upper 8 of its 16 bits are shown; pass a smaller part to see the lower ones"
_ALL_BITS = 16
_BITS, _PHOTOMETRIC, _MAX_SAMPLE, _NODATA = 258, 262, 281, 42113


@dataclass(frozen=True, slots=True)
class Decoded:
    """Upright RGB pixels, and what a caller should know of how they came about."""

    image: "Image.Image"
    notes: tuple[str, ...]


def decode(data: bytes, source: str, size: tuple[int, int], *, reduced: bool) -> Decoded:
    """Decode the first frame to upright RGB of a size, where the format can at no more than is needed of it.

    `reduced` says that the size is below the image's own. Slow: call it in a thread.

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
            drafted = image.draft(None, lying) if reduced else None
            needed = _bytes_to_decode(image, data, stored, lying) + (_MADE * size[0] * size[1] if turned > 1 else 0)
            with pixel_budget.decoding(needed) as reservation:
                flat, notes = _flat(image, data, source, lying, drafted)
                del image  # its pixels may be far more than those of the result
                upright = turn(flat, turned)
                del flat
                reservation.keep(upright, upright.width * upright.height * _KEPT)
    except DinoxError:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise nearly anything on hostile bytes
        raise ImageError(
            f"{source} is damaged and cannot be decoded ({shorten(str(error)) or type(error).__name__}); "
            "pass an intact file"
        ) from None
    upright.info = {}
    return Decoded(upright, notes + _blank(upright))


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
    return pixels * _DECODING.get(image.format or "", 2 if image.mode in _SMALL_MODES else _MADE) + made


def _flat(
    image: "ImageFile",
    data: bytes,
    source: str,
    size: tuple[int, int],
    drafted: Any,  # noqa: ANN401 - Pillow's own
) -> "tuple[Image.Image, tuple[str, ...]]":
    """Decode to opaque pixels of a size, still lying as they are stored."""
    facts = _facts(image, data)
    notes: tuple[str, ...] = ()
    exact = None
    raster = opencv_raster(image, data, size, facts)
    if raster is None:
        upper = (_UPPER_BITS,) if is_too_deep(image) else ()
        image, notes = _loaded(image, data, source, size if drafted else None)
        notes += upper
        exact = drafted[1][2:] if drafted else None
        raster = raster_of(image, facts)
    flat, more = flatten(raster, size, exact)
    return flat, (*notes, *more)


def _loaded(
    image: "ImageFile", data: bytes, source: str, size: tuple[int, int] | None
) -> "tuple[ImageFile, tuple[str, ...]]":
    """Decode with Pillow; a JPEG as far as it goes."""
    try:
        image.load()
    except OSError:
        if image.format != "JPEG":
            raise
        image.close()  # frees the pixels before they are decoded again
        whole, note = load_cut_off(data, source, size)
        return whole, (note,)
    return image, (ENDS_EARLY,) if image.format == "JPEG" and not has_end(data) else ()


def _facts(image: "ImageFile", data: bytes) -> Facts:
    """Read what a file says of its samples of more than 8 bits."""
    if image.format == "PNG":
        bits = png.significant_bits(data)
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


def _blank(image: "Image.Image") -> tuple[str, ...]:
    """Say so where all pixels have one colour. A few of them tell most images apart."""
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
