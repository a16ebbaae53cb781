"""The image that is sent: small, upright, without metadata; and how its pixels map to the original's."""

import base64
import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cachetools import LRUCache

from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import MiB
from dinox_mcp.types import boxes
from dinox_mcp.types.boxes import Box

if TYPE_CHECKING:
    from PIL import Image


MAX_BASE64 = 496_000
"""The most characters of an image in a request, so that the request stays below 500,000 bytes."""
USUAL_SIDE = 1536
"""The long side in pixels to which the service shrinks images before it detects objects."""
MAX_BASE64_LARGE = 12_000_000
"""The most characters of an image that is sent larger than that, so that small text in it can be read."""
LOWEST_QUALITY = 60
_QUALITY_STEP = 6
_PIXELS_ONLY = {"APP0", "APP14"}
"""Markers of a JPEG that only say how to read its pixels, nothing of location, time or camera: JFIF and Adobe."""


@dataclass(frozen=True)
class Upload:
    """A JPEG as a data: URI, and its size in pixels."""

    uri: str = field(repr=False)
    width: int
    height: int


class Uploads:
    """A cache of uploads, of at most `max_bytes`, so that each image is shrunk and encoded once.

    The service cannot refer to an image that it was sent before: every task carries its images anew. The detection
    of objects and their description share an upload from here.
    """

    def __init__(self, max_bytes: int = 8 * MiB) -> None:
        self._kept: LRUCache[tuple[str, int, int], Upload] = LRUCache(max_bytes, getsizeof=lambda one: len(one.uri))
        self._lock = threading.Lock()

    def get(self, picture: Picture, max_side: int, quality: int) -> Upload:
        """Return the upload of an image, see `shrink`. Slow: call it in a thread."""
        key = picture.digest, min(max_side, max(picture.width, picture.height)), quality
        with self._lock:
            upload = self._kept.get(key)
        if upload is None:
            upload = shrink(picture, max_side, quality)
            with self._lock:
                if len(upload.uri) <= self._kept.maxsize:
                    self._kept[key] = upload
        return upload


def shrink(picture: Picture, max_side: int, quality: int) -> Upload:
    """Make a JPEG with a long side of at most `max_side` pixels, at a lower quality if that is needed to keep it small.

    The lowest quality is 60. A small JPEG is sent as it is if it is upright, has no metadata, and would be larger if
    it were encoded again. Slow: call it in a thread.

    Raises:
        ImageError: the image is damaged.
    """
    rgb = picture.rgb(max_side)
    data = _encode(rgb, quality)
    most = MAX_BASE64 if max(rgb.size) <= USUAL_SIDE else MAX_BASE64_LARGE
    while len(data) * 4 / 3 > most and quality > LOWEST_QUALITY:
        quality = max(quality - _QUALITY_STEP, LOWEST_QUALITY)
        data = _encode(rgb, quality)
    if len(picture.data) < len(data) and rgb.size == (picture.width, picture.height) and _is_plain(picture):
        data = picture.data
    return Upload(f"data:image/jpeg;base64,{base64.b64encode(data).decode()}", *rgb.size)


def _encode(rgb: "Image.Image", quality: int) -> bytes:
    buffer = io.BytesIO()
    rgb.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _is_plain(picture: Picture) -> bool:
    """Tell whether the bytes are an RGB JPEG without EXIF, so without rotation, location and time."""
    if picture.format != "JPEG" or picture.notes:  # a truncated one is encoded again
        return False
    from PIL import Image

    with Image.open(io.BytesIO(picture.data), formats=["JPEG"]) as image:
        return image.mode == "RGB" and {marker for marker, _ in getattr(image, "applist", ())} <= _PIXELS_ONLY


@dataclass(frozen=True, slots=True)
class Frames:
    """Maps boxes between the pixels of an image and of its upload; sizes are (width, height) in pixels."""

    size: tuple[int, int]
    sent: tuple[int, int]

    @classmethod
    def of(cls, picture: Picture, upload: Upload) -> "Frames":
        """Take the sizes of an image and its upload."""
        return cls((picture.width, picture.height), (upload.width, upload.height))

    @property
    def factors(self) -> tuple[float, float]:
        """How many times larger the image is than its upload, in x and in y."""
        return self.size[0] / self.sent[0], self.size[1] / self.sent[1]

    def to_original(self, bbox: Sequence[float]) -> Box:
        """Map a box of the upload to the image, clipped to it."""
        return boxes.clip(boxes.scale(bbox, *self.factors), *self.size)

    def to_upload(self, bbox: Sequence[float]) -> Box:
        """Map a box of the image to the upload, clipped to it."""
        factor_x, factor_y = self.factors
        return boxes.clip(boxes.scale(bbox, 1 / factor_x, 1 / factor_y), *self.sent)
