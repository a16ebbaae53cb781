"""Works through the images of a job: several at a time, each once, within a time, and into its journal."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import anyio
import anyio.to_thread

from dinox_mcp.backends.base import Progress
from dinox_mcp.batch.journal import Journal, Record
from dinox_mcp.batch.sources import Entry
from dinox_mcp.errors import BackendError, BusyError, DeadlineError, DinoxError, InputError, ServiceError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.detection import Detection, Detections

AT_A_TIME = 4
"""Images that are loaded or wait for the backend at the same time, so that it never waits for a disk."""
AT_A_TIME_ELSEWHERE = 8
"""The same for a service that works on several at once."""
MAX_FAILURES = 5
"""Images after one another that the backend does not answer before a run stops, unless it has another limit."""
_PATIENCE_S = 300.0
_LONGEST_PAUSE_S = 8.0
_EVERY_S = 0.5
_SHARE = 0.5

Load = Callable[[str], Awaitable[Picture]]
Detect = Callable[[Picture], Awaitable[Detections]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run did: the images that it detected in, and the error that stopped it, if there was one."""

    detected: int
    error: DinoxError | None = None


def pending(entries: Sequence[Entry], journal: Journal) -> list[Entry]:
    """List the images that are still to be detected in.

    What failed for another reason than its file, such as an address that did not answer, is tried again when
    everything else is done.
    """
    known = journal.records
    new = [one for one in entries if one.source not in known]
    return new or [one for one in entries if known[one.source].error and not _is_final(known[one.source])]


async def run(
    entries: Sequence[Entry],
    journal: Journal,
    load: Load,
    detect: Detect,
    *,
    progress: Progress,
    budget_s: float | None = None,
    at_a_time: int = AT_A_TIME,
    max_failures: int = MAX_FAILURES,
) -> Outcome:
    """Detect in images, and write each into the journal.

    Images with equal bytes are detected in once. What is wrong with an image is written down, and the others go on;
    what is wrong with the backend, such as a rejected key, ends the run. A backend that is busy is waited for. If the
    run is cancelled, what is complete is in the journal.

    Args:
        entries: the images to detect in, in this order.
        journal: what is known already.
        load: loads an image.
        detect: finds the objects in it.
        progress: hears of each image, as the share of all images of the job.
        budget_s: seconds after which no image is begun, and those that are not complete are given up; None for any.
        at_a_time: images that are worked on at the same time.
        max_failures: images after one another that the backend does not answer before the run stops.
    """
    work = _Run(entries, journal, load, detect, progress, max_failures)
    with anyio.move_on_after(budget_s):
        if budget_s is not None:
            work.ends = anyio.current_time() + budget_s
        async with anyio.create_task_group() as group:
            for _ in range(at_a_time):
                group.start_soon(work.go_on, group.cancel_scope)
    if work.crash is not None:
        raise work.crash
    return Outcome(work.detected, work.error)


class _Run:
    """One run: the images that are left, and what came of the others."""

    def __init__(
        self,
        entries: Sequence[Entry],
        journal: Journal,
        load: Load,
        detect: Detect,
        progress: Progress,
        max_failures: int,
    ) -> None:
        self._journal, self._load, self._detect, self._progress = journal, load, detect, progress
        self._max_failures = max_failures
        self.detected = 0
        self.error: DinoxError | None = None
        self.crash: Exception | None = None
        self.ends = float("inf")
        self._entries = iter(entries)
        self._left = len(entries)
        self._with_objects = sum(1 for record in journal.records.values() if record.counts)
        self._begun: dict[str, anyio.Event] = {}
        self._longest_s = 0.0
        self._failures = 0
        self._reported = float("-inf")

    async def go_on(self, scope: anyio.CancelScope) -> None:
        """Work until there are no images left, or the run stops."""
        try:
            for entry in self._entries:
                began = anyio.current_time()
                if began + self._longest_s > self.ends:
                    return  # it would not be complete in time, and perhaps paid for
                await self._image(entry)
                took = anyio.current_time() - began
                self._longest_s = min(max(self._longest_s, took), _SHARE * (self.ends - began))
                await self._report()
        except DinoxError as error:
            self.error = self.error or error
            scope.cancel()
        except Exception as error:  # noqa: BLE001 - raised by `run`, where the group does not wrap it
            self.crash = self.crash or error
            scope.cancel()

    async def _image(self, entry: Entry) -> None:
        """Load an image and detect in it, unless the same bytes are known; raise an error that must stop the run."""
        record = Record(entry.source, entry.stamp)
        try:
            picture = await self._load(entry.source)
            record = Record(entry.source, entry.stamp, sha256=picture.digest, size=(picture.width, picture.height))
            while picture.digest not in self._journal.detected:
                if event := self._begun.get(picture.digest):
                    await event.wait()
                    continue
                await self._detect_in(picture, record)
                return
            await self._keep(record)
        except (InputError, DeadlineError, ServiceError) as error:
            await self._keep_error(record, error)
        except BackendError as error:
            if type(error) is not BackendError:
                raise  # rejected keys, no credit, no connection: true of every other image
            await self._keep_error(record, error)

    async def _detect_in(self, picture: Picture, record: Record) -> None:
        event = self._begun[picture.digest] = anyio.Event()
        try:
            began = anyio.current_time()
            found = await self._patiently(picture)
            seconds = anyio.current_time() - began
            full = replace(record, model=found.model, notes=found.notes, unknown=found.unknown, seconds=seconds)
            self.detected += 1
            self._failures = 0
            await self._keep(full, found.objects)
        finally:
            del self._begun[picture.digest]
            event.set()

    async def _patiently(self, picture: Picture) -> Detections:
        """Detect in an image, and again in a while where the backend is busy, for some minutes."""
        pause, until = _EVERY_S, anyio.current_time() + _PATIENCE_S
        while True:
            try:
                return await self._detect(picture)
            except BusyError:
                if anyio.current_time() > until:
                    raise
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _keep_error(self, record: Record, error: DinoxError) -> None:
        """Write down why an image has no objects; raise the error if it is one of many failures of the backend."""
        if isinstance(error, BackendError):
            self._failures += 1
            if self._failures >= self._max_failures:
                raise error
        await self._keep(replace(record, error=str(error), code=error.code))

    async def _keep(self, record: Record, objects: Sequence[Detection] | None = None) -> None:
        """Write down what is known of an image, also if the run is being cancelled: it may be paid for."""
        with anyio.CancelScope(shield=True):
            kept = await anyio.to_thread.run_sync(self._journal.add, record, objects)
        self._with_objects += bool(kept.counts)

    async def _report(self) -> None:
        self._left -= 1
        now = anyio.current_time()
        if now - self._reported < _EVERY_S and self._left:
            return
        self._reported = now
        total = self._journal.total
        done = total - self._left
        await self._progress(done / max(1, total), f"{done} of {total} images, objects in {self._with_objects}")


def refuse_partial(found: Detections) -> None:
    """Refuse a response that lacks prompts which its backend knows: a job would keep it for ever.

    Raises:
        ServiceError: it does.
    """
    if not found.complete and set(found.unsearched) - set(found.unknown):
        raise ServiceError("; ".join(found.notes) or "a part of the request was not answered; start again to continue")


def _is_final(record: Record) -> bool:
    """Return whether an error lies in the image's own file, so that it stays as long as the file does."""
    return bool(record.stamp) and record.code in {"image_unreadable", "image_forbidden", "invalid_input"}
