"""Images that OpenCV decodes better than Pillow: samples of more than 8 bits, still WebP, and BMP with runs."""

from typing import TYPE_CHECKING, Any

from dinox_mcp.images.depth import Facts
from dinox_mcp.images.pixels import Raster, raster_of_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image
    from PIL.ImageFile import ImageFile

    from dinox_mcp.images.tiff import Samples

_ANIMATED = 0x02
_RUNS = {1, 2}
_SHORT = 16
_MOST_DEEP = 50_000_000
"""Pixels up to which all 16 bits are decoded: of a hundred million they took 1.7 GB and 14 seconds."""


def tiff_samples(image: "ImageFile") -> "Samples | None":
    """Return how a TIFF is stored that Pillow does not decode."""
    samples: Samples | None = getattr(image, "samples", None)  # importing `Tiff` to check for it imports Pillow
    return samples


def is_deep_colour(image: "ImageFile") -> bool:
    """Return whether an image has samples that Pillow does not know, or of which it keeps the upper 8 bits only."""
    return tiff_samples(image) is not None or _has_16_bit_colour(image)


def is_too_deep(image: "ImageFile") -> bool:
    """Return whether an image is so large that only the upper 8 of its 16 bits are decoded."""
    return _has_16_bit_colour(image) and tiff_samples(image) is None and image.width * image.height > _MOST_DEEP


def _has_16_bit_colour(image: "ImageFile") -> bool:
    if image.format not in {"PNG", "TIFF"} or not image.tile:
        return False
    arguments = image.tile[0].args
    raw = arguments[0] if isinstance(arguments, tuple) else arguments
    return isinstance(raw, str) and raw.startswith(("RGB;16", "RGBX;16", "RGBA;16", "LA;16"))


def opencv_raster(image: "ImageFile", data: bytes, size: tuple[int, int], facts: Facts) -> Raster | None:
    """Decode with OpenCV what it decodes better, at no less than a size; None leaves it to Pillow.

    Pillow drops the lower 8 of 16 bits, takes 15 bytes a pixel of WebP instead of 4 to 7, and unpacks the runs of a BMP
    in Python, at a million pixels a second.

    Raises:
        ValueError: OpenCV cannot read it, and Pillow should not.
    """
    stored = tiff_samples(image)
    if stored or (is_deep_colour(image) and not is_too_deep(image)):
        return _deep_raster(_decode(data), image, stored, facts)
    if _is_still_webp(image, data) or (image.format == "BMP" and image.info.get("compression") in _RUNS):
        samples = _decode(data, 1 if image.mode == "RGBA" else _reduction(image, size))
        if samples is None:
            raise ValueError("its pixels cannot be read")
        return _raster_of_bytes(samples)
    return None


def _deep_raster(
    samples: "NDArray[Any] | None", image: "ImageFile", stored: "Samples | None", facts: Facts
) -> Raster | None:
    import numpy as np

    if samples is None or samples.shape[1::-1] != image.size or (samples.dtype.kind != "u" and not stored):
        if stored:
            raise ValueError("its pixels cannot be read")
        return None
    if image.format == "TIFF" and image.mode == "RGB":
        samples = samples[..., :3]  # a fourth band that is not called alpha may be infrared
    deep, is_float = samples, stored is not None and samples.dtype != np.uint16
    if stored and not is_float and stored.bits < _SHORT:
        deep >>= _SHORT - stored.bits  # OpenCV puts packed bits into the upper ones

    def read(top: int, bottom: int) -> "NDArray[Any]":
        with np.errstate(over="ignore"):
            return _rgb(deep[top:bottom]).astype(np.float32 if is_float else deep.dtype, copy=False)

    return raster_of_samples(read, image.size, facts)


def _decode(data: bytes, reduction: int = 1) -> "NDArray[Any] | None":
    import cv2
    import numpy as np

    flags = {
        1: cv2.IMREAD_UNCHANGED,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[reduction]
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None


def _reduction(image: "ImageFile", size: tuple[int, int]) -> int:
    """Choose by how much a WebP may be reduced while it is decoded, and stays as large as it is needed."""
    if image.format != "WEBP":
        return 1
    return next((by for by in (8, 4, 2) if image.width // by >= size[0] and image.height // by >= size[1]), 1)


def _is_still_webp(image: "ImageFile", data: bytes) -> bool:
    return image.format == "WEBP" and not (data[12:16] == b"VP8X" and data[20] & _ANIMATED)


def _raster_of_bytes(samples: "NDArray[Any]") -> Raster:
    from PIL import Image

    def rows(top: int, bottom: int) -> "Image.Image":
        return Image.fromarray(_rgb(samples[top:bottom]))

    return Raster(samples.shape[1], samples.shape[0], rows)


def _rgb(samples: "NDArray[Any]") -> "NDArray[Any]":
    """Put the channels into Pillow's order."""
    import numpy as np

    if samples.ndim == 2:  # noqa: PLR2004 - grey
        return samples
    return np.ascontiguousarray(samples[..., [2, 1, 0, 3][: samples.shape[2]]])
