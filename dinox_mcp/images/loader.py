"""The one place where an `image` argument becomes an image."""

from dataclasses import replace
from datetime import datetime
from functools import partial

import anyio
import anyio.to_thread

from dinox_mcp.errors import ForbiddenError, ImageError
from dinox_mcp.images.clipboard import read_clipboard
from dinox_mcp.images.files import read_file, read_newest
from dinox_mcp.images.pdf import PdfRenderer, is_pdf
from dinox_mcp.images.picture import Picture
from dinox_mcp.images.sources import CLIPBOARD, Page, parse_source, read_data_uri, shorten
from dinox_mcp.images.urls import Resolver, system_resolver
from dinox_mcp.images.web import WebFetcher
from dinox_mcp.settings import Settings

_THREADS, _LARGE_THREADS = 8, 2
_LARGE = 16_000_000
"""Images with more pixels are examined in separate threads, so that they do not delay others."""


class ImageLoader:
    """Loads images from files, the clipboard, the web and data: URIs, as far as the settings allow.

    `resolve` resolves host names; a test passes its own. The loader has its own threads: a disk or a name server
    that hangs delays images, and nothing else.
    """

    def __init__(self, settings: Settings, *, resolve: Resolver | None = None) -> None:
        self._settings = settings
        threads, large_threads = anyio.CapacityLimiter(_THREADS), anyio.CapacityLimiter(_LARGE_THREADS)
        self._in_thread = partial(anyio.to_thread.run_sync, abandon_on_cancel=True, limiter=threads)
        self._in_large_thread = partial(anyio.to_thread.run_sync, abandon_on_cancel=True, limiter=large_threads)
        self._pages = PdfRenderer(settings)
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
        origin = ""
        match found.kind:
            case "web":
                data, name = await self._web.fetch(found.address)
            case "data":
                data, name = await self._in_thread(lambda: read_data_uri(found.address, settings.max_image_bytes))
            case "file":
                data, name = await self._in_thread(lambda: read_file(found.address, settings))
            case "clipboard":
                data, name = await read_clipboard(settings)
                origin = f"taken from the clipboard at {_written(datetime.now().astimezone())}: {_shown(name)}"
            case "latest":
                data, name, changed = await self._in_thread(lambda: read_newest(found.address, settings))
                origin = f"the newest image of the folder is {_shown(name)}, changed at {_written(changed)}"
        return await self.read(data, name, found.page, origin)

    async def read(self, data: bytes, name: str, page: Page | None = None, origin: str = "") -> Picture:
        """Make an image of encoded bytes, or of a page of a PDF.

        Args:
            data: an encoded image, or a PDF.
            name: where it is, in messages and in results.
            page: the page of a PDF; by default the first.
            origin: what was taken; the size is added.

        Raises:
            ImageError: it is neither, or damaged, or has no such page.
            ForbiddenError: it has too many pixels, or is built to keep a decoder busy.
            BusyError: too many images are being decoded at once.
        """
        scale = None
        if is_pdf(data):  # by its first bytes
            rendered = await self._pages.render(data, shorten(name), page)
            data, name, scale = rendered.data, f"{name}#page={rendered.number}", rendered.pixels_per_point
            origin = ", ".join(filter(None, (origin, rendered.note)))
        elif page is not None:
            raise ImageError(f"{shorten(name)} is not a PDF and has no pages; leave #page={page.number} out")
        picture = await self._in_thread(lambda: _picture(data, name, self._settings.max_image_pixels, origin, scale))
        if picture.width * picture.height > _LARGE:
            await self._in_large_thread(lambda: picture.notes)
        return picture

    async def check(self, data: bytes, name: str) -> None:
        """Refuse bytes that are neither an image nor a PDF, or too many. The pages of a PDF are not rendered.

        Raises:
            ImageError: they are neither.
            ForbiddenError: they are too many, have too many pixels, or are built to keep a decoder busy.
        """
        settings = self._settings
        if len(data) > settings.max_image_bytes:
            raise ForbiddenError(
                f"{name} has {len(data):,} bytes, more than the {settings.max_image_bytes:,} allowed; "
                "send a smaller image or raise DINOX_MCP_MAX_IMAGE_BYTES"
            )
        if not is_pdf(data):
            await self._in_thread(lambda: Picture.from_bytes(data, name, max_pixels=settings.max_image_pixels))

    async def aclose(self) -> None:
        """Close the connections that are still open."""
        await self._web.aclose()


def _picture(data: bytes, name: str, max_pixels: int, origin: str, scale: float | None) -> Picture:
    picture = Picture.from_bytes(data, name, max_pixels=max_pixels)
    if origin:
        size = f"{picture.width}x{picture.height} pixels"
        picture = replace(picture, origin=f"{origin} ({size})", pixels_per_point=scale)
    _ = picture.digest  # computed here, off the event loop, and kept; so are the notes
    if picture.width * picture.height <= _LARGE:
        _ = picture.notes
    return picture


def _shown(name: str) -> str:
    return "an image" if name == CLIPBOARD else f"'{shorten(name)}'"


def _written(time: datetime) -> str:
    return time.isoformat(" ", "seconds")
