"""Tables of images: Parquet files with a column of bytes or of paths, and lists as text or CSV.

pyarrow, of the extra `batch`, is imported when a Parquet file is opened.
"""

import csv
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple

from dinox_mcp.batch.sources import check_size, reason_of
from dinox_mcp.errors import DinoxError, ForbiddenError, ImageError, InputError, UnsupportedError
from dinox_mcp.images.sources import MAX_ADDRESS, shorten
from dinox_mcp.settings import MiB
from dinox_mcp.types.extras import extras_command

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".parquet", ".pq")
LIST_SUFFIXES = (".txt", ".csv")
NAMES = (
    *("image", "img", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes", "data", "content"),
    *("path", "image_path", "file", "file_path", "filepath", "file_name", "filename", "url", "image_url", "uri"),
    *("source",),
)
"""Columns that hold images where the caller names none, the best first."""
_ROWS = 16
_KEPT_ROWS, _KEPT_BYTES = 64, 256 * MiB
_LARGEST_GROUP = 1024 * MiB
_BUFFER = 4 * MiB
_LONGEST_LINE = 4 * MAX_ADDRESS
_SHOWN = 8


class Picked(NamedTuple):
    """The column with the images: its bytes, bytes with a path beside them as Hugging Face writes them, or paths."""

    name: str
    kind: Literal["bytes", "struct", "paths"]


class Value(NamedTuple):
    """What a row has: the bytes of an image, or where it is, or nothing."""

    data: bytes | None
    path: str | None


class Table:
    """A Parquet file with a column of images.

    Args:
        file: the file.
        shown: what messages call it.
        column: the column with the images; by default, one is chosen by its type and name.

    Raises:
        ImageError: it is not a Parquet file, or is damaged.
        ForbiddenError: a row group would take too much memory: twice its bytes, or more.
        InputError: there is no such column, or none of images.
        UnsupportedError: the extra `batch` is not installed.
    """

    def __init__(self, file: BinaryIO, shown: str, column: str | None = None) -> None:
        _, pq = import_pyarrow(f"'{shown}' is a Parquet file")
        self._shown = shown
        with _explained(shown):
            self._file = pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
            self.rows: int = self._file.metadata.num_rows
            schema = self._file.schema_arrow
        self.column = _pick(schema, column, shown)
        self._leaves = [self.column.name]
        if self.column.kind == "struct":
            self._leaves = [f"{self.column.name}.bytes", f"{self.column.name}.path"]
        self._check_groups()
        self._next = 0
        self._coming: Iterator[Value] | None = None
        self._kept: OrderedDict[int, Value] = OrderedDict()
        self._bytes = 0

    def _check_groups(self) -> None:
        for group in range(self._file.num_row_groups):
            # The sizes of single columns are not read: pyarrow ends the process where their description is damaged.
            size = self._file.metadata.row_group(group).total_byte_size
            if size > _LARGEST_GROUP:
                raise ForbiddenError(
                    f"'{self._shown}' has a row group of {size:,} bytes, more than {_LARGEST_GROUP:,}; write it with "
                    "smaller ones, such as row_group_size=100"
                )

    def paths(self) -> Iterator[str | None]:
        """Give the paths of all rows, None where there is none. Blocks.

        Raises:
            ImageError: the file is damaged.
        """
        with _explained(self._shown):
            yield from (value.path for value in self._values(0))

    def read(self, row: int, max_bytes: int) -> Value:
        """Read a row; the next rows are fast to read then. Blocks.

        Raises:
            ForbiddenError: its bytes are too many.
            ImageError: the file is damaged, or has fewer rows.
        """
        if not 0 <= row < self.rows:
            raise ImageError(f"'{self._shown}' has only {self.rows:,} rows now; choose another --out")
        if row not in self._kept:
            try:
                with _explained(self._shown):
                    self._go_to(row)
            except DinoxError:
                self._coming = None  # the next try begins anew
                raise
        value = self._kept.pop(row)
        size = len(value.data or b"")
        self._bytes -= size
        check_size(f"'{self._shown}#row={row}'", size, max_bytes)
        return value

    def _go_to(self, row: int) -> None:
        """Read on to a row, or from the beginning of its row group, and keep the rows on the way."""
        begin = group = 0
        while (end := begin + self._file.metadata.row_group(group).num_rows) <= row:
            begin, group = end, group + 1
        if row < self._next or self._next < begin or self._coming is None:
            self._kept.clear()
            self._bytes, self._next = 0, begin
            self._coming = self._values(group)
        while self._next <= row:
            value = next(self._coming)
            self._kept[self._next] = value
            self._bytes += len(value.data or b"")
            self._next += 1
            while len(self._kept) > 1 and (len(self._kept) > _KEPT_ROWS or self._bytes > _KEPT_BYTES):
                self._bytes -= len(self._kept.popitem(last=False)[1].data or b"")

    def _values(self, group: int) -> Iterator[Value]:
        """Give the rows of a row group and of those behind it."""
        for number in range(group, self._file.num_row_groups):
            for batch in self._file.iter_batches(_ROWS, row_groups=[number], columns=self._leaves, use_threads=False):
                yield from map(self._value, batch.column(0).to_pylist())

    def _value(self, found: Any) -> Value:  # noqa: ANN401 - what a column of any type has
        if found is None:
            return Value(None, None)
        if self.column.kind == "struct":
            return Value(found["bytes"], found.get("path"))
        return Value(found, None) if self.column.kind == "bytes" else Value(None, found)


def read_list(file: BinaryIO, shown: str, column: str | None = None) -> Iterator[str]:
    """Give the paths and URLs of a list: one a line, or those in a column of a CSV file. Blocks.

    Args:
        file: the list, in UTF-8.
        shown: what messages call it; its ending says what it is.
        column: the column of a CSV file; by default, the first that is named like one of images.

    Raises:
        ImageError: it is not text, or a line is too long.
        InputError: there is no such column.
    """
    with TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="") as text:
        lines = _lines(text, shown)
        found = _column_of(lines, shown, column) if shown.lower().endswith(".csv") else lines
        yield from filter(None, (path.strip() for path in found))


def _column_of(lines: Iterator[str], shown: str, column: str | None) -> Iterator[str]:
    """Give the values of a column of a CSV file."""
    try:
        rows = csv.reader(lines)
        names = [name.strip() for name in next(rows, [])]
        wanted = [column] if column is not None else [known for known in NAMES if known in map(str.lower, names)]
        number = next((at for want in wanted for at, name in enumerate(names) if name.lower() == want.lower()), None)
        if number is None:
            raise _no_column(shown, names, column)
        yield from (row[number] for row in rows if len(row) > number)
    except csv.Error as error:
        raise ImageError(f"'{shown}' is not a CSV file ({reason_of(error)}); pass an intact one") from None


def _lines(text: TextIOWrapper, shown: str) -> Iterator[str]:
    """Give the lines of a text; refuse one that is longer than any path, or holds what no text does."""
    for number, line in enumerate(iter(partial(text.readline, _LONGEST_LINE), ""), start=1):
        if len(line) >= _LONGEST_LINE or "\0" in line:
            raise ImageError(
                f"line {number:,} of '{shown}' is not a path or a URL; pass a text file with one of them a line, or a "
                "CSV file"
            )
        yield line


def _pick(schema: "pa.Schema", column: str | None, shown: str) -> Picked:
    """Choose the column with the images: the one that is named, else bytes before paths, then by name."""
    usable = [found for one in schema if (found := _picked(one)) is not None]
    if column is not None:
        named = [found for found in usable if found.name == column]
    else:
        order = {name: number for number, name in enumerate(NAMES)}
        structs = [found for found in usable if found.kind == "struct"]
        data = [found for found in usable if found.kind == "bytes"]
        known = [found for found in usable if found.name.lower() in order]
        known.sort(key=lambda found: (found.kind == "paths", order[found.name.lower()]))
        named = next((few for few in (structs, data) if len(few) == 1), known)
    if not named:
        raise _no_column(shown, schema.names, column)
    return named[0]


def _picked(one: "pa.Field") -> Picked | None:
    """Return how a column may hold images; None for a column that cannot."""
    from pyarrow import types

    kind = one.type
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return Picked(one.name, "bytes")
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return Picked(one.name, "paths")
    if types.is_struct(kind) and "bytes" in (inner := {kind.field(at).name for at in range(kind.num_fields)}):
        return Picked(one.name, "struct") if inner <= {"bytes", "path"} else None
    return None


def _no_column(shown: str, names: list[str], column: str | None) -> InputError:
    listed = ", ".join(shorten(name, 40) for name in names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    wanted = (
        f"no column {column!r:.80} of images" if column is not None else "no column that is named like one of images"
    )
    return InputError(f"'{shown}' has {wanted} (its columns: {listed or 'none'}); name one by --column")


@contextmanager
def _explained(shown: str) -> Iterator[None]:
    """Turn what pyarrow raises for a damaged file, which may be any error, into one with a remedy."""
    try:
        yield
    except DinoxError:
        raise
    except Exception as error:  # noqa: BLE001
        raise ImageError(f"'{shown}' is not an intact Parquet file ({reason_of(error)}); get it again") from None


def import_pyarrow(what: str = "a batch is written as Parquet") -> tuple[Any, Any]:
    """Import pyarrow, which takes a third of a second, and its module for Parquet.

    Args:
        what: what needs it, for the error.

    Raises:
        UnsupportedError: it is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UnsupportedError(f"{what}, and pyarrow is not installed; {extras_command(['batch'])}") from None
    return pa, pq
