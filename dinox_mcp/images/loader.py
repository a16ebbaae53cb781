"""The one place where an `image` argument becomes an image."""

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

from dinox_mcp.images.files import read_file
from dinox_mcp.images.picture import Picture
from dinox_mcp.images.sources import parse_source, read_data_uri
from dinox_mcp.images.urls import Resolver, system_resolver
from dinox_mcp.images.web import WebFetcher
from dinox_mcp.settings import Settings

T = TypeVar("T")
_THREADS, _LARGE_THREADS = 8, 2
_LARGE = 16_000_000
"""Images with more pixels are examined in separate threads, so that they do not delay others."""


class ImageLoader:
    """Loads images from files, the web and data: URIs, as far as the settings allow.

    `resolve` resolves host names; a test passes its own. The loader has its own threads: a disk or a name server
    that hangs delays images, and nothing else.
    """

    def __init__(self, settings: Settings, *, resolve: Resolver | None = None) -> None:
        self._settings = settings
        self._threads = anyio.CapacityLimiter(_THREADS)
        self._large_threads = anyio.CapacityLimiter(_LARGE_THREADS)
        self._web = WebFetcher(settings, resolve or system_resolver(anyio.CapacityLimiter(_THREADS)))

    async def load(self, source: str) -> Picture:
        """Load the image that an `image` argument points to; its size is known then, its pixels wait.

        Raises:
            ImageError: it does not exist, does not arrive, or is not an image.
            ForbiddenError: it may not be read: its folder, address or size.
            BusyError: it has to be decoded for its notes, and too many images are being decoded at once.
        """
        settings = self._settings
        found = await self._in_thread(lambda: parse_source(source))
        match found.kind:
            case "web":
                data, name = await self._web.fetch(found.address)
            case "data":
                data, name = await self._in_thread(lambda: read_data_uri(found.address, settings.max_image_bytes))
            case "file":
                data, name = await self._in_thread(lambda: read_file(found.address, settings))
        picture = await self._in_thread(lambda: _picture(data, name, settings.max_image_pixels))
        is_large = picture.width * picture.height > _LARGE
        await self._in_thread(lambda: picture.notes, self._large_threads if is_large else None)
        return picture

    async def aclose(self) -> None:
        """Close the connections that are still open."""
        await self._web.aclose()

    async def _in_thread(self, work: Callable[[], T], limiter: anyio.CapacityLimiter | None = None) -> T:
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter or self._threads)


def _picture(data: bytes, name: str, max_pixels: int) -> Picture:
    picture = Picture.from_bytes(data, name, max_pixels=max_pixels)
    _ = picture.digest  # computed here, off the event loop, and kept; so are the notes
    return picture
