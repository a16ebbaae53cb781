"""Pixels of any mode made plain: 8 bits, upright, and opaque on a background on which the visible ones stand out."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dinox_mcp.images.depth import Facts, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from dinox_mcp.images.depth import Samples

SIDEWAYS = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height."""

_ORIENTATION = 0x0112
_BAND = 64  # rows of the decoded image that are worked on at a time
_LEAST_ROWS = 4  # of the result that are made at a time: each band also reads rows beyond its edges
_BICUBIC_REACH = 2  # how many pixels to each side a pixel is made of, in pixels of the smaller image
_WHITE, _BLACK, _GREY = 255, 0, 128
_VISIBLE = 64  # alpha from which on a pixel counts as visible
_ALIKE = 48  # difference of two shades below which one hides the other
_FEW = 0.1  # share of the pixels that may be hidden
_MOST_PIXELS = 4_000_000  # that are examined to choose a background


@dataclass(frozen=True, slots=True)
class Raster:
    """A decoded image whose `rows` from one number to another can be had in the mode L, LA, RGB or RGBA.

    `whole` is the complete image where it is opaque RGB already.
    """

    width: int
    height: int
    rows: "Callable[[int, int], Image.Image]"
    notes: tuple[str, ...] = ()
    whole: "Image.Image | None" = None

    def bands(self) -> "Iterator[Image.Image]":
        """Yield all rows, in bands."""
        for top in range(0, self.height, _BAND):
            yield self.rows(top, min(top + _BAND, self.height))


def orientation(image: "Image.Image") -> int:
    """Read how the image is to be turned, as EXIF writes it: 1 to 8, and 1 where nothing readable is said."""
    from PIL.Image import Image

    if image.format == "TIFF":
        return 1  # Pillow's decoder turns it, size and pixels
    try:
        # The base class's method: PNG's own decodes the whole image to look behind it.
        found = Image.getexif(image).get(_ORIENTATION, 1)
        return int(found) if found in range(1, 9) else 1
    except Exception:  # noqa: BLE001 - hostile metadata raises nearly anything, and the pixels are still good
        return 1


def turn(image: "Image.Image", orientation: int) -> "Image.Image":
    """Make an image upright that is stored in one of the eight EXIF orientations."""
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


def raster_of(image: "Image.Image", facts: Facts) -> Raster:
    """Read the rows of an image that Pillow has loaded; `facts` are of samples of more than 8 bits."""
    width, height = image.size

    def crop(top: int, bottom: int) -> "Image.Image":
        return image.crop((0, top, width, bottom))

    if image.mode.startswith("I;16") or image.mode in {"I", "F"}:
        import numpy as np

        clear = image.info.get("transparency")
        read = raster_of_samples(lambda top, bottom: np.asarray(crop(top, bottom)), (width, height), facts)
        return _with_clear(read, crop, clear) if isinstance(clear, int) else read
    alpha = image.has_transparency_data
    if image.mode == "RGB" and not alpha:
        return Raster(width, height, crop, whole=image)
    modes = {"1": "L", "L": "LA" if alpha else "L", "LA": "LA", "La": "LA"}
    mode = modes.get(image.mode, "RGBA" if alpha else "RGB")
    return Raster(width, height, lambda top, bottom: crop(top, bottom).convert(mode))


def raster_of_samples(read: "Callable[[int, int], Samples]", size: tuple[int, int], facts: Facts) -> Raster:
    """Make rows of samples, of shape (rows, width) or (rows, width, 3 or 4 channels), those of 8-bit images.

    `read` gives the samples of the rows from the first to the second number. Pixels without data become transparent.
    """
    import numpy as np
    from PIL import Image

    width, height = size
    edges = [(top, min(top + _BAND, height)) for top in range(0, height, _BAND)]
    scale = measure((_shades_of(read(*edge)) for edge in edges), width * height, facts)
    bands = (read(*edge) for edge in edges)
    opaque = max((int(band[..., 3].max()) for band in bands if band.shape[2:] == (4,)), default=1)

    def rows(top: int, bottom: int) -> "Image.Image":
        samples = read(top, bottom)
        shades = scale.grey(_shades_of(samples))
        if samples.shape[2:] == (4,):
            alpha = samples[..., 3:].astype(np.float32) * (255 / max(opaque, 1))
            return Image.fromarray(np.concatenate([shades, alpha.astype(np.uint8)], axis=2))
        if samples.ndim == 2 and (scale.empty or samples.dtype.kind == "f"):  # noqa: PLR2004 - grey
            alpha = np.where(scale.has_data(samples), np.uint8(255), np.uint8(0))
            return Image.fromarray(np.stack([shades, alpha], axis=2))
        return Image.fromarray(np.ascontiguousarray(shades))

    return Raster(width, height, rows, scale.notes)


def _shades_of(samples: "Samples") -> "Samples":
    """Leave out the alpha channel."""
    return samples[..., :3] if samples.ndim > 2 else samples  # noqa: PLR2004 - it has channels


def flatten(
    raster: Raster, size: tuple[int, int], bounds: tuple[float, float] | None = None
) -> "tuple[Image.Image, tuple[str, ...]]":
    """Bring rows to opaque RGB of a size; the notes say what was put behind transparent pixels.

    Rows are made opaque and resized band by band: a few kilobytes can hold a hundred million pixels, and each copy of
    all of them takes 400 MB.

    Args:
        raster: The decoded image.
        size: Width and height of the result in pixels, at most those of the raster.
        bounds: Width and height in pixels of the raster that make the result; the raster's own, if it is left out.
    """
    from PIL import Image

    if raster.whole is not None and raster.whole.size == size:
        # A new image without the file and the metadata. Pillow's public methods copy the pixels, 400 MB of a large one.
        return raster.whole._new(raster.whole.im), raster.notes  # noqa: SLF001
    ground: int | None = _WHITE
    notes = raster.notes
    if raster.rows(0, 1).mode in {"LA", "RGBA"}:
        ground = _ground_for(raster)
        notes += {
            None: ("its alpha is 0 everywhere and was ignored",),
            _BLACK: ("its transparent parts are shown black, as what borders on them is light",),
            _GREY: ("its transparent parts are shown grey, as what borders on them is light and dark",),
        }.get(ground, ())
    flat = Image.new("RGB", size)
    for top, band in _resized_bands(raster, size, bounds or (raster.width, raster.height), ground):
        flat.paste(band.convert("RGB"), (0, top))
    return flat, notes


def _resized_bands(
    raster: Raster, size: tuple[int, int], bounds: tuple[float, float], ground: int | None
) -> "Iterator[tuple[int, Image.Image]]":
    """Give the rows of the result in bands, each after the number of its first row."""
    from PIL.Image import Resampling

    factor = max(1, min(raster.width // size[0], raster.height // size[1]) // 2)
    width, height = bounds[0] / factor, bounds[1] / factor
    scale = height / size[1]
    # Each row of the result is made of the rows of the raster around it.
    margin = 0 if (width, height) == size else math.ceil(_BICUBIC_REACH * max(1.0, scale)) + 1
    count = math.ceil(raster.height / factor)
    rows = max(_LEAST_ROWS, math.ceil(_BAND / (scale * factor)))
    for top in range(0, size[1], rows):
        bottom = min(top + rows, size[1])
        first, last = max(0, math.floor(top * scale) - margin), min(count, math.ceil(bottom * scale) + margin)
        band = _opaque(raster.rows(first * factor, min(last * factor, raster.height)), ground).reduce(factor)
        box = (0, top * scale - first, width, min(bottom * scale - first, band.height))
        yield top, band.resize((size[0], bottom - top), Resampling.BICUBIC, box=box)


def _opaque(band: "Image.Image", ground: int | None) -> "Image.Image":
    from PIL import Image

    mode = {"LA": "L", "RGBA": "RGB"}.get(band.mode)
    if mode is None:
        return band
    if ground is None:
        return band.convert(mode)
    opaque = Image.new(mode, band.size, ground if mode == "L" else (ground,) * 3)
    opaque.paste(band.convert(mode), mask=band.getchannel("A"))
    return opaque


def _with_clear(raster: Raster, crop: "Callable[[int, int], Image.Image]", clear: int) -> Raster:
    """Make the one grey transparent that a PNG of 16 bits names."""
    import numpy as np
    from PIL import Image

    def rows(top: int, bottom: int) -> "Image.Image":
        alpha = np.where(np.asarray(crop(top, bottom)) == clear, np.uint8(0), np.uint8(255))
        return Image.merge("LA", (raster.rows(top, bottom).convert("L"), Image.fromarray(alpha)))

    return Raster(raster.width, raster.height, rows, raster.notes)


def _ground_for(raster: Raster) -> int | None:
    """Choose the shade to put behind an image with alpha.

    White, unless what borders on transparent pixels is so light that it would vanish there; then black, and grey
    where black hides more. None where no pixel is visible at all: such an image was saved with an unused alpha.
    """
    import numpy as np

    step = max(1, raster.width * raster.height // _MOST_PIXELS)
    borders: list[NDArray[np.uint8]] = []
    inner: list[NDArray[np.uint8]] = []
    greatest = 0
    for band in raster.bands():
        shade, alpha = np.moveaxis(np.asarray(band.convert("LA")), 2, 0)
        greatest = max(greatest, int(alpha.max()))
        shade, alpha = shade[::step], alpha[::step]
        borders += _borders(shade, alpha >= _VISIBLE)
        inner.append(shade[(alpha > 0) & (alpha < 255)][:_MOST_PIXELS])  # noqa: PLR2004 - opaque ones need no ground
    if not greatest:
        return None
    shades = np.concatenate(borders)
    return _contrasting(shades if shades.size else np.concatenate(inner))


def _borders(shade: "NDArray[np.uint8]", visible: "NDArray[np.bool_]") -> "list[NDArray[np.uint8]]":
    """Return the shades of visible pixels that have a transparent neighbour, in rows and in columns."""
    import numpy as np

    found = []
    for grey, shown in ((shade, visible), (shade.T, visible.T)):
        edge = shown[:, 1:] != shown[:, :-1]
        found.append(np.where(shown[:, 1:], grey[:, 1:], grey[:, :-1])[edge])
    return found


def _contrasting(shades: "NDArray[np.uint8]") -> int:
    import numpy as np

    if not shades.size:
        return _WHITE
    grounds, grey = (_WHITE, _BLACK, _GREY), shades.astype(int)
    hidden = {ground: float(np.mean(np.abs(grey - ground) < _ALIKE)) for ground in grounds}
    return next((ground for ground in grounds if hidden[ground] <= _FEW), min(grounds, key=hidden.__getitem__))
