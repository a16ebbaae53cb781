"""A batch from its arguments to its result: what it takes is said first, an engine works, the parts are summed up."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import anyio.to_thread

from dinox_mcp import __version__
from dinox_mcp.backends.base import silent
from dinox_mcp.batch import manifest as plans
from dinox_mcp.batch import parts
from dinox_mcp.batch import run as running
from dinox_mcp.batch.files import FETCHED, remove_fetched
from dinox_mcp.batch.inputs import Inputs, canonical_source, list_inputs
from dinox_mcp.batch.manifest import SHARD_SIZE, Change, Shard
from dinox_mcp.batch.ray_engine import run_ray
from dinox_mcp.batch.report import BatchResult, Tracker, sum_up_run, unknown_so_far
from dinox_mcp.batch.requests import Detecting, Job, answered_by, most_paid_calls, request_of, save_images
from dinox_mcp.batch.shards import Batch, has_results, has_unsaved, journal_path, remove_journals, run_local
from dinox_mcp.batch.sources import Entry
from dinox_mcp.detect.options import MAX_OBJECTS, OWNER, Options, labels_of
from dinox_mcp.detect.visual_prompts import VisualPrompt
from dinox_mcp.errors import DinoxError, InputError
from dinox_mcp.store.jobs import held_run
from dinox_mcp.types.text import number_of

Engine = Callable[[Detecting, Batch, Sequence[Shard], Tracker], Awaitable[None]]
ENGINES: Mapping[str, Engine] = {"local": run_local, "ray": run_ray}
"""What works on the shards, by name."""
_REMEDY = "choose another --out"


class BatchOptions(Options, total=False):
    """The options of a batch, besides those of a detection.

    `max_objects` is 1000 by default. A run that would take more than `max_calls` calls to a paid backend, by default
    those of the settings, is refused before the first. `column` is that of a table with the images, or the field of a
    tar's samples. With `limit`, only the first images of the source are planned;
    a later call without it goes on. `shard_size` is the number of images that are finished together. With `retry`,
    images without an answer get another try. `at_once` images are worked on at the same time, by default 4, or 8 with a
    paid backend. `engine` names what works on the shards: "local" is this process, "ray" a cluster of `workers`
    processes, each with `gpus_per_worker` GPUs. Once `stopping` returns True, no further shard is begun.
    """

    column: str | None
    max_calls: int | None
    limit: int | None
    shard_size: int
    retry: bool
    at_once: int | None
    engine: str
    workers: int | None
    gpus_per_worker: float | None
    stopping: Callable[[], bool]


async def run_batch(
    detector: Detecting,
    source: str,
    out: Path,
    prompts: str | Sequence[str] | None,
    examples: Sequence[VisualPrompt],
    options: BatchOptions,
) -> BatchResult:
    """Detect in all images of a source; see `Detector.batch`."""
    _check_numbers(options)
    engine = _engine(options)
    await anyio.to_thread.run_sync(parts.schema)  # a missing pyarrow is an error before anything else
    job = await _ready(detector, source, prompts, examples, options)
    run = await anyio.to_thread.run_sync(lambda: out.expanduser().absolute())
    find = partial(list_inputs, column=options.get("column"), run=run)
    try:
        listed = await anyio.to_thread.run_sync(find, job.header["source"], detector.settings)
    except DinoxError:
        await anyio.to_thread.run_sync(_remove_unused, run)
        raise
    with ExitStack() as held:
        await anyio.to_thread.run_sync(held.enter_context, held_run(run))
        work = await anyio.to_thread.run_sync(_Run, run, detector, job, options, listed)
        await work.work(engine)
        result = await anyio.to_thread.run_sync(work.result)
        if result.complete:
            await anyio.to_thread.run_sync(remove_fetched, run)
        return result


def _remove_unused(run: Path) -> None:
    """Remove the tars that a listing fetched in vain, unless another call works on the run."""
    if (run / FETCHED).is_dir():
        with suppress(DinoxError), held_run(run):
            remove_fetched(run)


class _Run:
    """One call of a run: what is planned, what is finished, and what stopped it."""

    def __init__(self, run: Path, detector: Detecting, job: Job, options: BatchOptions, listed: Inputs) -> None:
        """Compare the source with what is planned and finished, check the cost, and plan what is new. Blocks."""
        self._run, self._detector, self._job, self._options = run, detector, job, options
        self._calls_each = most_paid_calls(detector, job.plan)
        self._error: DinoxError | None = None
        retry = options.get("retry", False)
        manifest = plans.open_manifest(run, job.header, may_replace=not has_results(run))
        if not manifest.shards:
            remove_journals(run)
        scanned = {one.number: parts.read_done(run, one.number, manifest.fingerprint) for one in manifest.shards}
        finished = {number: done for number, done in scanned.items() if done is not None}
        damaged = sum(parts.part_path(run, number).exists() for number in scanned.keys() - finished.keys())
        change = plans.compare(run, manifest, listed.groups, finished.keys())
        self._notes = (*listed.notes, *_drift(damaged, change))
        new = _first(change.new, options.get("limit"), manifest.images)
        self._check_cost(manifest.images + sum(map(len, new)))
        save_images(run, job.pictures, _REMEDY)
        self._manifest = plans.extend(run, manifest, new, options.get("shard_size", SHARD_SIZE)) if new else manifest
        self._todo = todo = dict[Shard, int]()
        for shard in self._manifest.shards:
            done = finished.get(shard.number)
            if done is None:
                todo[shard] = shard.images
            elif retry:
                todo[shard] = done.failed
            else:
                todo[shard] = 0
                if not has_unsaved(run, shard):  # its process died between the last two steps
                    journal_path(run, shard.number).unlink(missing_ok=True)
        stopping = options.get("stopping", lambda: False)
        self._tracker = Tracker(todo, finished, options.get("progress", silent), stopping)

    async def work(self, engine: Engine) -> None:
        """Say what the run takes, and have an engine do it; raise its error if nothing is finished before."""
        options, job = self._options, self._job
        left = [shard for shard, images in self._todo.items() if images]
        if not left:
            return
        images, total = sum(self._todo.values()), self._manifest.images
        calls = images * self._calls_each
        cost = f"at most {number_of(calls, 'call')} to {job.plan.backend}" if calls else f"free, by {job.plan.backend}"
        progress = options.get("progress", silent)
        await progress(1 - images / total, f"{images:,} of {number_of(total, 'image')} to detect in: {cost}")
        batch = Batch(
            self._run,
            job.request,
            self._manifest.fingerprint,
            column=options.get("column"),
            max_objects=options.get("max_objects", MAX_OBJECTS),
            at_once=options.get("at_once") or (running.AT_A_TIME_ELSEWHERE if calls else running.AT_A_TIME),
            paid=bool(calls),
            retry=options.get("retry", False),
        )
        try:
            await engine(self._detector, batch, left, self._tracker)
        except DinoxError as error:
            if not self._tracker.parts and not self._tracker.images:
                raise
            self._error = error

    def result(self) -> BatchResult:
        """Sum up the finished shards, and list the images without an answer in a file. Blocks."""
        tracker, plan = self._tracker, self._job.plan
        finished = [tracker.parts[number] for number in sorted(tracker.parts)]
        parts.write_errors(self._run, finished)
        notes = [*plan.notes, *self._notes]
        if unknown := unknown_so_far(finished):
            router = self._detector.pipeline.router
            notes.append(router.explain(unknown, plan, found=True, caller_has_key=False))
        return sum_up_run(finished, labels_of(self._job.request), notes).model_copy(
            update={
                "folder": str(self._run),
                "total": self._manifest.images,
                "detected": tracker.images,
                "seconds": tracker.seconds,
                "backend": plan.backend,
                "stopped": str(self._error or ""),
            }
        )

    def _check_cost(self, images: int) -> None:
        """Refuse a run of so many images that takes more calls to a paid backend than are allowed."""
        calls = images * self._calls_each
        most = self._options.get("max_calls") or self._detector.settings.max_calls_per_job
        if calls > most:
            raise InputError(
                f"{number_of(images, 'image')} would take {number_of(calls, 'call')} to {self._job.plan.backend}, more "
                f"than the {most:,} of a run; pass --max-calls {calls} to pay for them, or fewer images with --limit"
            )


def _drift(damaged: int, change: Change) -> Iterator[str]:
    """Say what was damaged, and how the source differs from the finished shards, whose rows stay."""
    if damaged:
        yield f"{number_of(damaged, 'damaged part')} replaced: the images were detected in again"
    if change.gone:
        yield f"{number_of(change.gone, 'finished image')} not in the source any more; the rows stay"
    if change.changed:
        yield f"{number_of(change.changed, 'finished image')} changed since; the rows stay as they are, see sha256"


async def _ready(
    detector: Detecting,
    source: str,
    prompts: str | Sequence[str] | None,
    examples: Sequence[VisualPrompt],
    options: BatchOptions,
) -> Job:
    request, pictures = await request_of(prompts, examples, options, detector, OWNER)
    plan = detector.pipeline.router.plan(request)
    header = {
        "source": canonical_source(source),
        "column": options.get("column"),
        "request": request.model_dump(mode="json", exclude_defaults=True) | {"include": sorted(request.include)},
        "max_objects": options.get("max_objects", MAX_OBJECTS),
        "backends": answered_by(detector.backends, plan),
        "version": __version__,
    }
    return Job(header, request, plan, pictures)


def _check_numbers(options: BatchOptions) -> None:
    """Refuse numbers below 1, which the command line refuses too."""
    given = {name: options.get(name) for name in ("limit", "shard_size", "at_once", "max_calls", "workers")}
    for name, value in given.items():
        if value is not None and (not isinstance(value, int) or value < 1):
            raise InputError(f"{name} is {value!r:.80}; pass a whole number from 1 on, or leave it out")


def _engine(options: BatchOptions) -> Engine:
    """Choose what works on the shards; refuse an unknown name, and options of another engine."""
    name = options.get("engine", "local")
    if name not in ENGINES:
        raise InputError(f"there is no engine {name!r:.40}; choose {' or '.join(ENGINES)}")
    own = {one: options.get(one) for one in ("workers", "gpus_per_worker") if options.get(one) is not None}
    if own and name == "local":
        raise InputError(f"{' and '.join(own)} is an option of the engine ray; choose that engine, or leave it out")
    return partial(ENGINES[name], **own)


def _first(groups: Sequence[Sequence[Entry]], limit: int | None, planned: int) -> list[Sequence[Entry]]:
    """Give the images that may be planned where no more than `limit` are wanted."""
    if limit is None:
        return list(groups)
    left, chosen = max(0, limit - planned), []
    for group in groups:
        chosen.append(group[:left])
        left -= len(chosen[-1])
    return [group for group in chosen if group]
