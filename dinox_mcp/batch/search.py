"""Searches many images for one request, as a job that a later call or another process continues."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, Unpack, cast

import anyio
import anyio.to_thread
from pydantic import TypeAdapter, ValidationError

from dinox_mcp import __version__
from dinox_mcp.backends.base import silent
from dinox_mcp.batch import run as running
from dinox_mcp.batch import summary
from dinox_mcp.batch.journal import Journal, check_same
from dinox_mcp.batch.requests import Detecting, Job, answered_by, load_images, paid_calls, request_of, save_images
from dinox_mcp.batch.sources import Entry, canonical, list_images
from dinox_mcp.batch.summary import SearchResult, make_sheet, on_sheet
from dinox_mcp.detect.options import OWNER, Caller, CallOptions, Options, caller_of, labels_of, make_call
from dinox_mcp.detect.routing import Plan
from dinox_mcp.detect.visual_prompts import VisualPrompt
from dinox_mcp.errors import DinoxError, InputError, NotFoundError
from dinox_mcp.images.picture import Picture
from dinox_mcp.store.jobs import Jobs, job_id
from dinox_mcp.types.detection import DetectionRequest, Detections

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


class ImageSearch:
    """Searches through many images, with a detector of single images.

    The id of a job follows from its request: the same request again continues the same job, also after a restart, and
    detects only in images that are new or changed.
    """

    def __init__(self, detector: Detecting) -> None:
        self._detector, self._settings, self._router = detector, detector.settings, detector.pipeline.router
        self._jobs = Jobs(self._settings.jobs_folder, remote=self._settings.transport != "stdio")

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
        listing = await anyio.to_thread.run_sync(list_images, ready.header["images"], self._settings, MAX_IMAGES)
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
                calls = paid_calls(self._detector.backends, ready.plan) * len(running.pending(listing.entries, journal))
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
                    shown.append((place, found, await self._detector.load(found.image, caller)))
        most = self._settings.preview_max_side, self._settings.preview_max_bytes
        return await self._detector.draw(partial(make_sheet, shown, *most))

    async def _ready(
        self,
        images: str | Sequence[str],
        prompts: str | Sequence[str] | None,
        examples: Sequence[VisualPrompt],
        job: str | None,
        options: SearchOptions,
    ) -> Job:
        """Make a job of the arguments; what is left out is as the job of that id has it."""
        caller, chosen = caller_of(options), _chosen(options)
        begun: Mapping[str, Any] = {}
        request: DetectionRequest | None = None
        pictures: dict[str, Picture] = {}
        if job is not None:
            folder = self._jobs.path(job, caller.tenant)
            loaded = await anyio.to_thread.run_sync(_load_job, folder, self._settings.max_image_pixels)
            begun, request, pictures = loaded
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
        if request is not None and prompts is None and not examples:
            request = request.model_copy(update={**chosen})
        else:
            request, pictures = await request_of(prompts, examples, chosen, self._detector, caller)
        plan = self._router.plan(request, caller_has_key=caller.api_key is not None)
        header |= {
            "request": request.model_dump(mode="json", exclude_unset=True),
            "backends": answered_by(self._detector.backends, plan),
            "version": __version__,
        }
        if begun:
            check_same(folder.name, begun, header)
        return Job(header, request, plan, pictures)

    def _check_cost(self, plan: Plan, left: Sequence[Entry], journal: Journal) -> int:
        """Count the calls that the images take which are left; refuse more than a job may take."""
        each, most = paid_calls(self._detector.backends, plan), self._settings.max_calls_per_job
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
        ready: Job,
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
            return await self._detector.load(source, caller)

        async def detect(picture: Picture) -> Detections:
            found = (await self._detector.pipeline.answer(ready.plan, picture, call, explain=False)).found
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
        return [self._router.explain(unknown, plan, found=True, caller_has_key=has_key)] if unknown else []


def _chosen(options: SearchOptions) -> Options:
    """Give the options that decide what is found."""
    given = {name: options.get(name) for name in ("min_score", "iou_threshold", "model")}
    return cast("Options", {name: value for name, value in given.items() if value is not None})


def _request_of(job: str, header: Mapping[str, Any]) -> DetectionRequest:
    """Read the request of a job from its header, which may be damaged."""
    try:
        TypeAdapter(list[str]).validate_python(header.get("images"))
        return DetectionRequest.model_validate(header.get("request"))
    except ValidationError:
        raise NotFoundError(f"the job {job} is damaged or of another version; search without job") from None


def _load_job(folder: Path, max_pixels: int) -> tuple[Mapping[str, Any], DetectionRequest, dict[str, Picture]]:
    """Load what decides what a job finds: its header, the request in it, and the images of its examples."""
    header = Journal.read(folder / _JOURNAL).header
    request, pictures = _request_of(folder.name, header), load_images(folder, max_pixels)
    if {one.image for one in request.examples if one.image} - pictures.keys():
        raise NotFoundError(
            f"the job {folder.name} has lost the images of its examples; search without job, with examples"
        )
    return header, request, pictures
