"""Detects in the images of a data set, as a run that a later call continues, and compares with what is labelled."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio.to_thread

from dinox_mcp import __version__
from dinox_mcp.backends.base import Call, Progress
from dinox_mcp.batch import run as running
from dinox_mcp.batch.journal import Journal, difference
from dinox_mcp.batch.search import answered_by, paid_calls
from dinox_mcp.batch.sources import Entry, file_entry
from dinox_mcp.detect.options import MAX_PROMPTS, Options, make_request
from dinox_mcp.detect.pipeline import Pipeline
from dinox_mcp.detect.routing import Plan
from dinox_mcp.detector import Detector
from dinox_mcp.errors import BusyError, InputError, NotFoundError, ServiceError, SettingsError
from dinox_mcp.evaluation.compare import MAX_OBJECTS, Comparison
from dinox_mcp.evaluation.datasets import Kind
from dinox_mcp.evaluation.labelled import Dataset
from dinox_mcp.evaluation.precision import COCO, LVIS, LVIS_FIXED, Rules
from dinox_mcp.evaluation.prompts import Vocabulary
from dinox_mcp.evaluation.report import Report
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import MiB
from dinox_mcp.store.files import write_atomically
from dinox_mcp.store.jobs import lock
from dinox_mcp.types.detection import Detections

JOURNAL, REPORT, DETECTIONS = "journal.jsonl", "report.json", "detections.json"
"""Files of a run: what was found, the report, and the boxes as COCO's evaluators read them."""
MAX_BYTES = 8192 * MiB
_RULES: Mapping[Kind, tuple[Rules, ...]] = {"coco": (COCO,), "lvis": (LVIS, LVIS_FIXED), "count": ()}
_ALL = "all"


@dataclass(frozen=True, slots=True)
class Choices:
    """How a data set is evaluated.

    Attributes:
        kind: what is compared, and by which rules.
        prompts: search each image for the categories of the data set, or only for those that are labelled in it.
        synonyms: search for synonyms of categories too.
        prompts_per_call: most prompts of one request.
        max_calls: calls to a paid backend that the run may take; None for the settings' own limit.
        options: the model and thresholds of the requests.
    """

    kind: Kind
    prompts: Literal["all", "present"] = "all"
    synonyms: bool = False
    prompts_per_call: int = MAX_PROMPTS
    max_calls: int | None = None
    options: Options = field(default_factory=Options)


class Evaluation:
    """An evaluation of a detector on a data set.

    Raises:
        InputError: the data set cannot be searched for so.
        BackendError: no backend can.
    """

    def __init__(self, detector: Detector, dataset: Dataset, choices: Choices) -> None:
        self._detector = detector
        self._pipeline = Pipeline(detector.settings, detector.backends, detector.store)
        self._dataset = dataset
        self._choices = choices
        self._vocabulary = Vocabulary(dataset.categories, synonyms=choices.synonyms)
        self._known: dict[tuple[str, ...], tuple[Plan, ...]] = {}
        self._prompts = self._vocabulary.prompts(range(len(dataset.categories)))
        self._plans = self._plans_of(self._prompts)
        self._images = {str(image.path): image for image in dataset.images}
        self._wanted: dict[str, tuple[Plan, ...]] = {}

    async def run(self, folder: Path, progress: Progress) -> Report:
        """Detect in the images that are left, compare, and write the report into the folder.

        Args:
            folder: where the run is kept; an earlier run of the same request is continued.
            progress: hears of the cost first, and then of each image.

        Raises:
            InputError: the folder has another run, or it would take too many calls.
            BusyError: another call works on this run.
            SettingsError: the folder cannot be written.
            BackendError: no image could be answered.
        """
        with _opened(folder, self._header()) as journal:
            entries = [file_entry(image.path) for image in self._dataset.images]
            await anyio.to_thread.run_sync(journal.plan, entries)
            left = running.pending(entries, journal)
            cost = self._cost(left, journal)
            began = time.monotonic()
            outcome = await self._detect(left, journal, cost, progress) if left else running.Outcome(0)
            seconds = time.monotonic() - began
            if outcome.error is not None and not journal.detected:
                raise outcome.error
            report = await anyio.to_thread.run_sync(self._compare, journal, folder)
        report = report.model_copy(
            update={"seconds": seconds, "detected": outcome.detected, "stopped": str(outcome.error or "")}
        )
        await anyio.to_thread.run_sync(_write, folder / REPORT, report.model_dump_json(indent=1))
        return report

    def _plans_of(self, prompts: tuple[str, ...]) -> tuple[Plan, ...]:
        """Plan requests for some prompts: several where one may not have so many."""
        if prompts not in self._known:
            most = self._choices.prompts_per_call
            chunks = [prompts[begin : begin + most] for begin in range(0, len(prompts), most)]
            requests = [make_request(chunk, self._choices.options) for chunk in chunks]
            self._known[prompts] = tuple(
                self._pipeline.router.plan(request, caller_has_key=False) for request in requests
            )
        return self._known[prompts]

    def _plans_for(self, source: str) -> tuple[Plan, ...]:
        if self._choices.prompts == _ALL:
            return self._plans
        return self._plans_of(self._vocabulary.prompts(self._images[source].present))

    def _header(self) -> dict[str, Any]:
        backends = [by for plan in self._plans for by in answered_by(self._detector.backends, plan)]
        return {
            "annotations": self._dataset.file.name,
            "prompts": self._choices.prompts,
            "names": self._prompts,
            "prompts per call": self._choices.prompts_per_call,
            "options": {name: value for name, value in self._choices.options.items() if value is not None},
            "backends": [by for place, by in enumerate(backends) if by not in backends[:place]],
            "version": __version__,
        }

    def _cost(self, left: Sequence[Entry], journal: Journal) -> int:
        """Count the calls to a paid backend that the images take which are left.

        Raises:
            InputError: with those that were made before they are too many.
        """
        calls = self._calls(entry.source for entry in left)
        made = self._calls(one.source for one in journal.detected.values() if one.source in self._images)
        most = self._choices.max_calls or self._detector.settings.max_calls_per_job
        if calls and calls + made > most:
            before = f" ({made:,} were made before)" if made else ""
            raise InputError(
                f"{len(left):,} images take {calls:,} calls to {self._backend}{before}, more than the {most:,} of a "
                f"run; pass --max-calls {calls + made} to pay for them, or fewer images with --limit"
            )
        return calls

    def _calls(self, sources: Iterable[str]) -> int:
        """Count the calls to a paid backend that some images take."""
        backends = self._detector.backends
        if self._choices.prompts == _ALL:
            return sum(paid_calls(backends, plan) for plan in self._plans) * sum(1 for _ in sources)
        return sum(paid_calls(backends, plan) for source in sources for plan in self._plans_for(source))

    @property
    def _backend(self) -> str:
        return " + ".join(dict.fromkeys(part.backend for plan in self._plans for part in plan.parts))

    async def _detect(self, left: Sequence[Entry], journal: Journal, calls: int, progress: Progress) -> running.Outcome:
        cost = f"at most {calls:,} calls to {self._backend}" if calls else f"free, by {self._backend}"
        await progress(1 - len(left) / journal.total, f"{len(left):,} of {journal.total:,} images to detect in: {cost}")
        noted = {prompt for record in journal.records.values() for prompt in record.unknown}

        async def load(source: str) -> Picture:
            picture = await self._detector.load(source)
            self._wanted[picture.digest] = self._plans_for(source)
            return picture

        async def detect(picture: Picture) -> Detections:
            answers = [
                (await self._pipeline.answer(plan, picture, Call(), explain=False)).found
                for plan in self._wanted[picture.digest]
            ]
            merged = _merge(answers)
            new = tuple(prompt for prompt in merged.unknown if prompt not in noted)  # once, as there may be a thousand
            noted.update(new)
            return merged.model_copy(update={"unknown": new})

        return await running.run(
            left,
            journal,
            load,
            detect,
            progress=progress,
            at_a_time=running.AT_A_TIME_ELSEWHERE if calls else running.AT_A_TIME,
        )

    def _compare(self, journal: Journal, folder: Path) -> Report:
        """Compare what a journal has with what is labelled, and write the found boxes into the folder. Blocks."""
        choices, plans = self._choices, self._plans
        iou_threshold = plans[0].request.iou_threshold if choices.synonyms else None
        comparison = Comparison(self._dataset, self._vocabulary, journal, iou_threshold)
        if choices.kind != "count":
            _write(folder / DETECTIONS, "".join(comparison.detections()))
        notes = dict.fromkeys(note for plan in plans for note in plan.notes)
        return Report(
            annotations=str(self._dataset.file),
            prompts=choices.prompts,
            prompt_count=len(self._prompts),
            calls_per_image=len(plans),
            backend=self._backend,
            min_score=min(part.request.min_score for plan in plans for part in plan.parts),
            precision=tuple(comparison.precision(rules) for rules in _RULES[choices.kind]),
            counts=tuple(comparison.counts(absent=choices.prompts == _ALL)) if choices.kind == "count" else (),
            notes=(*notes, *comparison.notes(boxes=choices.kind != "count")),
            **comparison.images(),
        )


@contextmanager
def _opened(folder: Path, header: Mapping[str, Any]) -> Iterator[Journal]:
    """Open the journal of a run, for one call at a time.

    Raises:
        InputError: the folder has another run.
        BusyError: another call works on this run.
        SettingsError: the folder cannot be written.
    """
    try:
        descriptor = lock(folder)
    except BlockingIOError:
        raise BusyError(f"another call works on the run in {folder}; wait for it, or choose another --out") from None
    except OSError as error:
        raise SettingsError(f"the run cannot be kept in {folder} ({error.strerror}); choose another --out") from None
    try:
        path = folder / JOURNAL
        if path.exists():
            try:
                begun = Journal.read(path).header
            except NotFoundError:
                raise InputError(f"{path} is damaged or of another version; choose another --out") from None
            if changed := difference(begun, header):
                raise InputError(f"the run in {folder} was begun with {changed}; choose another --out")
        journal = Journal.open(path, header, most_objects=MAX_OBJECTS, max_bytes=MAX_BYTES)
        try:
            yield journal
        finally:
            journal.close()
    finally:
        os.close(descriptor)


def _merge(answers: Sequence[Detections]) -> Detections:
    """Make one answer of the answers to all requests about an image.

    Raises:
        ServiceError: a prompt that a backend knows was not searched for.
    """
    for found in answers:
        if not found.complete and set(found.unsearched) - set(found.unknown):
            raise ServiceError("; ".join(found.notes) or "a part of the request was not answered; run it again")
    return Detections(
        model=" + ".join(dict.fromkeys(found.model for found in answers if found.model)),
        objects=tuple(one for found in answers for one in found.objects),
        unknown=tuple(dict.fromkeys(prompt for found in answers for prompt in found.unknown)),
    )


def _write(path: Path, text: str) -> None:
    """Write a file of the run.

    Raises:
        SettingsError: it cannot be written.
    """
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror}); choose another --out") from None
