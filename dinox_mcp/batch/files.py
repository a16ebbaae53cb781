"""Files of a batch by their addresses: on this machine, on the web, or in an object store.

Object stores such as S3 are read through fsspec of the extra `batch` and a package for each store. Credentials are
those that the store's package finds by itself, in the environment or in its configuration.
"""

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePath
from threading import Lock
from typing import Any, BinaryIO, Self
from urllib.parse import quote

from dinox_mcp.batch.sources import Entry, canonical, check_size, reason_of
from dinox_mcp.batch.web_files import PART, WebFiles, fetched_file
from dinox_mcp.errors import DinoxError, ForbiddenError, ImageError, ServiceError, UnsupportedError
from dinox_mcp.images.files import open_file, read_file
from dinox_mcp.images.sources import MAX_ADDRESS, shorten
from dinox_mcp.settings import MiB, Settings
from dinox_mcp.store.files import open_regular
from dinox_mcp.types.extras import extras_command

WEB = ("http", "https")
PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "hf": "huggingface-hub",
    "memory": "fsspec",
}
"""The stores by the scheme of their addresses, and the package that each needs; `memory` is of this process only.

fsspec knows more schemes; those that read this machine's files, or chain others, would pass by the settings' rules.
"""
TAR = ".tar"
FETCHED = "fetched"
"""The folder in a run that keeps tars from elsewhere, as each is read twice: to list it, and to detect in it."""
_MOST_FETCHED = 8192 * MiB
_COPY = re.compile(r"[0-9a-f]{64}(?P<unfinished>\.[0-9a-f]{8}\.tmp)?")
"""The names of our own files in that folder: others are never touched."""
_ABANDONED_S = 600.0
"""Seconds after which a copy that does not grow is what a killed process left."""
_PRIVATE = 0o700  # only this user may read it
_STAMPS = ("ETag", "etag", "md5Hash", "last_modified", "LastModified", "mtime", "updated", "created", "blob_id")


def scheme_of(address: str) -> str:
    """Return the scheme of an address on the web or in a store; empty for a path on this machine, and for others."""
    scheme, separator, _ = address.partition("://")
    return scheme.lower() if separator and scheme.lower() in {*WEB, *PACKAGES} else ""


def suffix_of(address: str) -> str:
    """Return the ending of an address's last part in lower case, without the query of a URL."""
    path = address.partition("?")[0] if scheme_of(address) in WEB else address
    return PurePath(path).suffix.lower()


class Files:
    """Opens, reads and lists files. Its methods block: call them in threads, which may share it.

    Args:
        settings: which folders and hosts may be read, and how large an image may be.
        run: the folder of a run, which keeps tars from elsewhere; without one they are fetched as far as they are read.

    Raises:
        DinoxError: a file does not exist or arrive, or the settings do not allow it; each method may raise it.
    """

    def __init__(self, settings: Settings, run: Path | None = None) -> None:
        self._settings, self._run = settings, run
        self._stores: dict[str, Any] = {}
        self._web_files: WebFiles | None = None
        self._opening = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._web_files is not None:
            self._web_files.close()

    def open(self, address: str) -> BinaryIO:
        """Open a file that holds many images, or names them."""
        if not scheme_of(address):
            return open_file(address, self._settings, "file", {suffix_of(address)})[0]
        file = self._open_elsewhere(address)
        if self._run is not None and suffix_of(address) == TAR:
            return self._kept(address, file, self._run)
        return file

    def _open_elsewhere(self, address: str) -> BinaryIO:
        if scheme_of(address) in WEB:
            return self._web.open(address)
        with _explained(address):
            file = self._store(address).open(address, "rb", block_size=PART, cache_type="readahead")
            return fetched_file(file.size, partial(_read_part, file, address))

    def _kept(self, address: str, file: BinaryIO, run: Path) -> BinaryIO:
        """Open the copy of a tar in the folder of a run, made now if it is new; the tar itself if there is no room."""
        stamp = self.stamp(address, file)
        if stamp.endswith("-"):
            return file  # without a version, a copy may be older than the tar
        path = run / FETCHED / sha256(f"{address} {stamp}".encode()).hexdigest()
        size = file.seek(0, os.SEEK_END)
        with suppress(OSError):  # a copy of another size was cut off by a power failure
            if (path.exists() and path.stat().st_size == size) or _copy(file, size, path):
                return open_regular(path)
        file.seek(0)
        return file

    def read(self, address: str) -> bytes:
        """Read an image."""
        scheme = scheme_of(address)
        if scheme in WEB:
            return self._web.read(address)
        if not scheme:
            return read_file(address, self._settings)[0]
        most = self._settings.max_image_bytes
        with _explained(address):
            store = self._store(address)
            try:
                data: bytes = store.cat_file(address, start=0, end=most + 1)
            except Exception:
                if store.info(address).get("size") != 0:
                    raise
                data = b""  # of an empty file, a store has no part
            if len(data) > most:
                check_size(shorten(address), store.info(address).get("size") or len(data), most)
        return data

    def list(self, prefix: str) -> Iterator[Entry]:
        """Give all files below a prefix on the web or in a store."""
        scheme = scheme_of(prefix)
        if scheme in WEB:
            yield from map(Entry, self._web.list(prefix))
            return
        with _explained(prefix):
            found = self._store(prefix).find(prefix, detail=True)
        for path, info in found.items():
            yield Entry(f"{scheme}://{path.lstrip('/')}", _stamp(info))

    def stamp(self, address: str, file: BinaryIO) -> str:
        """Give what changes when an open file does."""
        scheme = scheme_of(address)
        if scheme in WEB:
            first = self._web.part(address, 0, 1)
            return f"{first.size}-{first.version}"
        if scheme:
            with _explained(address):
                return _stamp(self._store(address).info(address))
        status = os.fstat(file.fileno())
        return f"{status.st_size}-{status.st_mtime_ns}"

    @property
    def _web(self) -> WebFiles:
        with self._opening:
            if self._web_files is None:
                self._web_files = WebFiles(self._settings)
            return self._web_files

    def _store(self, address: str) -> Any:  # noqa: ANN401 - fsspec has no types
        scheme = scheme_of(address)
        if scheme not in self._stores:
            import fsspec

            self._stores[scheme] = fsspec.filesystem(scheme, use_listings_cache=False)
        return self._stores[scheme]


def remove_fetched(run: Path) -> None:
    """Remove the tars that a run has kept."""
    folder = run / FETCHED
    with suppress(OSError):
        for path in folder.iterdir():
            if _COPY.fullmatch(path.name):
                with suppress(OSError):  # Windows keeps what another process has open
                    path.unlink()
        folder.rmdir()


def _read_part(file: BinaryIO, address: str, begin: int, size: int) -> bytes:
    with _explained(address):
        file.seek(begin)
        return file.read(size)


def _copy(file: BinaryIO, size: int, path: Path) -> bool:
    """Copy an open file of `size` bytes, completely or not at all; return False if there is no room for it."""
    folder = path.parent
    folder.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    folder.mkdir(mode=_PRIVATE, exist_ok=True)
    if size > min(_MOST_FETCHED - _used(folder), shutil.disk_usage(folder).free // 2):
        return False
    file.seek(0)
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with beside.open("xb") as copy:
            shutil.copyfileobj(file, copy, PART)
            if copy.tell() != size:  # it became shorter in the meantime
                return False
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return True


def _used(folder: Path) -> int:
    """Count the bytes of the copies in a folder, and remove those that killed processes left unfinished."""
    used = 0
    for path in folder.iterdir():
        name = _COPY.fullmatch(path.name)
        with suppress(FileNotFoundError):  # another process has finished it
            status = path.stat()
            if name and name["unfinished"] and status.st_mtime < time.time() - _ABANDONED_S:
                path.unlink()
            else:
                used += status.st_size
    return used


def _stamp(info: dict[str, Any]) -> str:
    version = next((str(info[name]) for name in _STAMPS if info.get(name)), "")
    return f"{info.get('size')}-{version}"


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """Turn what a store raises, which may be any error of its libraries, into one with a remedy."""
    shown = shorten(address)
    try:
        yield
    except DinoxError:
        raise
    except ImportError:
        command = extras_command(["batch"], [PACKAGES[scheme_of(address)]])
        raise UnsupportedError(f"{shown} needs more packages; {command}") from None
    except (FileNotFoundError, IsADirectoryError):
        raise ImageError(f"there is no file {shown}; check the address") from None
    except PermissionError as error:
        raise ImageError(f"{shown} may not be read ({reason_of(error)}); check the store's credentials") from None
    except Exception as error:  # noqa: BLE001
        raise ServiceError(f"{shown} could not be read ({reason_of(error)}); try again in a while") from None


def beside(container: str, path: str) -> str:
    """Write the address that a file of many images names: what is not a full address begins at the file's folder.

    A file on the web or in a store may not choose files of this machine.

    Raises:
        ForbiddenError: the file is elsewhere, and the path is neither below its folder nor a URL.
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
    first, *others = path.replace("\\", "/").split("/")
    if not first or ".." in (first, *others) or ":" in first or first.startswith("~"):
        raise ForbiddenError(
            f"'{shorten(container)}' names '{shorten(path)}', and a file from elsewhere may only name URLs and files "
            "below its own folder; download it and correct the path"
        )
    return f"{container.partition('?')[0].rpartition('/')[0]}/{quote(path) if scheme in WEB else path}"
