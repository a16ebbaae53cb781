"""The one way of writing files, whole or not at all and never through a link, and of opening files of others."""

import os
import secrets
import stat
from contextlib import suppress
from errno import EINVAL
from pathlib import Path
from typing import BinaryIO

_OPEN = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_PRIVATE = 0o600
_USUAL = 0o666


def write_whole(path: Path, content: bytes, mode: int | None = None) -> None:
    """Put a file in place of what was there, in one step; a full disk leaves what was there as it was.

    A symbolic link is replaced, and what it points to stays as it is. Until a file with a `mode` is complete, nobody
    else can read it. Without a mode it gets the usual one of new files.

    Raises:
        OSError: it cannot be written, or a folder, a device or a pipe has this name.
    """
    _check_kind(path)
    beside = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with os.fdopen(os.open(beside, _OPEN, _USUAL if mode is None else _PRIVATE), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            beside.chmod(mode)
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def open_regular(path: Path, *, follow_links: bool = False) -> BinaryIO:
    """Open a regular file for reading, and nothing else: a pipe would never end, and a link may lead anywhere.

    Raises:
        OSError: there is none, it cannot be read, or something else has this name.
    """
    descriptor = os.open(path, _READ if follow_links else _READ | getattr(os, "O_NOFOLLOW", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(EINVAL, "it is no regular file", str(path))
    return os.fdopen(descriptor, "rb")


def _check_kind(path: Path) -> None:
    """Refuse to replace what is no file: a device would be gone for every program on the machine."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):
        raise OSError(EINVAL, "a folder, a device or a pipe has this name", str(path))
