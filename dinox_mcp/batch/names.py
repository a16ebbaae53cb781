"""Names of a run's images in other tools, and of the files that are made of each: relative to the run's source."""

import re
from hashlib import sha256
from pathlib import PurePath, PurePosixPath
from urllib.parse import unquote

from dinox_mcp.batch.files import WEB, scheme_of
from dinox_mcp.batch.reader import split_source
from dinox_mcp.export.names import image_name
from dinox_mcp.images.formats import SUFFIXES

_MAGIC = re.compile(r"[*?\[{]")
_DIGEST = 8
_MOST_FOLDERS = 16
"""Folders of a path that is written: each takes up to 120 bytes, and systems allow 4096 in all."""
_JPEG = (".jpg", ".jpeg")


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
    cleaned = [image_name(folder) for folder in folders[-_MOST_FOLDERS:]]
    stem = PurePath(image_name(last)).stem if _has_ending(last) else image_name(last)
    return PurePosixPath(*cleaned, f"{stem}{ending}")


def jpeg_path(name: str, source: str) -> PurePosixPath:
    """Make the path of a JPEG that is made of an image, which no other image has.

    A name that had to be changed gets a digest of the source, so that it is not taken for another one.
    """
    *folders, last = name.split("/")
    cleaned = [image_name(folder) for folder in folders[-_MOST_FOLDERS:]]
    plain = last if last.lower().endswith(_JPEG) else f"{last}.jpg"
    kept = image_name(plain)
    doubled = last.lower().endswith(_JPEG) and PurePath(PurePath(last).stem).suffix.lower() in SUFFIXES
    if doubled or [*cleaned, kept] != [*folders, plain]:
        digest = sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
        kept = f"{PurePath(kept).stem}-{digest}.jpg"
    return PurePosixPath(*cleaned, kept)


def _has_ending(name: str) -> bool:
    return PurePath(name).suffix.lower() in SUFFIXES


def _plain(address: str) -> str:
    """Write an address as a path with slashes: without a scheme, and with all signs as they are."""
    scheme = scheme_of(address)
    if scheme:
        address = address.partition("://")[2]
    if scheme in WEB:
        path, separator, query = address.partition("?")
        address = unquote(path, errors="replace") + separator + query.replace("/", "-")
    return address.replace("\\", "/")
