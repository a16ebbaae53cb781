"""The output of a run: one Parquet file for each shard, with one row for each image of it.

A part is complete or not there: it is written aside, flushed, and renamed. Its footer names its run and its shard, and
sums up its rows, so that thousands of parts are summed up without reading them.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dinox_mcp.batch.journal import Record
from dinox_mcp.batch.outputs import aside
from dinox_mcp.batch.sources import reason_of
from dinox_mcp.batch.summary import readable
from dinox_mcp.batch.tables import import_pyarrow
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.store.files import write_atomically
from dinox_mcp.types.detection import Detection

if TYPE_CHECKING:
    import pyarrow as pa

ERRORS = "errors.parquet"
"""The file of a run that lists the images without an answer."""
_KEY = b"dinox_mcp"
_ROWS = 64
_NO_ROOM = "choose another --out with room, or make room, and run the same command again"


@dataclass(frozen=True, slots=True)
class Done:
    """A finished shard.

    Attributes:
        fingerprint: that of the run.
        shard: its number.
        images: its rows.
        failed: those without an answer.
        found: those with objects.
        counts: the objects of each label.
        model: the models that answered.
        notes: what the backend had to say, each with the number of images.
        unknown: the prompts that the backend did not know in any image that it answered.
    """

    fingerprint: str
    shard: int
    images: int
    failed: int = 0
    found: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    model: str = ""
    notes: Mapping[str, int] = field(default_factory=dict)
    unknown: Sequence[str] = ()


def part_path(run: Path, shard: int) -> Path:
    """Give the path of the part of a shard."""
    return run / "parts" / f"part-{shard:05}.parquet"


def row(record: Record, objects: Sequence[Detection]) -> dict[str, Any]:
    """Write what is known of an image as a row."""
    width, height = record.size
    return {
        "source": readable(record.source),
        "sha256": record.sha256 or None,
        "width": width or None,
        "height": height or None,
        "objects": [_object(one) for one in objects],
        "model": record.model or None,
        "seconds": record.seconds if record.model else None,
        "notes": list(record.notes),
        "error": record.error or None,
        "code": record.code or None,
    }


def sum_up(
    fingerprint: str, shard: int, rows: Sequence[Mapping[str, Any]], counts: Mapping[str, int], unknown: Sequence[str]
) -> Done:
    """Sum up the rows of a shard; `counts` and `unknown` are as `Done` has them, since rows may lack objects."""
    return Done(
        fingerprint,
        shard,
        len(rows),
        failed=sum(1 for one in rows if one["error"]),
        found=sum(1 for one in rows if one["objects"]),
        counts=dict(Counter(counts).most_common()),
        model=" + ".join(dict.fromkeys(one["model"] for one in rows if one["model"])),
        notes=dict(Counter(note for one in rows for note in one["notes"]).most_common()),
        unknown=unknown,
    )


def write_part(run: Path, done: Done, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the part of a shard, completely or not at all, so that it is on the disk when this returns. Blocks.

    Raises:
        SettingsError: it cannot be written.
    """
    pa, pq = import_pyarrow()
    path = part_path(run, done.shard)
    described = schema().with_metadata({_KEY: json.dumps(asdict(done)).encode()})
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, described), buffer, compression="zstd")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror}); {_NO_ROOM}") from None
    with suppress(OSError, AttributeError):  # Windows has no such call: the name is safe a little later
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_done(run: Path, shard: int, fingerprint: str) -> Done | None:
    """Read the footer of a part; None if there is none, or one that is damaged or of another run. Blocks."""
    pa, pq = import_pyarrow()
    try:
        with pq.ParquetFile(part_path(run, shard)) as file:
            done = Done(**json.loads(file.schema_arrow.metadata[_KEY]))
            is_intact = (done.fingerprint, done.shard, done.images) == (fingerprint, shard, file.metadata.num_rows)
            return done if is_intact else None
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return None


def stream_rows(run: Path, shard: int, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Give the rows of a part, a few at a time, or only some of their columns. Blocks.

    Raises:
        InputError: the part is damaged.
    """
    with _intact(run, shard) as pq, pq.ParquetFile(part_path(run, shard)) as file:
        for batch in file.iter_batches(_ROWS, columns=None if columns is None else list(columns)):
            yield from batch.to_pylist()


def join_parts(run: Path, shards: Iterable[int], path: Path, *, only_failed: bool = False) -> Iterator[tuple[int, int]]:
    """Write parts into one file, and give the numbers of images and objects of each as soon as it is written. Blocks.

    Args:
        run: the folder of the run.
        shards: their numbers, in order.
        path: the file.
        only_failed: leave out the rows of images with an answer.

    Raises:
        InputError: a part is damaged.
        OSError: the file cannot be written.
    """
    _, pq = import_pyarrow()
    chosen = [("code", "!=", "")] if only_failed else None
    with pq.ParquetWriter(path, schema(), compression="zstd") as file:
        for shard in shards:
            with _intact(run, shard):
                rows = pq.read_table(part_path(run, shard), schema=schema(), filters=chosen)
            file.write_table(rows)
            yield rows.num_rows, sum(len(objects) for objects in rows.column("objects"))


@contextmanager
def _intact(run: Path, shard: int) -> Iterator[Any]:
    """Give pyarrow's module for Parquet, and turn what it raises for a damaged part into an error with a remedy."""
    pa, pq = import_pyarrow()
    try:
        yield pq
    except (OSError, pa.ArrowException) as error:
        path = part_path(run, shard)
        raise InputError(f"{path} is damaged ({reason_of(error)}); delete it, and run the same command again") from None


def write_errors(run: Path, finished: Iterable[Done]) -> None:
    """List the images without an answer of all finished shards in one file, which is removed if there are none. Blocks.

    Raises:
        InputError: a part is damaged.
        SettingsError: it cannot be written.
    """
    path, failed = run / ERRORS, [one.shard for one in finished if one.failed]
    try:
        if not failed:
            path.unlink(missing_ok=True)
            return
        with aside(path) as beside:
            for _ in join_parts(run, failed, beside, only_failed=True):
                pass  # one part at a time, as there may be very many
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror}); {_NO_ROOM}") from None


def schema() -> "pa.Schema":
    """Give the columns of a part."""
    pa, _ = import_pyarrow()
    text, number = pa.string(), pa.float64()
    point = pa.struct({"name": text, "x": number, "y": number, "visibility": pa.int32(), "score": number})
    found = pa.struct(
        {
            "label": text,
            "score": number,
            "bbox": pa.list_(number),
            "mask": pa.struct({"size": pa.list_(pa.int32()), "counts": text}),
            "keypoints": pa.list_(point),
            "caption": text,
            "category": text,
            "text": text,
        }
    )
    return pa.schema(
        {
            "source": text,
            "sha256": text,
            "width": pa.int32(),
            "height": pa.int32(),
            "objects": pa.list_(found),
            "model": text,
            "seconds": number,
            "notes": pa.list_(text),
            "error": text,
            "code": text,
        }
    )


def _object(found: Detection) -> dict[str, Any]:
    return {**found.model_dump(exclude={"owner", "id", "part_of"}), "label": readable(found.label)}
