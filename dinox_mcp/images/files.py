"""Files on this machine: which folders may be read, and how a wrong path is explained."""

import difflib
import os
import re
import stat
import sys
import unicodedata
from collections.abc import Collection, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from dinox_mcp.errors import ForbiddenError, ImageError
from dinox_mcp.images.formats import READABLE_SUFFIXES, SUFFIXES
from dinox_mcp.images.sources import COPIED, NEVER_ARRIVES, shorten
from dinox_mcp.settings import Settings

_LISTED = 5000
_EXAMINED = 50_000
_ANY_FILE = "image"
_CHAT_FOLDERS = ("/mnt/data", "/mnt/user-data")
_PLACEHOLDER = re.compile(r"\$\{[\w.]+\}")
_ESCAPED = re.compile(r"\\([ ()&'\[\]])")
_HOST = re.compile(r"(www\.[^/]+|([a-z0-9-]+\.)+[a-z]{2,})/", re.IGNORECASE)
_WSL = re.compile(r"[\\/]{2}wsl(?:\.localhost|\$)[\\/][^\\/]+", re.IGNORECASE)

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # opening a FIFO or a device does not wait
    | getattr(os, "O_NOFOLLOW", 0)
)
_ANY_STEP = getattr(os, "O_NOFOLLOW_ANY", 0)  # macOS: no step of the path may be a link
_FOLDER = getattr(os, "O_PATH", 0) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


def _open_without_links(path: Path) -> int:
    """Open exactly the path that was checked, which has no links, and return the descriptor; raise OSError for a link.

    Linux opens folder by folder, each below the one before, and macOS has a flag for it. On Windows the path is
    resolved once more after it was opened, and has to lead to the same file.
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


def read_file(address: str, settings: Settings) -> tuple[bytes, str]:
    """Read a file that the settings allow, and name it by its absolute path. Blocks: call it in a thread.

    Raises:
        ImageError: the file does not exist or cannot be read; the message says what to pass.
        ForbiddenError: it lies outside the allowed folders, is too large, or is not a regular file.
    """
    file, name = open_file(address, settings)
    shown, limit = shorten(name), settings.max_image_bytes
    try:
        with file:
            data = file.read(limit + 1) or b""
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise ImageError(f"'{shown}' cannot be read ({error.strerror}); pass another image") from None
    if len(data) > limit:
        raise ForbiddenError(
            f"'{shown}' has {max(size, len(data)):,} bytes, more than the {limit:,} allowed; "
            "pass a smaller image or raise DINOX_MCP_MAX_IMAGE_BYTES"
        )
    return data, name


def read_newest(folder: str, settings: Settings) -> tuple[bytes, str, datetime]:
    """Read the image of a folder that was changed last, as `read_file` does. Blocks: call it in a thread.

    Files are chosen by their endings. Those in folders below, links and hidden files do not count.

    Returns:
        The bytes, the absolute path, and when it was changed.

    Raises:
        ImageError: there is no such folder, or no image in it.
        ForbiddenError: it lies outside the allowed folders, or has too many files.
    """
    path = _absolute(folder)
    real = _allowed(path / _ANY_FILE, _allowed_folders(folder, settings)).parent
    shown = shorten(str(path))
    newest: tuple[float, str] | None = None
    try:
        with os.scandir(real) as entries:
            for number, entry in enumerate(entries):
                if number >= _EXAMINED:
                    raise ForbiddenError(
                        f"'{shown}' has more than {_EXAMINED:,} files; pass the path of one image, or another folder"
                    )
                if _is_image(entry):
                    newest = max(newest or (0.0, ""), (entry.stat(follow_symlinks=False).st_mtime, entry.name))
    except OSError as error:
        raise ImageError(f"'{shown}' cannot be listed ({error.strerror}); pass the path of a folder") from None
    if newest is None:
        raise ImageError(f"there is no image in '{shown}'; pass another folder, or the path of an image")
    data, name = read_file(str(path / newest[1]), settings)
    return data, name, datetime.fromtimestamp(newest[0]).astimezone()


def _is_image(entry: "os.DirEntry[str]") -> bool:
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - a name
    return suffix in SUFFIXES and not entry.name.startswith(".") and entry.is_file(follow_symlinks=False)


def open_file(
    address: str, settings: Settings, what: str = "image", suffixes: Collection[str] = READABLE_SUFFIXES
) -> tuple[BinaryIO, str]:
    """Open a regular file that the settings allow, and name it by its absolute path. Blocks: call it in a thread.

    Args:
        address: the path, as the caller wrote it.
        settings: they name the folders that may be read.
        what: the kind of the file in messages.
        suffixes: the endings of such files, of which near misses are proposed where there is no file of that name.

    Raises:
        ImageError: the file does not exist or cannot be opened; the message says what to pass.
        ForbiddenError: it lies outside the allowed folders, or is not a regular file.
    """
    folders = _allowed_folders(address, settings)
    path = _absolute(address)
    real = _allowed(path, folders)
    for candidate in _candidates(real, suffixes):
        named = path if candidate == real else path.with_name(candidate.name)
        try:
            file = _open(_allowed(candidate, folders), named, what)
        except (FileNotFoundError, NotADirectoryError):
            continue
        return file, str(named).encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # fit to be sent
    raise _missing(path, real, address, suffixes)


def allowed_path(address: str, settings: Settings) -> Path:
    """Resolve the path of a file or folder that the settings allow to read; it need not exist. Blocks on slow disks.

    Raises:
        ImageError: it is not a path on this machine.
        ForbiddenError: it lies outside the allowed folders, or on a network share.
    """
    return _allowed(_absolute(address), _allowed_folders(address, settings), itself=True)


def _candidates(real: Path, suffixes: Collection[str]) -> Iterator[Path]:
    """Yield the file, then those beside it whose names are displayed alike.

    macOS writes no-break spaces and decomposed letters into names; nothing shows it, and models retype them as others.
    """
    yield real
    yield from (real.with_name(name) for name in _files_beside(real, suffixes) if _shown(name) == _shown(real.name))


def _allowed_folders(address: str, settings: Settings) -> list[Path] | None:
    """List the folders that may be read, or None for all."""
    if settings.allowed_folders is not None:
        return [folder.absolute().resolve() for folder in settings.allowed_folders]
    if settings.transport == "stdio":
        return None
    raise ForbiddenError(
        f"'{shorten(address)}' is a local file, and files are not readable over HTTP; "
        "pass an https:// URL or a data: URI"
    )


def _absolute(address: str, *, windows: bool = os.name == "nt") -> Path:
    if unfilled := _PLACEHOLDER.search(address):
        raise ImageError(
            f"'{shorten(address)}' holds {unfilled[0]}, which the assistant's program should have filled in; "
            "set it in the settings of the extension, or pass a full path"
        )
    wsl = _WSL.match(address)
    if wsl and not windows:
        inside = shorten(address[wsl.end() :].replace("\\", "/") or "/")
        raise ImageError(
            f"'{shorten(address)}' is a path of Windows into WSL, but this server runs on {sys.platform}; "
            f"inside of WSL the file is '{inside}'"
        )
    if address[:2] in {"//", "\\\\", "/\\", "\\/"} and not wsl:
        raise ForbiddenError(
            f"'{shorten(address)}' is a network or device path, which is not read; "
            "pass a path on this machine, or map the share to a drive"
        )
    if not windows and re.match(r"[A-Za-z]:[\\/]", address):
        mounted = f"/mnt/{address[0].lower()}/{address[3:]}".replace("\\", "/")
        raise ImageError(
            f"'{shorten(address)}' is a Windows path, but this server runs on {sys.platform}; "
            f"under WSL the file is '{shorten(mounted)}'"
        )
    try:
        return Path(address).expanduser().absolute()
    except RuntimeError:
        raise ImageError(f"'{shorten(address)}' names a home folder that is unknown; pass a full path") from None


def _allowed(path: Path, folders: list[Path] | None, *, itself: bool = False) -> Path:
    """Resolve a path below the allowed folders; with `itself`, one of these folders will do."""
    try:
        real = path.resolve()
    except (OSError, RuntimeError):  # RuntimeError: links in a circle, before Python 3.13
        raise ImageError(f"'{shorten(str(path))}' cannot be followed; pass the path of the file itself") from None
    if str(real).startswith("\\\\") and not _WSL.match(str(real)):
        raise ForbiddenError(
            f"'{shorten(str(path))}' leads to a network share, which is not read; pass a path on this machine"
        )
    if folders is not None and not any(folder in real.parents or (itself and folder == real) for folder in folders):
        names = ", ".join(map(str, folders[:3])) or "none at all"
        if unfilled := _PLACEHOLDER.search(names):
            names += f"; {unfilled[0]} was not filled in: set it in the settings of the extension"
        raise ForbiddenError(
            f"'{shorten(str(path))}' is outside the folders that may be read ({shorten(names, 160)}); pass an image "
            "from there, or add its folder to DINOX_MCP_ALLOWED_FOLDERS"
        )
    return real


def _open(real: Path, path: Path, what: str) -> BinaryIO:
    shown = shorten(str(path))
    try:
        descriptor = _open_without_links(real)
    except PermissionError:
        kind = "is a folder" if real.is_dir() else "may not be read by the user that this server runs as"
        raise ImageError(f"'{shown}' {kind}; pass the path of one {what}") from None
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise ImageError(f"'{shown}' cannot be opened ({error.strerror}); pass another {what}") from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a device or a socket"
    raise ForbiddenError(f"'{shown}' is {kind}, not a file; pass the path of one {what}")


def _missing(path: Path, real: Path, address: str, suffixes: Collection[str]) -> ImageError:
    """Explain a path that does not exist, and guess what was meant."""
    hints = []
    plain = _ESCAPED.sub(r"\1", address)
    if os.name != "nt" and plain != address:
        hints.append(f"a path here has no backslashes; did you mean '{shorten(plain)}'?")
    if _HOST.match(address):
        hints.append(f"for an image on the web, pass https://{shorten(address)}")
    bare = not hints and not re.search(r"[\\/]", address)
    relative = not Path(address).is_absolute() and not address.startswith("~")
    where = f" (relative to {shorten(str(Path.cwd()))})" if relative else ""
    advice = ["check the spelling, or ask for the full path"]
    if bare or address.startswith(_CHAT_FOLDERS):
        advice = [NEVER_ARRIVES + (COPIED if suffixes is READABLE_SUFFIXES else "")]  # else it is a video
    elif not real.parent.is_dir():
        advice.append(f"the folder '{shorten(str(path.parent))}' does not exist either")
    names = {name.lower(): name for name in _files_beside(real, suffixes)}
    close = difflib.get_close_matches(real.name.lower(), names, n=3, cutoff=0.6)
    if close:
        found = ", ".join(f"'{shorten(str(path.with_name(names[name])), 160)}'" for name in close)
        advice.insert(0, f"did you mean {found}?")
    return ImageError(f"there is no file '{shorten(address)}'{where}; {'; '.join([*hints, *advice])}")


def _files_beside(path: Path, suffixes: Collection[str]) -> list[str]:
    """List the files of a folder that end like images, by name, the first few thousand."""
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in islice(entries, _LISTED)]
    except OSError:
        return []
    return sorted(name for name in names if os.path.splitext(name)[1].lower() in suffixes)  # noqa: PTH122 - a name


def _shown(name: str) -> str:
    """Normalize a name, so that names that are displayed alike are equal."""
    return " ".join(unicodedata.normalize("NFKC", name).split())
