"""What is written into a run beside its parts: names after the images of its source, and files that are complete."""

import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path, PurePath, PurePosixPath
from urllib.parse import unquote

from dinox_mcp.batch.files import WEB, scheme_of
from dinox_mcp.batch.reader import split_source
from dinox_mcp.errors import InputError
from dinox_mcp.export.names import image_name
from dinox_mcp.images.formats import SUFFIXES
from dinox_mcp.store.files import move_into_place

_MAGIC = re.compile(r"[*?\[{]")
_DIGEST = 8
_MOST_FOLDERS = 16
"""Folders of a path that is written: each takes up to 120 bytes, and systems allow 4096 in all."""
_JPEG = (".jpg", ".jpeg")
_SHOWN = 3


def relative_name(source: str, of: str) -> str:
    """Name an image by its path below the source of its run, with slashes.

    Args:
        source: the image: a path, an address, or a row or member of a file of many.
        of: the source of the run: a folder, a pattern, a file, or an address.

    Returns:
        Such as "2026/a.jpg" of "/photos/2026/a.jpg" in "/photos"; "s-0/7.jpg" of the member 7.jpg of s-0.tar;
        "t/row-17" of a row of t.parquet. An image that is not below the source keeps all folders of its path.
    """
    container, row, member = split_source(source)
    path = _plain(container)
    base, *pattern = map(_plain, _MAGIC.split(of))
    if pattern or path == base:  # a pattern, whose folder is before its first sign, or a file
        base = base.rpartition("/")[0]
    below = path.removeprefix(f"{base.rstrip('/')}/")
    if below == path:  # the source is a list
        below = path.removeprefix(f"{base.rpartition('/')[0]}/")
    if row is not None or member is not None:
        below = str(PurePosixPath(below).with_suffix(""))
        below = f"{below}/{member if member is not None else f'row-{row}'}"
    parts = [part for part in below.replace("\\", "/").split("/") if part not in {"", ".", ".."}]
    return "/".join(parts) or "image"


def file_path(name: str, ending: str) -> PurePosixPath:
    """Make a path of an image's name: without what a file system forbids, and with another ending."""
    *folders, last = name.split("/")
    kept = image_name(last)
    stem = PurePath(kept).stem if PurePath(last).suffix.lower() in SUFFIXES else kept
    return PurePosixPath(*map(image_name, folders[-_MOST_FOLDERS:]), f"{stem}{ending}")


def jpeg_path(name: str, source: str) -> PurePosixPath:
    """Make the path of a JPEG that is made of an image, which no other image has.

    A name that had to be changed gets a digest of the source, so that it is not taken for another one.
    """
    *folders, last = name.split("/")
    cleaned = [*map(image_name, folders[-_MOST_FOLDERS:])]
    is_jpeg = last.lower().endswith(_JPEG)
    plain = last if is_jpeg else f"{last}.jpg"
    kept = image_name(plain)
    doubled = is_jpeg and PurePath(PurePath(last).stem).suffix.lower() in SUFFIXES
    if doubled or [*cleaned, kept] != [*folders, plain]:
        digest = sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
        kept = f"{PurePath(kept).stem}-{digest}.jpg"
    return PurePosixPath(*cleaned, kept)


def _plain(address: str) -> str:
    """Write an address as a path with slashes: without a scheme, and with all signs as they are."""
    scheme = scheme_of(address)
    if scheme:
        address = address.partition("://")[2]
    if scheme in WEB:
        path, separator, query = address.partition("?")
        address = unquote(path, errors="replace") + separator + query.replace("/", "-")
    return address.replace("\\", "/")


def check_free(run: Path, names: Sequence[str]) -> None:
    """Refuse to replace what is in the folder of a run.

    Raises:
        InputError: one of the names is taken.
    """
    taken = [name for name in names if os.path.lexists(run / name)]
    if taken:
        raise InputError(f"{', '.join(taken)} would be overwritten in {run}; allow it by --overwrite")


def check_own(folder: Path, own: Collection[str]) -> None:
    """Refuse to replace a folder that has other files than its `own`, such as images that a user put beside labels.

    Raises:
        InputError: it has some.
    """
    if folder.is_dir():
        others = sorted({one.name for one in folder.iterdir()}.difference(own))
        if others:
            named = ", ".join(others[:_SHOWN]) + (", …" if len(others) > _SHOWN else "")
            raise InputError(f"{folder} has files that are not of this run ({named}); move them elsewhere first")


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Give another name for a file or a folder, which gets its own when it is complete, and replaces an earlier one.

    What a killed call left is removed before.
    """
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        _remove(left)
    beside, before = (path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp") for _ in range(2))
    try:
        yield beside
        if beside.is_dir():
            with suppress(FileNotFoundError):
                path.rename(before)
            beside.rename(path)
        else:
            move_into_place(beside, path)
    finally:
        _remove(beside)
        _remove(before)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_numbered(path: Path, text: str) -> bool:
    """Write a file under a name that no other has, and return whether it had to be numbered."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        numbered = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        with suppress(FileExistsError):
            with numbered.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
            return number > 1
        number += 1
