"""Files of a batch by their addresses: on this machine, on the web, or in an object store."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePath
from threading import Lock
from typing import BinaryIO, Self
from urllib.parse import quote

from dinox_mcp.batch.sources import Entry, canonical
from dinox_mcp.batch.stores import PACKAGES, Stores
from dinox_mcp.batch.web_files import WebFiles
from dinox_mcp.errors import ForbiddenError, ImageError
from dinox_mcp.images.files import open_file, read_file
from dinox_mcp.images.sources import MAX_ADDRESS, shorten
from dinox_mcp.settings import Settings

WEB = ("http", "https")


def scheme_of(address: str) -> str:
    """Return the scheme of an address on the web or in a store; empty for a path on this machine, and for others."""
    scheme, separator, _ = address.partition("://")
    return scheme.lower() if separator and scheme.lower() in {*WEB, *PACKAGES} else ""


def suffix_of(address: str) -> str:
    """Return the ending of an address's last part in lower case, without the query of a URL."""
    path = address.partition("?")[0] if scheme_of(address) in WEB else address
    return PurePath(path).suffix.lower()


class Files:
    """Opens, reads and lists files. Its methods block: call them in threads, which may share it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stores = Stores()
        self._web_files: WebFiles | None = None
        self._opening = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._web_files is not None:
            self._web_files.close()

    def open(self, address: str) -> BinaryIO:
        """Open a file that holds many images, or names them.

        Raises:
            DinoxError: it does not exist or arrive, or the settings do not allow it.
        """
        scheme = scheme_of(address)
        if scheme in WEB:
            return self._web.open(address)
        if scheme:
            return self._stores.open(address)
        return open_file(address, self._settings, "file", {suffix_of(address)})[0]

    def read(self, address: str) -> bytes:
        """Read an image.

        Raises:
            DinoxError: it does not exist or arrive, or is too large, or the settings do not allow it.
        """
        scheme = scheme_of(address)
        if scheme in WEB:
            return self._web.read(address)
        if scheme:
            return self._stores.read(address, self._settings.max_image_bytes)
        return read_file(address, self._settings)[0]

    def list(self, prefix: str) -> Iterator[Entry]:
        """Give all files below a prefix on the web or in a store.

        Raises:
            DinoxError: it cannot be listed.
        """
        if scheme_of(prefix) in WEB:
            return (Entry(url) for url in self._web.list(prefix))
        return self._stores.list(prefix)

    def stamp(self, address: str, file: BinaryIO) -> str:
        """Give what changes when an open file does.

        Raises:
            DinoxError: it cannot be found out.
        """
        scheme = scheme_of(address)
        if scheme in WEB:
            first = self._web.part(address, 0, 1)
            return f"{first.size}-{first.version}"
        if scheme:
            return self._stores.stamp(address)
        status = os.fstat(file.fileno())
        return f"{status.st_size}-{status.st_mtime_ns}"

    @property
    def _web(self) -> WebFiles:
        with self._opening:
            if self._web_files is None:
                self._web_files = WebFiles(self._settings)
            return self._web_files


def beside(container: str, path: str) -> str:
    """Write the address that a file of many images names: what is not a full address begins at the file's folder.

    Raises:
        InputError: it is not the address of an image.
    """
    if len(path) > MAX_ADDRESS:
        raise ImageError(f"'{shorten(path)}' is too long for a path; correct it")
    if scheme_of(path):
        return path
    scheme = scheme_of(container)
    if not scheme:
        is_full = path.startswith("~") or ":" in path.partition("/")[0]
        return canonical(path if is_full else str(Path(container).parent / path))
    return f"{container.partition('?')[0].rpartition('/')[0]}/{quote(path) if scheme in WEB else path}"


def check_elsewhere(container: str, path: str) -> None:
    """Refuse a path in a file on the web or in a store that is neither below the file's folder nor a URL.

    Whoever wrote that file must not choose files of this machine.

    Raises:
        ForbiddenError: it is not.
    """
    first, *others = path.replace("\\", "/").split("/")
    is_full = not first or ".." in (first, *others) or ":" in first or first.startswith("~")
    if is_full and scheme_of(container) and not scheme_of(path):
        raise ForbiddenError(
            f"'{shorten(container)}' names '{shorten(path)}', and a file from elsewhere may only name URLs and files "
            "below its own folder; download it and correct the path"
        )
