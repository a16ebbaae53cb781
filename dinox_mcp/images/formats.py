"""The image formats that are read: recognized by their first bytes, opened by their own decoder only."""

import io
import threading
import warnings
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, cast

from dinox_mcp.errors import ForbiddenError, ImageError
from dinox_mcp.images.structure import check_structure, without_metadata

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

    from dinox_mcp.images.tiff import Tiff

READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif"}
    | {".heic", ".heif"}
)
READABLE_SUFFIXES = SUFFIXES | {".pdf"}

# Decoders are named one by one, so that Pillow never tries EPS, PSD or another format on hostile bytes.
_DECODERS = {
    "JPEG": (("PIL.JpegImagePlugin", "JpegImageFile"),),
    "PNG": (("PIL.PngImagePlugin", "PngImageFile"),),
    "WEBP": (("PIL.WebPImagePlugin", "WebPImageFile"),),
    "GIF": (("PIL.GifImagePlugin", "GifImageFile"),),
    "BMP": (("PIL.BmpImagePlugin", "BmpImageFile"),),
    "TIFF": (("dinox_mcp.images.tiff", "Tiff"),),
    "AVIF": (("PIL.AvifImagePlugin", "AvifImageFile"),),
    "HEIF": (("pillow_heif", "HeifImageFile"), ("pi_heif", "HeifImageFile")),
}
_BEGINNINGS: dict[str, bytes | tuple[bytes, ...]] = {
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": b"BM",
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}


def sniff(data: bytes) -> str | None:
    """Name the format that the bytes begin like, or None if they are not an image."""
    for name, beginning in _BEGINNINGS.items():
        if data.startswith(beginning):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        end = min(int.from_bytes(data[:4]), 256)
        brands = {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEIF_BRANDS:
            return "HEIF"
    return None


def open_picture(data: bytes, source: str) -> "ImageFile":
    """Read the header of an encoded image; the pixels wait for `load()`.

    Raises:
        ImageError: the bytes are not an image of a format that is read here, or a TIFF with samples that are not.
        ForbiddenError: the bytes are built to keep a decoder busy.
    """
    name = sniff(data)
    if name is None:
        raise ImageError(f"{source} is not an image; pass a {READABLE} file")
    check_structure(data, name, source)
    decoder = _decoder(name, source)
    from PIL.Image import DecompressionBombError

    if name == "PNG":
        data = without_metadata(data)
    try:
        with silence:
            image = decoder(io.BytesIO(data))
    except DecompressionBombError:
        raise ForbiddenError(f"{source} has more pixels than any decoder takes; pass a smaller image") from None
    except Exception:  # noqa: BLE001 - decoders raise nearly anything on hostile bytes, and quote them
        raise ImageError(
            f"{source} begins like a {name} image but its header is damaged; pass an intact file"
        ) from None
    if name == "TIFF":
        cast("Tiff", image).check(source)
    return image


def _decoder(name: str, source: str) -> "type[ImageFile]":
    for module, decoder in _DECODERS[name]:
        with suppress(ImportError):
            found: type[ImageFile] = getattr(import_module(module), decoder)
            return found
    raise ImageError(
        f"{source} is a HEIC image, which needs one more package; pip install pi-heif, or convert the image to JPEG"
    )


class _Silence:
    """Keeps Pillow's warnings from the user while any thread decodes.

    The first thread to enter sets the filter and the last to leave removes it, as filters are of the whole process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.|pi_heif|pillow_heif")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.__exit__(None, None, None)


silence = _Silence()
