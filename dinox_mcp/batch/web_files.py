"""Files of a batch on the web: read in parts, and listed from the index pages that web servers make of folders.

They are fetched as single images are: from the public internet only, unless the settings name other hosts. The command
line could trust a URL that its user wrote; but a page or a file may lead to any other address, so the rules hold here.
"""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urldefrag, urljoin

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from dinox_mcp.errors import ForbiddenError, ImageError, InputError, ServiceError
from dinox_mcp.images.sources import MAX_ADDRESS, shorten
from dinox_mcp.images.urls import system_resolver
from dinox_mcp.images.web import WebFetcher, body_of, refused
from dinox_mcp.settings import MiB, Settings

if TYPE_CHECKING:
    import httpx2

PART = 4 * MiB
_PAGE = 16 * MiB
_MOST_PAGES = 1000
_PARTIAL, _OK = 206, 200
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_THREADS = 4


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file: its bytes, the bytes of the complete file, and what names the file's version."""

    data: bytes
    size: int
    version: str


class WebFiles:
    """Files behind https:// URLs (and http:// where the settings allow it). Its methods block: call them in threads.

    Raises:
        ImageError: a file may not be fetched, or does not arrive; each method may raise it.
        ServiceError: a part of a file does not arrive.
    """

    def __init__(self, settings: Settings) -> None:
        self._fetcher = WebFetcher(settings, system_resolver(anyio.CapacityLimiter(_THREADS)))
        self._stack = ExitStack()
        # Requests need an event loop, and the callers are threads of any kind.
        self._portal: BlockingPortal = self._stack.enter_context(start_blocking_portal())

    def close(self) -> None:
        """Close the connections."""
        self._portal.call(self._fetcher.aclose)
        self._stack.close()

    def read(self, address: str) -> bytes:
        """Fetch an image."""
        return self._portal.call(self._fetcher.fetch, address)[0]

    def open(self, address: str) -> BinaryIO:
        """Open a file that is fetched in parts, as far as it is read."""
        first = self.part(address, 0, 1)

        def fetch(begin: int, size: int) -> bytes:
            part = self.part(address, begin, size)
            if (part.size, part.version) != (first.size, first.version):
                raise ServiceError(f"{shorten(address)} was changed while it was read; start again")
            return part.data

        return fetched_file(first.size, fetch)

    def part(self, address: str, begin: int, size: int) -> Part:
        """Fetch a part of a file."""
        headers = {"Accept": "*/*", "Range": f"bytes={begin}-{begin + size - 1}"}

        async def read(response: "httpx2.Response", shown: str) -> Part:
            if response.status_code == _OK:
                raise ImageError(f"{shown} is not sent in parts; download it and pass its path")
            sent = _RANGE.fullmatch(response.headers.get("content-range", ""))
            if response.status_code != _PARTIAL or sent is None or int(sent[1]) != begin:
                raise refused(response.status_code, shown)
            data = await body_of(response, size)
            if data is None or len(data) != int(sent[2]) - begin + 1:
                raise ImageError(f"{shown} sent another part than was requested; download it and pass its path")
            version = response.headers.get("etag") or response.headers.get("last-modified") or ""
            return Part(data, int(sent[3]), version)

        try:
            return self._portal.call(self._fetcher.get, address, read, headers)
        except ForbiddenError:
            raise
        except ImageError as error:
            raise ServiceError(str(error)) from None

    def list(self, folder: str) -> Iterator[str]:
        """Give the URLs of all files below a folder, as its index page and those of the folders in it link to them.

        Raises:
            InputError: there are too many folders.
        """
        waiting, seen, pages = [folder], {folder}, 1
        while waiting:
            page = waiting.pop()
            for link in sorted(self._links(page)):
                if not link.startswith(folder) or link in seen or len(link) > MAX_ADDRESS:
                    continue  # the folder above, or another site
                seen.add(link)
                if not link.endswith("/"):
                    yield link
                    continue
                waiting.append(link)
                pages += 1
                if pages > _MOST_PAGES:  # a server may link to ever deeper folders
                    raise InputError(f"{shorten(folder)} has more than {_MOST_PAGES:,} folders; pass one of them")

    def _links(self, page: str) -> set[str]:
        """List where a page links to, without queries, which sort index pages."""
        parser = _Links()
        parser.feed(self._portal.call(self._fetcher.get, page, _read_page, {"Accept": "text/html"}))
        links = (urldefrag(urljoin(page, link))[0] for link in parser.found)
        return {link for link in links if "?" not in link}


async def _read_page(response: "httpx2.Response", shown: str) -> str:
    if response.status_code != _OK:
        raise refused(response.status_code, shown)
    if "html" not in response.headers.get("content-type", ""):
        raise ImageError(f"{shown} is not a page that lists files; pass a folder with an index page, or one file")
    data = await body_of(response, _PAGE)
    if data is None:
        raise ForbiddenError(f"{shown} lists more files than are read from one page; pass a folder in it")
    return data.decode("utf-8", "replace")


class _Links(HTMLParser):
    """The addresses that a page links to, as they are written."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]


def fetched_file(size: int, fetch: Callable[[int, int], bytes]) -> BinaryIO:
    """Make a file of `size` bytes that is fetched in parts, as far as it is read.

    Args:
        size: the bytes of the file.
        fetch: returns so many bytes from a position on.
    """
    return io.BufferedReader(_FetchedFile(size, fetch), PART)


class _FetchedFile(io.RawIOBase):
    """A file of which each read is a request."""

    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self._size, self._fetch = size, fetch
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        data = self._fetch(self._at, wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
