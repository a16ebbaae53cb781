"""From encoded bytes to upright RGB pixels, and what there is to say of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from dinox_mcp.errors import DinoxError, ImageError
from dinox_mcp.images import png
from dinox_mcp.images.budget import pixel_budget
from dinox_mcp.images.depth import Facts
from dinox_mcp.images.formats import open_picture, silence
from dinox_mcp.images.jpeg import ENDS_EARLY, has_end, load_cut_off
from dinox_mcp.images.opencv import is_deep_colour, is_too_deep, opencv_raster, tiff_samples
from dinox_mcp.images.pixels import SIDEWAYS, flatten, orientation, raster_of, turn
from dinox_mcp.images.sources import shorten

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFile import ImageFile

_KEPT = 7
"""Bytes of a decoded pixel: four of Pillow's, and three of the array that most callers make of it."""
_DECODING = {"JPEG": 5, "WEBP": 8, "AVIF": 12, "HEIF": 12}
"""Bytes that a pixel takes while it is decoded, as measured; see `_COMMON`."""
_COMMON, _DEEP = 8, 14
_SHOWN = 6
"""Bytes that a pixel takes beside the samples that it is made of."""
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
    from PIL.ImageFile import ImageFile

    image = open_picture(data, source)
    try:
        with silence:
            turned = orientation(image)
            lying = size[::-1] if turned in SIDEWAYS else size
            drafted = image.draft(None, lying) if reduced else None
            with pixel_budget.decoding(_bytes_to_decode(image)):
                flat, notes = _flat(image, data, source, lying, drafted)
                upright = turn(flat, turned)
                if upright.mode != "RGB" or isinstance(upright, ImageFile):
                    upright = upright.convert("RGB")  # a copy of its own, of 400 MB where there are many pixels
            pixel_budget.keep(upright, upright.width * upright.height * _KEPT)
    except DinoxError:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise nearly anything on hostile bytes
        raise ImageError(
            f"{source} is damaged and cannot be decoded ({shorten(str(error)) or type(error).__name__}); "
            "pass an intact file"
        ) from None
    upright.info = {}
    return Decoded(upright, notes + _blank(upright))


def _bytes_to_decode(image: "ImageFile") -> int:
    """Estimate what decoding takes; a JPEG's size is the reduced one by now."""
    if stored := tiff_samples(image):
        # Twice: its one strip may be as large as the image.
        return image.width * image.height * (2 * stored.bands * max(stored.bits, _ALL_BITS) // 8 + _SHOWN)
    is_deep = (is_deep_colour(image) and not is_too_deep(image)) or image.mode[0] in "IF"
    return image.width * image.height * (_DEEP if is_deep else _DECODING.get(image.format or "", _COMMON))


def _flat(
    image: "ImageFile",
    data: bytes,
    source: str,
    size: tuple[int, int],
    drafted: Any,  # noqa: ANN401 - Pillow's own
) -> "tuple[Image.Image, tuple[str, ...]]":
    """Decode to opaque pixels of a size, still lying as they are stored."""
    from PIL.Image import Resampling

    facts = _facts(image, data)
    notes: tuple[str, ...] = ()
    exact = None
    raster = opencv_raster(image, data, size, facts)
    if raster is None:
        upper = (_UPPER_BITS,) if is_too_deep(image) else ()
        image, notes = _loaded(image, data, source, size if drafted else None)
        notes += upper
        exact = drafted and drafted[1][2:]
        raster = raster_of(image, facts)
    factor = max(1, min(raster.width // size[0], raster.height // size[1]) // 2)
    flat, more = flatten(raster, factor)
    if flat.size != size:
        width, height = exact or (raster.width, raster.height)
        flat = flat.resize(size, Resampling.BICUBIC, box=(0, 0, width / factor, height / factor))
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

    for pixels in (image.resize((8, 8), Resampling.NEAREST), image):
        extrema = cast("tuple[tuple[int, int], ...]", pixels.getextrema())
        if any(high - low > 1 for low, high in extrema):
            return ()
    red, green, blue = cast("tuple[int, int, int]", image.getpixel((0, 0)))
    return (f"the image is blank: all of it has the colour #{red:02x}{green:02x}{blue:02x}",)
