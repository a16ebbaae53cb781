"""Works through one shard of a run: image by image into its journal, then at once into its part.

Any process may do it: it needs what `Batch` says, the folder of the run, and a detector of its own. What it has done
outlives it, however it ends.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread

from dinox_mcp.backends.base import Call, Progress
from dinox_mcp.batch import parts
from dinox_mcp.batch import run as running
from dinox_mcp.batch.journal import Journal, Keeping, Record
from dinox_mcp.batch.manifest import Shard, read_entries
from dinox_mcp.batch.parts import Done
from dinox_mcp.batch.reader import Reader
from dinox_mcp.batch.report import Tracker
from dinox_mcp.batch.requests import Detecting, load_images
from dinox_mcp.batch.sources import Entry
from dinox_mcp.batch.summary import unknown_everywhere
from dinox_mcp.detect.options import MAX_OBJECTS, OWNER
from dinox_mcp.errors import BackendError, DinoxError, NotFoundError, ServiceError
from dinox_mcp.images.files import read_file
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import MiB
from dinox_mcp.types.detection import DetectionRequest, Detections

A = TypeVar("A")
T = TypeVar("T")
_logger = logging.getLogger(__name__)
WORKER_DIED = "worker_died"
"""The code of an image whose process died each time that it was worked on."""
MAX_DEATHS = 2
"""Deaths of a process that had only this image in hand until it is given up: one may be an accident."""
_JOURNALS = "journals"
_MAX_BYTES = 8192 * MiB
_REMEDY = "make room, and run the same command again"
_SMALLER = "choose another --out, with a smaller --shard-size"


@dataclass(frozen=True, slots=True)
class Batch:
    """What a process must know to work on shards of a run. It can be pickled, and holds no key.

    Attributes:
        run: the folder of the run.
        request: what to find in each.
        fingerprint: that of the run.
        column: the column of tables with the images, or the field of a tar's samples, if one is named.
        max_objects: objects of an image that are kept, those that score highest.
        at_once: images that a process works on at the same time.
        paid: the backend costs something, so that no response may be lost even in a power failure.
        retry: finished shards get another try of their images without an answer.
    """

    run: Path
    request: DetectionRequest
    fingerprint: str
    column: str | None = None
    max_objects: int = MAX_OBJECTS
    at_once: int = running.AT_A_TIME
    paid: bool = False
    retry: bool = False


async def run_local(detector: Detecting, batch: Batch, shards: Sequence[Shard], tracker: Tracker) -> None:
    """Work on shards in this process, one after another.

    Raises:
        DinoxError: the run has to stop: the backend does not answer, or the disk is full.
    """
    for shard in shards:
        if tracker.stopping():
            return

        async def report(share: float, _: str, shard: Shard = shard) -> None:
            await tracker.working(shard, share)

        await tracker.finished(await run_shard(detector, batch, shard, report))


async def run_shard(detector: Detecting, batch: Batch, shard: Shard, progress: Progress) -> Done:
    """Detect in the images of a shard that have no result yet, and write its part.

    Args:
        detector: one of this process.
        batch: the run.
        shard: which of its images.
        progress: hears of the share of them that is done; the first report is what was done before.

    Raises:
        DinoxError: the run has to stop; the same call again continues.
    """
    entries = await anyio.to_thread.run_sync(lambda: list(read_entries(batch.run, shard)))
    kept = await anyio.to_thread.run_sync(_rows_to_keep, batch, shard, entries) if batch.retry else {}
    left = [entry for entry in entries if entry.source not in kept]
    with ExitStack() as held:
        journal = await anyio.to_thread.run_sync(held.enter_context, _journal(batch, shard))
        reader = await anyio.to_thread.run_sync(held.enter_context, Reader(detector.settings, batch.column, batch.run))
        await anyio.to_thread.run_sync(journal.plan, left)
        await _Work(detector, batch, journal, reader, left, progress).all()
        done = await anyio.to_thread.run_sync(_finish, batch, shard, entries, journal, kept)
    await anyio.to_thread.run_sync(journal_path(batch.run, shard.number).unlink)
    return done


def journal_path(run: Path, shard: int) -> Path:
    """Give the path of the journal of a shard, which is there while it is worked on."""
    return run / _JOURNALS / f"{shard:05}.jsonl"


def has_results(run: Path) -> bool:
    """Return whether a run has a part, or an image in a journal: if not, its folder is free for another request."""
    if any((run / "parts").glob("*.parquet")):
        return True
    for path in (run / _JOURNALS).glob("*.jsonl"):
        with suppress(NotFoundError):  # one that is damaged has none
            if Journal.read(path).records:
                return True
    return False


def has_unsaved(run: Path, shard: Shard) -> bool:
    """Return whether the journal of a finished shard has answers that its part lacks: a `retry` was ended. Blocks.

    Raises:
        InputError: the part is damaged.
    """
    path = journal_path(run, shard.number)
    if not path.exists():
        return False
    try:
        records = Journal.read(path).records
    except NotFoundError:  # it is damaged, so nothing can be saved
        return False
    rows = zip(read_entries(run, shard), parts.stream_rows(run, shard.number, ("error",)), strict=True)
    failed = (entry.source for entry, row in rows if row["error"])
    return any(source in records and not records[source].error for source in failed)


def remove_journals(run: Path) -> None:
    """Remove the journals of a run that has no results."""
    for path in (run / _JOURNALS).glob("*.jsonl"):
        path.unlink()


class _Work:
    """Detects in the images of a shard."""

    def __init__(
        self,
        detector: Detecting,
        batch: Batch,
        journal: Journal,
        reader: Reader,
        left: Sequence[Entry],
        progress: Progress,
    ) -> None:
        self._detector, self._batch, self._journal, self._reader = detector, batch, journal, reader
        self._left, self._progress = left, progress
        self._entries = {entry.source: entry for entry in left}
        self._plan = detector.pipeline.router.plan(batch.request)
        self._call = Call()

    async def all(self) -> None:
        """Detect in all images that the journal does not have; raise an error for which the run has to stop."""
        left, journal = self._left, self._journal
        if self._batch.request.examples:
            pictures = partial(load_images, self._batch.run, self._detector.settings.max_image_pixels)
            self._call = Call(pictures=await anyio.to_thread.run_sync(pictures))
        await self._progress(1 - len(running.pending(left, journal)) / max(1, len(left)), "")
        for source, deaths in list(journal.begun.items()):
            if source in self._entries:
                await self._suspect(self._entries[source], deaths)
        await self._detect_in([one for one in left if one.source not in journal.records])
        again = [one for one in running.pending(left, journal) if journal.records[one.source].code != WORKER_DIED]
        await self._detect_in(again, max_failures=len(again) + 1)  # where an address or the service did not answer

    async def _suspect(self, entry: Entry, deaths: int) -> None:
        """Detect in an image that a process died with, with no other in hand; one that killed several is given up."""
        if deaths < MAX_DEATHS:
            await self._detect_in([entry], times_alone=deaths + 1)
            return
        error = f"the process died {deaths} times with only this image in hand; repair the file, or convert it"
        record = Record(entry.source, entry.stamp, error=error, code=WORKER_DIED)
        await anyio.to_thread.run_sync(self._journal.add, record)

    async def _detect_in(
        self, entries: Sequence[Entry], times_alone: int = 0, max_failures: int = running.MAX_FAILURES
    ) -> None:
        async def load(source: str) -> Picture:
            data = await anyio.to_thread.run_sync(self._begin, source, times_alone)
            return await (self._detector.load(source, OWNER) if data is None else self._detector.read(data, source))

        outcome = await running.run(
            entries,
            self._journal,
            partial(_guarded, load),
            partial(_guarded, self._detect),
            progress=self._progress,
            at_a_time=self._batch.at_once,
            max_failures=max_failures,
        )
        if outcome.error is not None:
            raise outcome.error

    def _begin(self, source: str, times_alone: int) -> bytes | None:
        """Note that an image is in hand, then read it: from here on it may kill the process.

        None leaves it to the loader: it is an address, or the page of a PDF.
        """
        entry = self._entries[source]
        self._journal.begin(source, times_alone)
        data = self._reader.read(entry)
        if data is None and entry.stamp:  # a file
            data, _ = read_file(source, self._detector.settings)
        return data

    async def _detect(self, picture: Picture) -> Detections:
        plan = self._plan
        answer = await self._detector.pipeline.find(plan, picture, self._call, self._batch.max_objects)
        found = answer.found
        running.refuse_partial(found)
        if answer.backend != plan.backend:  # what a run finds must not depend on when a service was out of reach
            raise ServiceError("; ".join(found.notes) or f"the backend {plan.backend} did not answer; run it again")
        own = [note for note in dict.fromkeys((*found.notes, *picture.notes)) if note not in plan.notes]
        return found.model_copy(update={"notes": tuple(own)})


@contextmanager
def _journal(batch: Batch, shard: Shard) -> Iterator[Journal]:
    """Open the journal of a shard; an orderly end leaves no image in hand."""
    path = journal_path(batch.run, shard.number)
    path.parent.mkdir(parents=True, exist_ok=True)
    keeping = Keeping(batch.max_objects, _MAX_BYTES, at_once=batch.paid, remedy=_REMEDY, too_long=_SMALLER)
    journal = Journal.open(path, {"run": batch.fingerprint, "shard": shard.number}, keeping)
    try:
        yield journal
    finally:
        journal.rest()
        journal.close()


def _rows_to_keep(batch: Batch, shard: Shard, entries: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    """Read the rows of a finished shard that another try would not change, by source."""
    if parts.read_done(batch.run, shard.number, batch.fingerprint) is None:
        return {}
    rows = zip(entries, parts.stream_rows(batch.run, shard.number), strict=True)
    return {entry.source: row for entry, row in rows if not row["error"]}


def _finish(
    batch: Batch, shard: Shard, entries: Sequence[Entry], journal: Journal, kept: Mapping[str, dict[str, Any]]
) -> Done:
    """Write the part of a shard whose images are all in its journal, or in the part before."""
    rows, counts = [], Counter[str]()
    for entry in entries:
        if entry.source in kept:
            row = kept[entry.source]
            counts.update(one["label"] for one in row["objects"])
        else:
            record = journal.records[entry.source]
            row = parts.row(record, journal.objects(record))
            counts.update(record.counts)
        rows.append(row)
    before = parts.read_done(batch.run, shard.number, batch.fingerprint) if kept else None
    unknown = before.unknown if before else unknown_everywhere(journal.records.values())
    done = parts.sum_up(batch.fingerprint, shard.number, rows, counts, unknown)
    parts.write_part(batch.run, done, rows)
    return done


async def _guarded(work: Callable[[A], Awaitable[T]], image: A) -> T:
    """Work on an image; a defect that it brings to light is an error of this image, and does not end the run."""
    try:
        return await work(image)
    except DinoxError:
        raise
    except Exception as error:
        _logger.exception("an image could not be worked on")
        raise BackendError(f"{type(error).__name__}: {error!s:.200}; report it") from error
