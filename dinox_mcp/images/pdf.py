"""Pages of PDFs as images: rendered by another process, as `pdf_page.py` says."""

import json
import math
import os
import sys
from typing import Any, NamedTuple

from dinox_mcp.errors import ForbiddenError, ImageError
from dinox_mcp.images import pdf_page, process
from dinox_mcp.images.budget import Slots
from dinox_mcp.images.formats import sniff
from dinox_mcp.images.sources import MIN_DPI, Page
from dinox_mcp.settings import Settings

_MAX_PIXELS = 40_000_000  # of a rendered page: A0 at 150 dots an inch has 35 million
_LIMIT_S = 30  # for a page
_AT_ONCE = 2
_HEAD = 10_000  # bytes beside the pixels: the facts, and what a PNG has of its own
_START = 1024  # bytes in which a PDF must begin: some programs write something before it
_OTHER_PAGE = "pass another page, a lower dpi as in #page=1&dpi=72, or an image of the page"


class RenderedPage(NamedTuple):
    """A page as a PNG, and what a caller should know of it."""

    data: bytes
    number: int
    note: str
    pixels_per_point: float


def is_pdf(data: bytes) -> bool:
    """Return whether bytes begin like a PDF, and not like an image that has such bytes in it."""
    return b"%PDF-" in data[:_START] and sniff(data) is None


class PdfRenderer:
    """Renders pages of PDFs, few at a time."""

    def __init__(self, settings: Settings, limit_s: float = _LIMIT_S) -> None:
        self._max_pixels = min(settings.max_image_pixels, _MAX_PIXELS)
        self._limit_s = limit_s
        busy = "too many pages of PDFs are being rendered at once; try again in a while"
        self._slots = Slots(_AT_ONCE, 2 * limit_s, busy)

    async def render(self, data: bytes, source: str, page: Page | None) -> RenderedPage:
        """Render a page; by default the first.

        Args:
            data: the PDF.
            source: its name in messages.
            page: which page, and how large.

        Raises:
            ImageError: the PDF is damaged or encrypted, or has no such page.
            ForbiddenError: the page would have too many pixels, or takes too long.
            BusyError: too many pages are being rendered.
        """
        chosen = page or Page()
        async with self._slots.taken():
            facts, image = await self._run(data, source, chosen)
        self._check(facts, source, chosen)
        pages, scale = facts["pages"], chosen.dpi / pdf_page.POINTS
        others = "; another page: add #page=2 to the image" if pages > 1 and page is None else ""
        note = f"page {chosen.number} of {pages} of a PDF at {chosen.dpi} dpi, {scale:.4g} pixels a PDF point{others}"
        return RenderedPage(image, chosen.number, note, scale)

    async def _run(self, data: bytes, source: str, page: Page) -> tuple[dict[str, Any], bytes]:
        numbers = (page.number, page.dpi, self._max_pixels, math.ceil(self._limit_s))
        # -P: modules of the working folder are not imported.
        command = [sys.executable, "-P", pdf_page.__file__, *map(str, numbers)]
        # A process that reads hostile bytes gets no keys.
        env = {name: value for name, value in os.environ.items() if not name.upper().startswith("DINOX_")}
        most = 4 * self._max_pixels + _HEAD
        try:
            done = await process.run(command, limit_s=self._limit_s, max_bytes=most, stdin=data, env=env)
        except TimeoutError:
            reason = f"takes more than {self._limit_s:g} s to render"
            raise ForbiddenError(f"page {page.number} of {source} {reason}; {_OTHER_PAGE}") from None
        except OSError as error:
            raise ImageError(
                f"{source} is a PDF, and no process can be started for it ({error.strerror}); pass an image of the page"
            ) from None
        line, _, image = done.output.partition(b"\n")
        try:
            facts: dict[str, Any] = json.loads(line)
        except ValueError:  # it ended in the middle: PDFium crashed, or the limits on memory or time ended it
            reason = f"cannot be rendered (the renderer ended with status {done.status})"
            raise ImageError(f"page {page.number} of {source} {reason}; {_OTHER_PAGE}") from None
        return facts, image

    def _check(self, facts: dict[str, Any], source: str, page: Page) -> None:
        """Explain why there is no image."""
        match facts.get("error"):
            case None:
                return
            case "password":
                raise ImageError(f"{source} is encrypted; pass a PDF without a password, or an image of the page")
            case "page":
                pages = facts["pages"]
                there = "only page 1" if pages == 1 else f"pages 1 to {pages}"
                raise ImageError(f"{source} has no page {page.number}; it has {there}, as in #page={pages}")
            case "large":
                width, height = (float(facts[side]) / pdf_page.POINTS for side in ("width", "height"))
                fits = int(math.sqrt(self._max_pixels / (width * height)) * 0.99)
                remedy = f"pass #page={page.number}&dpi={fits}" if fits >= MIN_DPI else "pass a smaller page"
                raise ForbiddenError(
                    f"page {page.number} of {source} would have {width * page.dpi:.0f}x{height * page.dpi:.0f} pixels "
                    f"at {page.dpi} dpi, more than the {self._max_pixels:,} allowed; {remedy}"
                )
            case "empty":
                raise ImageError(f"page {page.number} of {source} has no area; pass another page")
            case _:
                raise ImageError(f"{source} begins like a PDF but is damaged; pass an intact file")
