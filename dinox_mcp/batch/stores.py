"""Files of a batch in object stores such as S3, through fsspec of the extra `batch` and a package for each store.

Credentials are those that the store's package finds by itself, in the environment or in its configuration.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from dinox_mcp.batch.sources import Entry
from dinox_mcp.errors import DinoxError, ForbiddenError, ImageError, ServiceError, UnsupportedError
from dinox_mcp.images.sources import shorten
from dinox_mcp.settings import MiB

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
_BLOCK = 4 * MiB
_STAMPS = ("ETag", "etag", "md5Hash", "last_modified", "LastModified", "mtime", "updated", "created", "blob_id")


class Stores:
    """The stores that were used, each opened once. The methods block: call them in threads."""

    def __init__(self) -> None:
        self._systems: dict[str, Any] = {}

    def open(self, address: str) -> BinaryIO:
        """Open a file for reading.

        Raises:
            DinoxError: it does not exist or arrive; the message says which package is missing, if one is.
        """
        with _explained(address):
            file = self._system(address).open(address, "rb", block_size=_BLOCK, cache_type="readahead")
        return io.BufferedReader(_StoreFile(file, address))

    def read(self, address: str, max_bytes: int) -> bytes:
        """Read a file.

        Raises:
            ForbiddenError: it has more than `max_bytes`.
            DinoxError: it does not exist or arrive.
        """
        system = self._system(address)
        with _explained(address):
            try:
                data: bytes = system.cat_file(address, start=0, end=max_bytes + 1)
            except Exception:
                if system.info(address).get("size") != 0:
                    raise
                data = b""  # of an empty file, a store has no part
        if len(data) > max_bytes:
            raise ForbiddenError(
                f"{shorten(address)} has more than the {max_bytes:,} bytes allowed; pass a smaller image or raise "
                "DINOX_MCP_MAX_IMAGE_BYTES"
            )
        return data

    def list(self, prefix: str) -> Iterator[Entry]:
        """Give all files below a prefix, or the one of this name.

        Raises:
            DinoxError: the store does not answer.
        """
        scheme = prefix.partition("://")[0]
        with _explained(prefix):
            found = self._system(prefix).find(prefix, detail=True)
        for path, info in found.items():
            yield Entry(f"{scheme}://{path.lstrip('/')}", _stamp(info))

    def stamp(self, address: str) -> str:
        """Give what changes when a file does.

        Raises:
            DinoxError: it does not exist, or the store does not answer.
        """
        with _explained(address):
            return _stamp(self._system(address).info(address))

    def _system(self, address: str) -> Any:  # noqa: ANN401 - fsspec has no types
        scheme = address.partition("://")[0].lower()
        if scheme not in self._systems:
            import fsspec

            self._systems[scheme] = fsspec.filesystem(scheme, use_listings_cache=False)
        return self._systems[scheme]


class _StoreFile(io.RawIOBase):
    """A file in a store; what goes wrong in reading is an error with a remedy."""

    def __init__(self, file: BinaryIO, address: str) -> None:
        self._file, self._address = file, address

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def seekable(self) -> bool:
        """Return that it is."""
        return True

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position."""
        return self._file.seek(offset, whence)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read as many bytes as there are, and as fit."""
        with _explained(self._address):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


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
        packages = " ".join(dict.fromkeys(("'dinox-mcp[batch]'", PACKAGES[address.partition("://")[0].lower()])))
        raise UnsupportedError(f"{shown} needs more packages; pip install {packages}") from None
    except (FileNotFoundError, IsADirectoryError):
        raise ImageError(f"there is no file {shown}; check the address") from None
    except PermissionError as error:
        raise ImageError(f"{shown} may not be read ({_reason(error)}); check the store's credentials") from None
    except Exception as error:  # noqa: BLE001
        raise ServiceError(f"{shown} could not be read ({_reason(error)}); try again in a while") from None


def _reason(error: Exception) -> str:
    return shorten(" ".join(str(error).split()) or type(error).__name__, 160)
