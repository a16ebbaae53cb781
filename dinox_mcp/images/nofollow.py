"""Opening a file at exactly the path that was checked, whatever is swapped for a link in between."""

import os
from pathlib import Path

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # opening a FIFO or a device does not wait
    | getattr(os, "O_NOFOLLOW", 0)
)
_ANY_STEP = getattr(os, "O_NOFOLLOW_ANY", 0)  # macOS: no step of the path may be a link
_FOLDER = getattr(os, "O_PATH", 0) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


def open_without_links(path: Path) -> int:
    """Open a file for reading by an absolute path without links, and give its descriptor.

    Linux opens folder by folder, each below the one before, and macOS has a flag for it. On Windows the path is
    resolved once more after it was opened, and has to lead to the same file.

    Raises:
        OSError: the file does not exist, it may not be read, or a step of the path is a link.
    """
    if _ANY_STEP:
        return os.open(path, _FLAGS & ~getattr(os, "O_NOFOLLOW", 0) | _ANY_STEP)
    if hasattr(os, "O_PATH") and os.open in os.supports_dir_fd:
        return _open_stepwise(path)
    return _open_and_compare(path)


def _open_stepwise(path: Path) -> int:
    folder = os.open(path.anchor, _FOLDER | _FLAGS)
    try:
        for step in path.parts[1:-1]:
            below = os.open(step, _FOLDER | _FLAGS, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(path.name or ".", _FLAGS, dir_fd=folder)
    finally:
        os.close(folder)


def _open_and_compare(path: Path) -> int:
    descriptor = os.open(path, _FLAGS)
    try:
        if path.resolve() == path and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    raise OSError(0, "a link was put in its way")
