"""The images that the source of a batch stands for, in a fixed order.

A source is a folder, a pattern, a list, a Parquet file, a WebDataset shard, or an address on the web or in a store. An
image in a file of many is named by that file and its row or member: `a.parquet#row=17`, `a.tar#member=7.jpg`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote

from dinox_mcp.batch import tables, tars
from dinox_mcp.batch.files import TAR, WEB, Files, beside, scheme_of, suffix_of
from dinox_mcp.batch.reader import CONTAINERS, member_source, member_stamp, row_source
from dinox_mcp.batch.sources import Entry, canonical, file_entry, list_images, matches
from dinox_mcp.errors import BackendError, ForbiddenError, ImageError, InputError
from dinox_mcp.images.formats import SUFFIXES
from dinox_mcp.images.sources import parse_source, shorten
from dinox_mcp.settings import Settings
from dinox_mcp.types.text import number_of

MAX_IMAGES = 2_000_000
"""Images of one run; each takes about 300 bytes of memory."""
_SEEN_PER_IMAGE = 4
_FOUND = frozenset({*SUFFIXES, *CONTAINERS})
"""The endings that folders and patterns stand for."""
_WITH_COLUMNS = (*CONTAINERS, ".csv")
_BRACES = re.compile(r"\{([^{}]*)\}")
_NUMBERS = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_MOST_EXPANDED = 100_000
_MAGIC = frozenset("*?[")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Inputs:
    """The images of a source.

    Attributes:
        groups: images that are read together: those of each tar and of each Parquet file, and one group of all others.
        notes: what the caller must know about them.
    """

    groups: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()


def canonical_source(source: str) -> str:
    """Write a source in the way that stays the same in another working folder: a path becomes absolute.

    Raises:
        InputError: a batch cannot work on it.
    """
    address = source.strip()
    if scheme := scheme_of(address):
        user, _, host = address.partition("://")[2].partition("/")[0].rpartition("@")
        if user and (scheme in WEB or ":" in user):
            raise InputError(
                f"the address {scheme}://…@{shorten(host)} carries a user name or a key, which would "
                "be kept with the run; pass it without them"
            )
        return address
    if parse_source(address).kind not in {"file", "web"}:
        raise InputError(
            f"{shorten(address)!r} is not a source of images; pass a folder, a pattern, a file, or an address such as "
            "s3://bucket/folder/"
        )
    return canonical(address)


def list_inputs(
    source: str,
    settings: Settings,
    *,
    column: str | None = None,
    most: int = MAX_IMAGES,
    run: Path | None = None,
) -> Inputs:
    """List the images of a source in a fixed order, each once. Blocks: call it in a thread.

    A folder, a pattern or a prefix stands for the images below it, or, where there are none, for the tars and Parquet
    files below it. `{0..9}` and `{a,b}` in a source stand for each of these.

    Args:
        source: as `canonical_source` writes it.
        settings: which folders and hosts may be read.
        column: the column of a table with the images, or the field of a tar's samples; by default, one that is named
            or typed like one.
        most: the number of images that there may be.
        run: the folder of the run: its files do not count, and it keeps tars from elsewhere.

    Raises:
        InputError: there are no images, or more than `most`, or a file is damaged and there are no others, or nothing
            has the `column`.
        BackendError: the web or a store does not answer, or a package is missing.
    """
    with Files(settings, run) as files:
        entries, notes = _find(files, source, settings, most, run)
        if column is not None and not any(suffix_of(one.source) in _WITH_COLUMNS for one in entries):
            raise InputError(
                f"'{shorten(source)}' has no column {column!r:.80}; leave --column out, or pass what it is for: a "
                f"{', '.join(_WITH_COLUMNS)}"
            )
        lister = _Lister(files, column, most, alone=len(entries) == 1)
        groups = lister.collect(entries)
    if not groups:
        raise InputError(f"there is no image in '{shorten(source)}'; pass another source")
    return Inputs(groups, (*notes, *lister.notes))


class _Lister:
    """Lists the images of files, in the order of the files.

    If `alone`, what is wrong with the only file is raised; else it is a note, and the file counts as an image that
    cannot be read.
    """

    def __init__(self, files: Files, column: str | None, most: int, *, alone: bool) -> None:
        self._files, self._column, self._most, self._alone = files, column, most, alone
        self.notes: list[str] = []
        self._plain: dict[str, Entry] = {}
        self._repeated = 0
        self._number = 0

    def collect(self, entries: Sequence[Entry]) -> tuple[tuple[Entry, ...], ...]:
        """List the images of files, in groups as `Inputs` has them."""
        groups: list[tuple[Entry, ...]] = []
        for entry in entries:
            suffix = suffix_of(entry.source)
            if suffix in CONTAINERS:
                groups.append(tuple(self._contained(entry, suffix)))
            elif suffix in tables.LIST_SUFFIXES:
                with closing(self._files.open(entry.source)) as file:
                    self._add(_named(entry.source, tables.read_list(file, entry.source, self._column)))
            elif entry.source.lower().endswith(tars.COMPRESSED):
                raise InputError(
                    f"'{shorten(entry.source)}' is compressed, so that its images cannot be read one by one; unpack it "
                    "to a .tar"
                )
            else:
                self._add([entry])
        if self._repeated:
            self.notes.append(f"{number_of(self._repeated, 'repeated name')} left out: each image has one row")
        return tuple(group for group in (tuple(self._plain.values()), *groups) if group)

    def _add(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._repeated += entry.source in self._plain
            self._plain.setdefault(entry.source, entry)
            self._check_number(1)

    def _check_number(self, more: int) -> None:
        self._number += more
        if self._number > self._most:
            raise InputError(
                f"there are more than {self._most:,} images; run parts of the source, each with its own --out"
            )

    def _contained(self, entry: Entry, suffix: str) -> list[Entry]:
        """List the images of a tar or a Parquet file."""
        container, shown = entry.source, shorten(entry.source)
        try:
            with closing(self._files.open(container)) as file:
                stamp = self._files.stamp(container, file)
                if suffix == TAR:
                    return self._members(file, container, stamp)
                table = tables.Table(file, shown, self._column)
                if table.column.kind == "paths":
                    self._add(_named(container, self._without_empty(table.paths(), shown)))
                    return []
                self._check_number(table.rows)
                return [Entry(row_source(container, row), stamp) for row in range(table.rows)]
        except (ImageError, BackendError) as error:
            if self._alone:
                raise
            self.notes.append(str(error))
            return [entry]

    def _members(self, file: BinaryIO, container: str, stamp: str) -> list[Entry]:
        shown = shorten(container)
        shard = tars.list_members(file, shown, self._most, self._column)
        self._check_number(len(shard.images))
        self.notes += shard.notes(shown)
        found = [Entry(member_source(container, one.name), member_stamp(stamp, one)) for one in shard.images]
        if not shard.damage:
            return found
        if self._alone and not found:
            raise ImageError(shard.damage)
        self.notes.append(shard.damage)
        return [*found, Entry(container, stamp)]

    def _without_empty(self, paths: Iterable[str | None], shown: str) -> Iterator[str]:
        empty = 0
        for path in paths:
            if path:
                yield path
            else:
                empty += 1
        if empty:
            self.notes.append(f"'{shown}' has {number_of(empty, 'row')} without a path")


def _find(files: Files, source: str, settings: Settings, most: int, run: Path | None) -> tuple[list[Entry], list[str]]:
    """Find the files that a source stands for: images, or files of many images, or a list."""
    names = [source] if scheme_of(source) == "" and Path(source).exists() else list(_expanded(source))
    if scheme_of(source):
        entries = [entry for name in names for entry in _find_elsewhere(files, name, most)]
        notes: list[str] = []
    else:
        listing = list_images(names, settings, most, endings=_FOUND, most_seen=_SEEN_PER_IMAGE * most)
        entries, notes = list(listing.entries), list(listing.notes)
        if run is not None:
            own = run.resolve()
            entries = [one for one in entries if own not in Path(one.source).parents]
    containers = [one for one in entries if suffix_of(one.source) in CONTAINERS]
    if containers and len(containers) < len(entries):
        entries = [one for one in entries if suffix_of(one.source) not in CONTAINERS]
        named = ", ".join(PurePosixPath(one.source).name for one in containers[:_SHOWN])
        left = number_of(len(containers), "tar or Parquet file")
        notes.append(f"{left} beside the images left out ({shorten(named)})")
    return entries, notes


def _find_elsewhere(files: Files, address: str, most: int) -> list[Entry]:
    """Find the files that an address on the web or in a store stands for: itself, or those below it that match."""
    scheme, _, path = address.partition("://")
    parts = path.split("/")
    magic = {"*"} if scheme_of(address) in WEB else _MAGIC  # a URL may hold a "?", and an address in "[]"
    fixed = next((at for at, part in enumerate(parts) if at and magic & set(part)), None)
    if fixed is None:
        if not path.endswith("/") and (suffix_of(address) or scheme_of(address) in WEB):
            return [Entry(address)]
        prefix, pattern = f"{address.rstrip('/')}/", "**/*"
    else:
        prefix, pattern = f"{scheme}://{'/'.join(parts[:fixed])}/", "/".join(parts[fixed:])
    found = []
    for entry in files.list(prefix):
        name = unquote(entry.source[len(prefix) :]) if scheme_of(address) in WEB else entry.source[len(prefix) :]
        if suffix_of(entry.source) in _FOUND and matches(pattern, name):
            found.append(entry)
        if len(found) > most:
            raise InputError(f"there are more than {most:,} files in {shorten(address)}; pass a part of them")
    if not found:
        raise InputError(f"there is no image in {shorten(address)}; check the address, or pass a pattern")
    return sorted(found, key=lambda entry: entry.source)


def _expanded(source: str) -> Iterator[str]:
    """Write out the braces of a source: `{08..11}` and `{a,b}`."""
    pieces = _BRACES.split(source)
    choices = [_choices(piece) if at % 2 else [piece] for at, piece in enumerate(pieces)]
    if prod(map(len, choices)) > _MOST_EXPANDED:
        raise InputError(f"'{shorten(source)}' stands for more than {_MOST_EXPANDED:,} files; pass fewer at once")
    return map("".join, product(*choices))


def _choices(inside: str) -> Sequence[str]:
    numbers = _NUMBERS.fullmatch(inside)
    if numbers is None:
        return inside.split(",") if "," in inside else [f"{{{inside}}}"]
    first, last = int(numbers[1]), int(numbers[2])
    width = len(numbers[1]) if numbers[1].startswith("0") else 0
    if last - first >= _MOST_EXPANDED:
        raise InputError(f"{{{inside}}} stands for more than {_MOST_EXPANDED:,} files; pass fewer at once")
    return [f"{number:0{width}}" for number in range(first, last + 1)]


def _named(container: str, paths: Iterable[str]) -> Iterator[Entry]:
    """Give the entries of paths in a list or a table; what is not one becomes an image that cannot be read."""
    for path in paths:
        try:
            address = beside(container, path)
        except InputError as error:
            if isinstance(error, ForbiddenError) and scheme_of(container):
                raise  # a file from elsewhere reaches for files of this machine
            yield Entry(shorten(path))
        else:
            yield Entry(address) if scheme_of(address) else file_entry(Path(address))
