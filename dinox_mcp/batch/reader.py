"""Reads the bytes of a batch's images, of which a tar or a Parquet file holds many."""

import re
from collections import OrderedDict
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Self

from dinox_mcp.batch import tables, tars
from dinox_mcp.batch.files import TAR, WEB, Files, beside, scheme_of, suffix_of
from dinox_mcp.batch.sources import Entry
from dinox_mcp.errors import ImageError
from dinox_mcp.images.sources import parse_source, shorten
from dinox_mcp.settings import Settings

CONTAINERS = (TAR, *tables.SUFFIXES)
"""The endings of files that hold many images."""
_CONTAINED = re.compile(
    r"(.+?\.(?:tar|parquet|pq)(?:\?[^#]*)?)#(?:row=(\d{1,18})|member=(.*))", re.DOTALL | re.IGNORECASE
)
_STAMP = re.compile(r".*@(\d{1,18})\+(\d{1,18})", re.DOTALL)
_OPEN = 2


def row_source(container: str, row: int) -> str:
    """Name the image in a row of a Parquet file."""
    return f"{container}#row={row}"


def member_source(container: str, name: str) -> str:
    """Name the image that a member of a tar is."""
    return f"{container}#member={name}"


def member_stamp(stamp: str, member: tars.Member) -> str:
    """Make the stamp of a member: that of the tar, and where the member is in it."""
    return f"{stamp}@{member.begin}+{member.size}"


def split_source(source: str) -> tuple[str, int | None, str | None]:
    """Return the file that an image is in, and its row or the name of its member; neither if it is a file itself."""
    found = _CONTAINED.fullmatch(source)
    if found is None:
        return source, None, None
    container, row, member = found.groups()
    return container, None if row is None else int(row), member


class Reader:
    """Reads the images of a source by their entries. Its methods block: call them in threads, which may share it.

    Images of a tar or of a Parquet file are fast to read in the order of their entries. Use it in a `with` block.

    Args:
        settings: which folders and hosts may be read, and how large an image may be.
        column: as for `list_inputs`.
        run: as for `Files`.
    """

    def __init__(self, settings: Settings, column: str | None = None, run: Path | None = None) -> None:
        self._settings, self._column = settings, column
        self._files = Files(settings, run)
        self._lock = Lock()
        self._open: OrderedDict[str, _Opened] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for opened in self._open.values():
            opened.file.close()
        self._files.__exit__()

    def read(self, entry: Entry) -> bytes | None:
        """Read the bytes of an image; None for a file or a URL that `ImageLoader.load` reads by its source.

        Raises:
            ImageError: it is damaged, is not where it was listed any more, or may not be read.
            BackendError: the web or a store does not answer.
        """
        container, row, member = split_source(entry.source)
        if row is None and member is None:
            return self._read_file(entry.source)
        with self._lock:
            opened = self._opened(container)
            if row is None:
                return self._read_member(opened.file, entry)
            if opened.table is None:
                opened.table = tables.Table(opened.file, shorten(container), self._column)
            value = opened.table.read(row, self._settings.max_image_bytes)
        if value.data is not None:
            return value.data
        if not value.path:
            raise ImageError(f"'{shorten(entry.source)}' has no bytes and no path; leave the row out of the table")
        return self._files.read(beside(container, value.path))

    def _read_file(self, source: str) -> bytes | None:
        scheme = scheme_of(source)
        if suffix_of(source) in CONTAINERS:
            self._explain(source)
        if scheme and scheme not in WEB:
            return self._files.read(source)
        if parse_source(source).kind not in {"file", "web"}:
            raise ImageError(f"'{shorten(source)}' is not a path or a URL of an image; correct it in the list")
        return None

    def _explain(self, container: str) -> None:
        """Raise what is wrong with a file of many images that could not be listed."""
        shown = shorten(container)
        with closing(self._files.open(container)) as file:
            if suffix_of(container) == TAR:
                damage = tars.list_members(file, shown, tars.MOST, self._column).damage
            else:
                damage, table = "", tables.Table(file, shown, self._column)
                for _ in table.paths() if table.column.kind == "paths" else ():
                    pass  # up to what is damaged
        raise ImageError(damage or f"'{shown}' holds many images and is not an image; pass it as the source")

    def _opened(self, container: str) -> "_Opened":
        """Return an open file, and close the one that was used least lately if there are too many."""
        if container not in self._open:
            while len(self._open) >= _OPEN:
                self._open.popitem(last=False)[1].file.close()
            self._open[container] = _Opened(self._files.open(container))
        self._open.move_to_end(container)
        return self._open[container]

    def _read_member(self, file: BinaryIO, entry: Entry) -> bytes:
        stamp = _STAMP.fullmatch(entry.stamp)
        if stamp is None:
            raise ImageError(f"'{shorten(entry.source)}' is not listed with its position; choose another --out")
        member = tars.Member(entry.source, int(stamp[1]), int(stamp[2]))
        return tars.read_member(file, member, shorten(entry.source), self._settings.max_image_bytes)


@dataclass(slots=True)
class _Opened:
    """A file of many images that is open, and its table once a row was read."""

    file: BinaryIO
    table: tables.Table | None = None
