"""Detects in the images of a data set, as a run that a later call continues, and compares with what is labelled."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio.to_thread

from dinox_mcp import __version__
from dinox_mcp.backends.base import Call, Progress
from dinox_mcp.batch import run as running
from dinox_mcp.batch.journal import Journal
from dinox_mcp.batch.requests import answered_by, paid_calls
from dinox_mcp.batch.sources import Entry, file_entry
from dinox_mcp.detect.options import MAX_PROMPTS, Options, make_request
from dinox_mcp.detect.pipeline import Pipeline
from dinox_mcp.detect.routing import Plan
from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError, ServiceError
from dinox_mcp.evaluation.compare import Comparison
from dinox_mcp.evaluation.datasets import Kind
from dinox_mcp.evaluation.labelled import Dataset, Iou, Vocabulary
from dinox_mcp.evaluation.precision import COCO, COCO_KEYPOINTS, LVIS, LVIS_FIXED, Rules
from dinox_mcp.evaluation.report import CountFigures, Report, benchmark_of, figures_of, published
from dinox_mcp.evaluation.results import DETECTIONS, REPORT, Findings, opened, write
from dinox_mcp.evaluation.tuning import FOLDS
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.detection import Detections, Output

_ALL = "all"
MOST: Mapping[Iou, int] = {"bbox": 1000, "segm": 300, "keypoints": 100}
"""Objects of an image that a run keeps, those that score highest."""
INCLUDE: Mapping[Iou, tuple[Output, ...]] = {"bbox": (), "segm": ("masks",), "keypoints": ("pose",)}
"""The outputs that are requested besides boxes."""
LEAST: Mapping[Iou, float] = {"bbox": 0.01, "segm": 0.01, "keypoints": 0.05}
"""The lowest score that is searched for where the low ones count; a pose takes time for each box."""


@dataclass(frozen=True, slots=True)
class Choices:
    """How a data set is evaluated.

    Attributes:
        kind: what is labelled, and by which rules it is compared.
        prompts: search each image for the categories of the data set, or only for those that are labelled in it.
        synonyms: search for synonyms of categories too.
        prompts_per_call: most prompts of one request.
        max_calls: calls to a paid backend that the run may take; None for the settings' own limit.
        options: the model and thresholds of the requests.
        tunes: the best thresholds are wanted, for which counts must be known at lower ones.
    """

    kind: Kind
    prompts: Literal["all", "present"] = "all"
    synonyms: bool = False
    prompts_per_call: int = MAX_PROMPTS
    max_calls: int | None = None
    options: Options = field(default_factory=Options)
    tunes: bool = False


def rules_of(kind: Kind, iou: Iou) -> tuple[Rules, ...]:
    """Give the rules by which objects are compared; none where only their numbers are."""
    if kind == "count":
        return ()
    if kind == "lvis":
        return LVIS, LVIS_FIXED
    return (COCO_KEYPOINTS,) if iou == "keypoints" else (COCO,)


class Evaluation:
    """An evaluation of a detector on a data set.

    Raises:
        InputError: the data set cannot be searched for so, or has too few images to tune thresholds.
        BackendError: no backend can.
    """

    def __init__(self, detector: Detector, dataset: Dataset, choices: Choices) -> None:
        self._detector = detector
        self._pipeline = Pipeline(detector.settings, detector.backends, detector.store)
        self._dataset = dataset
        self._choices = choices
        self._iou = dataset.truth.iou
        if choices.tunes and len(dataset.images) < FOLDS:
            raise InputError(f"--tune needs {FOLDS} images or more, not {len(dataset.images)}; label more")
        self._options = Options(**choices.options)
        if include := INCLUDE[self._iou]:
            self._options["include"] = include
        if choices.tunes and "min_score" not in choices.options:
            self._options["min_score"] = LEAST[self._iou]
        self._vocabulary = Vocabulary(dataset.categories, synonyms=choices.synonyms)
        self._known: dict[tuple[str, ...], tuple[Plan, ...]] = {}
        self._prompts = self._vocabulary.prompts(range(len(dataset.categories)))
        self._plans = self._plans_of(self._prompts)
        self._images = {str(image.path): image for image in dataset.images}
        self._wanted: dict[str, tuple[Plan, ...]] = {}

    async def run(
        self, folder: Path, progress: Progress, *, page: Path | None = None, thresholds: Path | None = None
    ) -> Report:
        """Detect in the images that are left, compare, and write the report into the folder.

        Args:
            folder: where the run is kept; an earlier run of the same request is continued.
            progress: hears of the cost first, and then of each image.
            page: the HTML file that the report is written into as well.
            thresholds: the file of tuned thresholds, which the setting `min_scores` can name.

        Raises:
            InputError: the folder has another run, or it would take too many calls.
            BusyError: another call works on this run.
            SettingsError: the folder cannot be written.
            BackendError: no image could be answered.
        """
        with opened(folder, self._header(), MOST[self._iou]) as journal:
            entries = [file_entry(image.path) for image in self._dataset.images]
            await anyio.to_thread.run_sync(journal.plan, entries)
            left = running.pending(entries, journal)
            cost = self._cost(left, journal)
            began = time.monotonic()
            outcome = await self._detect(left, journal, cost, progress) if left else running.Outcome(0)
            seconds = time.monotonic() - began
            if outcome.error is not None and not journal.detected:
                raise outcome.error
            report, findings = await anyio.to_thread.run_sync(self._compare, journal, folder)
        more: dict[str, Any] = {"seconds": seconds, "detected": outcome.detected, "stopped": str(outcome.error or "")}
        if self._choices.tunes:
            tuned = await anyio.to_thread.run_sync(findings.tuned)
            note = (
                f"no thresholds were tuned, as fewer than {FOLDS} images are answered" if tuned is None else tuned.note
            )
            more |= {"tuned": tuned, "notes": (*report.notes, *([note] if note else []))}
        report = report.model_copy(update=more)
        await anyio.to_thread.run_sync(write, folder / REPORT, report.model_dump_json(indent=1))
        if thresholds is not None and report.tuned is not None:
            of = thresholds, report.tuned, report, self._plans[0].main.backend
            await anyio.to_thread.run_sync(findings.write_thresholds, *of)
        if page is not None:
            await findings.write_page(page, report, self._detector)
        return report

    def _plans_of(self, prompts: tuple[str, ...]) -> tuple[Plan, ...]:
        """Plan requests for some prompts: several where one may not have so many."""
        if prompts not in self._known:
            most = self._choices.prompts_per_call
            chunks = [prompts[begin : begin + most] for begin in range(0, len(prompts), most)]
            requests = [make_request(chunk, self._options) for chunk in chunks]
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
            "options": {name: value for name, value in self._options.items() if value is not None},
            "backends": [by for place, by in enumerate(backends) if by not in backends[:place]],
            "version": __version__,
        }

    def _cost(self, left: Sequence[Entry], journal: Journal) -> int:
        """Count the calls to a paid backend that the images take which are left, and refuse too many."""
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

    def all_calls(self) -> int:
        """Count the calls to a paid backend that all images take, also those that are made already."""
        return self._calls(self._images)

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
        for record in journal.detected.values():
            if record.source in self._images:
                self._wanted[record.sha256] = self._plans_for(record.source)
        noted = {prompt for record in journal.records.values() for prompt in record.unknown}

        async def load(source: str) -> Picture:
            picture = await self._detector.load(source)
            plans = self._plans_for(source)
            if self._wanted.setdefault(picture.digest, plans) is not plans:  # equal bytes are detected in once
                raise InputError(
                    f"the image {source!r} has the same bytes as another one and other labels; remove one of them, or "
                    "use --prompts all"
                )
            return picture

        async def detect(picture: Picture) -> Detections:
            most = MOST[self._iou]
            answers = [
                (await self._pipeline.find(plan, picture, Call(), most)).found for plan in self._wanted[picture.digest]
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

    def _own_score(self) -> float:
        """Give the threshold that the model has if none is given."""
        free = Options(**{name: value for name, value in self._options.items() if name != "min_score"})  # type: ignore[typeddict-item]
        chunk = self._prompts[: self._choices.prompts_per_call]
        return self._pipeline.router.plan(make_request(chunk, free)).main.request.min_score

    def _notes_on_scores(self, model: str) -> list[str]:
        """Say which thresholds of labels the settings have for these requests."""
        parts = [part for plan in self._plans for part in plan.parts]
        return [note for one in parts if one.scores for note in one.scores.notes(one.request.prompts or (), (), model)]

    def _compare(self, journal: Journal, folder: Path) -> tuple[Report, Findings]:
        """Compare what a journal has with what is labelled, and write the found objects into the folder. Blocks."""
        choices, plans, iou = self._choices, self._plans, self._iou
        iou_threshold = plans[0].request.iou_threshold if choices.synonyms else None
        comparison = Comparison(self._dataset, self._vocabulary, journal, iou_threshold)
        if choices.kind != "count":
            write(folder / DETECTIONS, "".join(comparison.detections()))
        rules = rules_of(choices.kind, iou)
        precisions = [comparison.precision(one) for one in rules]
        absent, own = choices.prompts == _ALL, self._own_score()
        counted = own if choices.tunes else None
        counts: tuple[CountFigures, ...] = ()
        if choices.kind == "count":
            counts = tuple(comparison.counts(absent=absent, least=counted))
        by_label = self._notes_on_scores(comparison.common_model)
        least = min(part.request.min_score for plan in plans for part in plan.parts)
        findings = Findings(
            comparison,
            next(iter(precisions), None),
            absent,
            choices.kind == "lvis",
            own,
            least,
            counted,
            bool(by_label),
        )
        notes = dict.fromkeys(note for plan in plans for note in plan.notes) | dict.fromkeys(by_label)
        report = Report(
            annotations=str(self._dataset.file),
            prompts=choices.prompts,
            prompt_count=len(self._prompts),
            calls_per_image=len(plans),
            backend=self._backend,
            min_score=least,
            iou=iou,
            precision=tuple(
                figures_of(one.name, quality, self._dataset.categories, iou)
                for one, quality in zip(rules, precisions, strict=True)
            ),
            counts=counts,
            published=published(benchmark_of(choices.kind, self._dataset), iou),
            notes=(*notes, *comparison.notes(most=None if choices.kind == "count" else MOST[iou])),
            **comparison.images(),
        )
        return report, findings


def _merge(answers: Sequence[Detections]) -> Detections:
    """Make one answer of the answers to all requests about an image, if these are complete."""
    for found in answers:
        if not found.complete and set(found.unsearched) - set(found.unknown):
            raise ServiceError("; ".join(found.notes) or "a part of the request was not answered; run it again")
    return Detections(
        model=" + ".join(dict.fromkeys(found.model for found in answers if found.model)),
        objects=tuple(one for found in answers for one in found.objects),
        unknown=tuple(dict.fromkeys(prompt for found in answers for prompt in found.unknown)),
    )
