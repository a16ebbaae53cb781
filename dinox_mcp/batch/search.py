"""Searches many images for one request, as a job that a later call or another process continues."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, Unpack

import anyio
import anyio.to_thread
from pydantic import TypeAdapter, ValidationError

from dinox_mcp import __version__
from dinox_mcp.backends.base import Priced, silent
from dinox_mcp.backends.registry import Backends
from dinox_mcp.batch import run as running
from dinox_mcp.batch import summary
from dinox_mcp.batch.examples import load_images, save_images
from dinox_mcp.batch.journal import Journal, check_same
from dinox_mcp.batch.sheet import make_sheet, on_sheet
from dinox_mcp.batch.sources import Entry, canonical, list_images
from dinox_mcp.batch.summary import SearchResult
from dinox_mcp.detect.capabilities import calls_of
from dinox_mcp.detect.options import (
    OWNER,
    Caller,
    CallOptions,
    Options,
    caller_of,
    labels_of,
    make_call,
    make_request,
)
from dinox_mcp.detect.pipeline import Pipeline
from dinox_mcp.detect.routing import Plan
from dinox_mcp.detect.visual_prompts import Sources, VisualPrompt, resolve
from dinox_mcp.errors import DinoxError, InputError, NotFoundError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.store.jobs import Jobs, job_id
from dinox_mcp.types.detection import DetectionRequest, Detections

T = TypeVar("T")
MAX_IMAGES = 10_000
"""Images of one job."""
MAX_SOURCES = 1000
TOP = 20
"""Images that a result lists with their objects, unless the caller wants others."""
_JOURNAL = "journal.jsonl"


class SearchOptions(CallOptions, total=False):
    """The options of a search.

    `min_score`, `iou_threshold` and `model` are as in `Options`. `job` is that of an earlier result, to continue it;
    the other arguments may be left out then. After `budget_s` seconds the search stops and gives what it has; by
    default it goes on to the end. If more than `confirm_above` calls to a paid backend are needed and no job is given,
    nothing is detected yet: the result has the number of calls, and a call with its job goes on. `top` images are
    listed with their objects, by default 20.
    """

    min_score: float
    iou_threshold: float
    model: str | None
    job: str | None
    budget_s: float | None
    confirm_above: int | None
    top: int


class Images(Sources, Protocol):
    """Where images and examples come from, and where sheets are drawn; `Detector` has it."""

    async def draw(self, work: Callable[[], T]) -> T:
        """Run slow work on pixels in one of a few threads."""
        ...


@dataclass(frozen=True, slots=True)
class _Job:
    """A job that is ready to run: what decides what it finds, and how that is found."""

    header: dict[str, Any]
    request: DetectionRequest
    plan: Plan
    pictures: Mapping[str, Picture]

    @property
    def sources(self) -> Sequence[str]:
        return self.header["images"]  # type: ignore[no-any-return]


class ImageSearch:
    """Searches through many images, with a detector of single images.

    The id of a job follows from its request: the same request again continues the same job, also after a restart, and
    detects only in images that are new or changed.
    """

    def __init__(self, settings: Settings, backends: Backends, pipeline: Pipeline, images: Images) -> None:
        self._settings, self._backends, self._pipeline, self._images = settings, backends, pipeline, images
        self._jobs = Jobs(settings.jobs_folder, remote=settings.transport != "stdio")

    async def search(
        self,
        images: str | Sequence[str] = (),
        prompts: str | Sequence[str] | None = None,
        examples: Sequence[VisualPrompt] = (),
        **options: Unpack[SearchOptions],
    ) -> SearchResult:
        """Search, or continue a search; see `Detector.search`.

        What is found is kept on disk, so that only images are detected in that are new or changed. Images with equal
        bytes are detected in once.

        Raises:
            InputError: an argument is wrong, there are no images, or they cost more than the settings allow.
            BusyError: another call works on the same search.
        """
        job, top = options.get("job"), options.get("top", TOP)
        confirm_above = options.get("confirm_above")
        caller = caller_of(options)
        ready = await self._ready(images, prompts, examples, job, options)
        name = job_id(json.dumps(ready.header, sort_keys=True))
        listing = await anyio.to_thread.run_sync(list_images, ready.sources, self._settings, MAX_IMAGES)
        with ExitStack() as held:
            folder = await anyio.to_thread.run_sync(held.enter_context, self._jobs.locked(name, caller.tenant))
            await anyio.to_thread.run_sync(self._jobs.make_room, caller.tenant, folder)
            await anyio.to_thread.run_sync(save_images, folder, ready.pictures)
            journal = await anyio.to_thread.run_sync(Journal.open, folder / _JOURNAL, ready.header)
            held.callback(journal.close)
            await anyio.to_thread.run_sync(journal.plan, listing.entries)
            left = running.pending(listing.entries, journal)
            calls = self._check_cost(ready.plan, left, journal)
            outcome = running.Outcome(0)
            unconfirmed = job is None and confirm_above is not None and bool(left) and calls > confirm_above
            if left and not unconfirmed:
                outcome = await self._run(ready, left, journal, calls, options)
                calls = paid_calls(self._backends, ready.plan) * len(running.pending(listing.entries, journal))
            found = await anyio.to_thread.run_sync(summary.summarize, name, journal, labels_of(ready.request), top, top)
        if outcome.error is not None and found.failed == found.done:
            raise outcome.error
        notes = (*ready.plan.notes, *listing.notes, *found.notes, *self._unknown(journal, ready.plan, options))
        return found.model_copy(
            update={
                "detected": outcome.detected,
                "calls": calls,
                "unconfirmed": unconfirmed,
                "backend": ready.plan.backend,
                "stopped": str(outcome.error or ""),
                "notes": tuple(dict.fromkeys(notes)),
            }
        )

    async def get(self, job: str, caller: Caller = OWNER) -> SearchResult:
        """Give what a search has found so far, with all images that hold objects, without searching.

        Raises:
            NotFoundError: this caller has no such job.
        """
        path = self._jobs.path(job, caller.tenant)
        journal = await anyio.to_thread.run_sync(Journal.read, path / _JOURNAL)
        labels = labels_of(_request_of(path.name, journal.header))
        return await anyio.to_thread.run_sync(summary.summarize, path.name, journal, labels, MAX_IMAGES, TOP)

    async def sheet(
        self, result: SearchResult, caller: Caller = OWNER, *, budget_s: float | None = None
    ) -> bytes | None:
        """Draw the first images of a search with their objects on one sheet, as JPEG; None if nothing was found.

        Copies of other images are left out, and what is not loaded after `budget_s` seconds.
        """
        shown = []
        with anyio.move_on_after(budget_s):
            for place, found in on_sheet(result):
                with suppress(DinoxError):  # it was moved or changed since
                    shown.append((place, found, await self._images.load(found.image, caller)))
        most = self._settings.preview_max_side, self._settings.preview_max_bytes
        return await self._images.draw(partial(make_sheet, shown, *most))

    async def _ready(
        self,
        images: str | Sequence[str],
        prompts: str | Sequence[str] | None,
        examples: Sequence[VisualPrompt],
        job: str | None,
        options: SearchOptions,
    ) -> _Job:
        """Make a job of the arguments; what is left out is as the job of that id has it.

        Raises:
            InputError: an argument is wrong or missing.
            NotFoundError: there is no such job.
        """
        if prompts is not None and examples:
            raise InputError("both prompts and examples are given; pass one of them to say what to find")
        begun: Mapping[str, Any] = {}
        before: DetectionRequest | None = None
        pictures: dict[str, Picture] = {}
        if job is not None:
            folder = self._jobs.path(job, caller_of(options).tenant)
            begun, before, pictures = await anyio.to_thread.run_sync(_load_job, folder, self._settings.max_image_pixels)
        header = dict(begun)
        sources = [images] if isinstance(images, str) else list(images)
        if len(sources) > MAX_SOURCES:
            raise InputError(f"images has {len(sources)} entries, more than {MAX_SOURCES}; name their folder instead")
        if sources:
            header["images"] = list(dict.fromkeys(map(canonical, sources)))
        if not header.get("images"):
            raise InputError(
                "nothing is given to search; pass images: a folder, a pattern such as FOLDER/*.jpg, or a list"
            )
        if examples:
            found, pictures = await resolve(examples, None, self._images, caller_of(options))
            request = make_request(None, _chosen(options), examples=found)
        elif prompts is None and before is not None:
            request = before.model_copy(update={**_chosen(options)})
        else:
            request, pictures = make_request(prompts, _chosen(options)), {}
        has_key = caller_of(options).api_key is not None
        plan = self._pipeline.router.plan(request, caller_has_key=has_key)
        header |= {
            "request": request.model_dump(mode="json", exclude_unset=True),
            "backends": answered_by(self._backends, plan),
            "version": __version__,
        }
        if begun:
            check_same(folder.name, begun, header)
        return _Job(header, request, plan, pictures)

    def _check_cost(self, plan: Plan, left: Sequence[Entry], journal: Journal) -> int:
        """Count the calls that the images take which are left.

        Raises:
            InputError: with those that were made they are more than the settings allow.
        """
        each, most = paid_calls(self._backends, plan), self._settings.max_calls_per_job
        calls, made = each * len(left), each * len(journal.detected)
        if calls + made > most:
            before = f" ({made:,} were made before)" if made else ""
            raise InputError(
                f"{len(left):,} images take {calls:,} calls to {plan.backend}{before}, more than the {most:,} that a "
                "job may take; name a smaller folder or a pattern, or raise DINOX_MCP_MAX_CALLS_PER_JOB"
            )
        return calls

    async def _run(
        self,
        ready: _Job,
        left: Sequence[Entry],
        journal: Journal,
        calls: int,
        options: SearchOptions,
    ) -> running.Outcome:
        caller, progress = caller_of(options), options.get("progress", silent)
        cost = f"at most {calls} calls to {ready.plan.backend}" if calls else f"free, by {ready.plan.backend}"
        await progress(
            1 - len(left) / max(1, journal.total), f"{len(left)} of {journal.total} images to search: {cost}"
        )

        call = make_call(CallOptions(caller=caller), ready.pictures)

        async def load(source: str) -> Picture:
            return await self._images.load(source, caller)

        async def detect(picture: Picture) -> Detections:
            found = (await self._pipeline.answer(ready.plan, picture, call, explain=False)).found
            running.refuse_partial(found)
            own_notes = [note for note in found.notes if note not in ready.plan.notes]
            return found.model_copy(update={"notes": (*own_notes, *picture.notes)})

        return await running.run(
            left,
            journal,
            load,
            detect,
            progress=progress,
            budget_s=options.get("budget_s"),
            at_a_time=running.AT_A_TIME_ELSEWHERE if calls else running.AT_A_TIME,
        )

    def _unknown(self, journal: Journal, plan: Plan, options: SearchOptions) -> list[str]:
        unknown = summary.unknown_everywhere(journal.records.values())
        has_key = caller_of(options).api_key is not None
        return [self._pipeline.router.explain(unknown, plan, found=True, caller_has_key=has_key)] if unknown else []


def answered_by(backends: Backends, plan: Plan) -> list[dict[str, object]]:
    """Name the backends, models and thresholds that answer, so that a job is never continued by others."""
    return [
        {
            "backend": part.backend,
            "model": part.request.model or next((one.name for one in backends.get(part.backend).models()), ""),
            "min_score": part.request.min_score,
            "iou_threshold": part.request.iou_threshold,
            **({"min_scores": part.scores.model_dump(exclude={"backend"})} if part.scores else {}),
        }
        for part in plan.parts
    ]


def paid_calls(backends: Backends, plan: Plan) -> int:
    """Count the calls to services that cost something, for each image."""
    return sum(
        calls_of(backends.get(part.backend), part.request) for part in plan.parts if is_paid(backends, part.backend)
    )


def is_paid(backends: Backends, name: str) -> bool:
    """Return whether calls to a backend may cost something."""
    return isinstance(backends.get(name), Priced) or backends.needs_key(name)


def _chosen(options: SearchOptions) -> Options:
    """Give the options that decide what is found."""
    chosen = Options()
    if (min_score := options.get("min_score")) is not None:
        chosen["min_score"] = min_score
    if (iou_threshold := options.get("iou_threshold")) is not None:
        chosen["iou_threshold"] = iou_threshold
    if (model := options.get("model")) is not None:
        chosen["model"] = model
    return chosen


def _request_of(job: str, header: Mapping[str, Any]) -> DetectionRequest:
    """Read the request of a job.

    Raises:
        NotFoundError: this version does not understand its header.
    """
    try:
        TypeAdapter(list[str]).validate_python(header.get("images"))
        return DetectionRequest.model_validate(header.get("request"))
    except ValidationError:
        raise NotFoundError(f"the job {job} is damaged or of another version; search without job") from None


def _load_job(folder: Path, max_pixels: int) -> tuple[Mapping[str, Any], DetectionRequest, dict[str, Picture]]:
    """Load what decides what a job finds: its header, the request in it, and the images of its examples.

    Raises:
        NotFoundError: there is no such job, or a part of it is missing.
    """
    header = Journal.read(folder / _JOURNAL).header
    request, pictures = _request_of(folder.name, header), load_images(folder, max_pixels)
    if {one.image for one in request.examples if one.image} - pictures.keys():
        raise NotFoundError(
            f"the job {folder.name} has lost the images of its examples; search without job, with examples"
        )
    return header, request, pictures
