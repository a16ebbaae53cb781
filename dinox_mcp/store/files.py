"""Writes files completely or not at all and never through a link, and opens files that others may have put there."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EEXIST, EFBIG, EINVAL
from pathlib import Path
from typing import BinaryIO

_OPEN = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_PRIVATE = 0o600
_USUAL = 0o666


def write_atomically(path: Path, content: bytes, mode: int | None = None) -> None:
    """Write or replace a file in one step; if the disk is full, an existing file stays as it was.

    A symbolic link is replaced, and its target stays as it was. A file with a `mode` cannot be read by others before
    it is complete. Without a mode it gets the usual one of new files.

    Raises:
        OSError: it cannot be written, or a folder, a device or a pipe has this name.
    """
    check_replaceable(path)
    with _beside(path, content, mode) as written:
        move_into_place(written, path)


def write_new(path: Path, content: bytes) -> None:
    """Write a file in one step if nothing has its name, not even a symbolic link.

    Raises:
        FileExistsError: something has its name.
        OSError: it cannot be written.
    """
    with _beside(path, content, None) as written:
        try:
            os.link(written, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links: two steps
            if os.path.lexists(path):
                raise FileExistsError(EEXIST, "it exists already", str(path)) from None
            written.rename(path)


@contextmanager
def _beside(path: Path, content: bytes, mode: int | None) -> Iterator[Path]:
    """Write a complete file of another name into the folder of `path`, for as long as it takes to move or link it."""
    beside = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with os.fdopen(os.open(beside, _OPEN, _USUAL if mode is None else _PRIVATE), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            beside.chmod(mode)
        yield beside
    finally:
        with suppress(OSError):
            beside.unlink()


def open_regular(path: Path, *, follow_links: bool = False) -> BinaryIO:
    """Open a regular file for reading, and nothing else: a pipe would never end, and a link may lead anywhere.

    Raises:
        OSError: there is no such file, it cannot be read, or this is not a regular file.
    """
    descriptor = os.open(path, _READ if follow_links else _READ | getattr(os, "O_NOFOLLOW", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(EINVAL, "it is not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, max_bytes: int, *, follow_links: bool = False) -> bytes:
    """Read a regular file of at most so many bytes.

    Raises:
        OSError: it cannot be opened by `open_regular`, or has more bytes.
    """
    with open_regular(path, follow_links=follow_links) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(EFBIG, f"it has more than {max_bytes} bytes", str(path))
    return data


def move_into_place(source: Path, path: Path) -> None:
    """Move a complete file onto a path of the same folder, in one step; a symbolic link there is replaced.

    Raises:
        OSError: it cannot be moved, or a folder, a device or a pipe has this name.
    """
    check_replaceable(path)
    source.replace(path)


def check_replaceable(path: Path) -> None:
    """Refuse to replace anything but files and links: a device would be gone for every program on the machine.

    Raises:
        OSError: a folder, a device or a pipe has this name.
    """
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):
        raise OSError(EINVAL, "a folder, a device or a pipe has this name", str(path))
