"""The result of an evaluation: figures in all, of each category and size, and what to know; as data and as tables."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from dinox_mcp.batch.summary import FailedImage
from dinox_mcp.evaluation.labelled import Category, Dataset, Iou
from dinox_mcp.evaluation.precision import Precision
from dinox_mcp.types.detection import Value
from dinox_mcp.types.text import number_of

FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}
Row = list[str]
Benchmark = Literal["coco", "lvis_minival", "lvis_val", "sginw"]
FILE = Path(__file__).with_name("published.json")
PUBLISHED = "zero-shot, as published"
"""The heading of published models in a table."""
_KINDS_OF_COCO = 80
_SOME_OF_COCO = {"person", "fire hydrant", "baseball bat", "hair drier", "toothbrush"}
COMPARED: Mapping[Iou, str] = {"bbox": "Boxes", "segm": "Masks", "keypoints": "Keypoints"}


class CategoryFigures(Value):
    """The figures of a category; None where nothing is labelled.

    `labelled` and `found` are numbers of objects; found ones are those that count by the rules.
    """

    name: str
    labelled: int
    found: int
    ap: float | None
    ap50: float | None
    recall: float | None


class RuleFigures(Value):
    """The figures by one set of rules, from 0 to 1, and those of each category."""

    rules: str
    figures: dict[str, float | None]
    categories: tuple[CategoryFigures, ...]


class CountFigures(Value):
    """Errors of counts, of one category or of all: how many counts, mean absolute error, root of the mean square.

    `bias` is the mean of found minus labelled, `exact` the share of counts without error.
    """

    name: str
    counts: int
    mae: float
    rmse: float
    bias: float
    exact: float


class PublishedFigures(Value):
    """The figures of a model, in percent: `AP`, and for LVIS `AP rare` where it is published."""

    model: str
    figures: dict[str, float]
    source: str


class Published(Value):
    """What is published for a data set, the best model first."""

    benchmark: str
    models: tuple[PublishedFigures, ...]


class Tuned(Value):
    """The best thresholds for counting, and the objects that are counted wrongly in an image, on average.

    Attributes:
        own_min_score: the model's own threshold.
        min_score: the best one for all labels.
        labels: the best one of each category, by its name.
        own: the error with the model's own threshold.
        one: the error with the best one for all labels, on images that it was not tuned on.
        by_label: the error with that of each label, likewise.
        fitted: the error with these on the images that they were tuned on; elsewhere it is larger.
    """

    own_min_score: float
    min_score: float
    labels: dict[str, float]
    own: float
    one: float
    by_label: float
    fitted: float

    @property
    def note(self) -> str:
        """Say so if nothing is gained; otherwise empty."""
        if self.by_label < self.own:
            return ""
        return (
            f"tuned thresholds gain nothing on images that they were not tuned on ({self.by_label:.2f} objects counted "
            f"wrongly in an image, {self.own:.2f} with the model's own): keep the model's own, or label more images"
        )


class Report(Value):
    """The result of an evaluation.

    Attributes:
        annotations: the annotation file.
        total: the images of the data set.
        answered: those that were detected in, which alone the figures are of.
        failures: the first of the others, with the reasons.
        prompts: which prompts each image was searched for: `all`, or those `present` in it.
        calls_per_image: requests that all prompts take, as a request has a limited number of them.
        unknown: the prompts that the backend does not know; their categories count as not found.
        min_score: the lowest score that was detected.
        seconds: time that this run took for detecting.
        detected: the images that this run detected in.
        precision: figures of what is compared, by each set of rules.
        counts: errors of counts: of all, and of each category.
        stopped: why the run ended before its end; empty if it did not.
    """

    annotations: str
    total: int
    answered: int
    failed: int = 0
    failures: tuple[FailedImage, ...] = ()
    prompts: str
    prompt_count: int
    calls_per_image: int = 1
    unknown: tuple[str, ...] = ()
    backend: str
    model: str
    min_score: float
    seconds: float = 0
    detected: int = 0
    iou: Iou = "bbox"
    precision: tuple[RuleFigures, ...] = ()
    counts: tuple[CountFigures, ...] = ()
    stopped: str = ""
    notes: tuple[str, ...] = ()
    published: Published | None = None
    tuned: Tuned | None = None

    @property
    def complete(self) -> bool:
        """Whether every image of the data set is answered."""
        return self.answered == self.total


def figures_of(rules: str, quality: Precision, categories: Sequence[Category], iou: Iou = "bbox") -> RuleFigures:
    """Make the figures by one set of rules; in LVIS also of rare, common and frequent categories."""
    figures = dict(quality.figures_of(iou))
    for letter, name in FREQUENCIES.items():
        chosen = [place for place, one in enumerate(categories) if one.frequency == letter]
        if chosen:
            figures[f"AP {name}"] = quality.of(chosen)[0]
    rows = []
    for place, one in enumerate(categories):
        ap, ap50, recall = quality.of([place])
        labelled, found = int(quality.labelled[place]), int(quality.found[place])
        rows.append(CategoryFigures(name=one.name, labelled=labelled, found=found, ap=ap, ap50=ap50, recall=recall))
    return RuleFigures(rules=rules, figures=figures, categories=tuple(rows))


def count_figures(
    name: str, labelled: Mapping[tuple[int, int], int], found: Mapping[tuple[int, int], int]
) -> CountFigures:
    """Compare counts by image and category, as FSC-147's protocol does; what is not in `found` counts 0."""
    errors = np.array([found.get(pair, 0) - number for pair, number in labelled.items()], float)
    return CountFigures(
        name=name,
        counts=len(errors),
        mae=float(np.abs(errors).mean()),
        rmse=float(np.sqrt((errors**2).mean())),
        bias=float(errors.mean()),
        exact=float((errors == 0).mean()),
    )


def published(benchmark: Benchmark | None, iou: Iou) -> Published | None:
    """Read what is published for a data set; None where nothing is. Blocks."""
    found = json.loads(FILE.read_text(encoding="utf-8")).get(iou, {}).get(benchmark)
    return found and Published.model_validate(found)


def benchmark_of(kind: str, dataset: Dataset) -> Benchmark | None:
    """Recognize a data set: COCO by its categories, LVIS by the name of its file."""
    if kind == "lvis":
        name = dataset.file.name.lower()
        return "lvis_minival" if "minival" in name else "lvis_val" if "val" in name else None
    names = {one.name.replace("_", " ").casefold() for one in dataset.categories}
    is_coco = len(dataset.categories) == _KINDS_OF_COCO and names >= _SOME_OF_COCO
    return "coco" if kind == "coco" and is_coco else None


def tables(report: Report, *, every_category: bool = False) -> Iterator[tuple[str, list[Row]]]:
    """Write the figures as tables: a title, and rows of which the first has the headings.

    Args:
        report: the result.
        every_category: also a table of all categories that have labelled objects.
    """
    what = COMPARED[report.iou]
    for one in report.precision:
        yield f"{what}, {one.rules}", _wrapped(one.figures)
    if report.precision and every_category:
        yield f"By category ({what}, {report.precision[0].rules})", category_rows(report)
    if report.counts:
        yield "Counts", count_rows(report.counts if every_category else report.counts[:1])
    if report.published and report.precision:
        title = f"{what}: AP on all of {report.published.benchmark}"
        yield title, published_rows(report.published, report.precision[-1].figures, number_of(report.answered, "image"))
    if report.tuned:
        yield "Objects counted wrongly in an image", _tuned_rows(report.tuned)


def category_rows(report: Report) -> list[Row]:
    """Write the figures of the categories that have labelled objects, the best first, below their headings."""
    labelled = [one for one in report.precision[0].categories if one.labelled]
    rows: list[Row] = [["category", "labelled", "found", "AP", "AP50", "recall"]]
    for one in sorted(labelled, key=lambda one: (-(one.ap or 0), one.name)):
        shares = map(percent, (one.ap, one.ap50, one.recall))
        rows.append([one.name, f"{one.labelled:,}", f"{one.found:,}", *shares])
    return rows


def count_rows(counts: Sequence[CountFigures]) -> list[Row]:
    """Write errors of counts below their headings."""
    rows: list[Row] = [["count", "images", "MAE", "RMSE", "bias", "exact"]]
    for one in counts:
        errors = f"{one.mae:.2f}", f"{one.rmse:.2f}", f"{one.bias:+.2f}"
        rows.append([one.name, f"{one.counts:,}", *errors, percent(one.exact)])
    return rows


def published_rows(one: Published, ours: Mapping[str, float | None], what: str) -> list[Row]:
    """Write what is published, and below it the figures (from 0 to 1) of this run, which is on `what`."""
    names = list(dict.fromkeys(name for model in one.models for name in model.figures))
    rows = [[PUBLISHED, *names]]
    for model in one.models:
        shares = {name: value / 100 for name, value in model.figures.items()}
        rows.append([model.model, *(percent(shares.get(name)) for name in names)])
    return [*rows, [f"this run, on {what}", *(percent(ours.get(name)) for name in names)]]


def _wrapped(figures: Mapping[str, float | None]) -> list[Row]:
    """Write average precision and recall in a row each, by size."""
    heads = {"": "all", "50": "IoU 0.50", "75": "IoU 0.75", " small": "small", " medium": "medium", " large": "large"}
    if "AP small" not in figures:  # keypoints: https://cocodataset.org/#keypoints-eval
        heads = {"": "all", "50": "OKS 0.50", "75": "OKS 0.75", " medium": "medium", " large": "large"}
    rows = [["", *heads.values()]]
    for name in ("AP", "AR"):
        known = (figures.get(name + end, "") for end in heads)
        rows.append([name, *(one if isinstance(one, str) else percent(one) for one in known)])
    further = [name for name in ("AR1", "AR10", *(f"AP {name}" for name in FREQUENCIES.values())) if name in figures]
    return [*rows, *([name, percent(figures[name]), *[""] * (len(heads) - 1)] for name in further)]


def _tuned_rows(tuned: Tuned) -> list[Row]:
    return [
        ["thresholds", "wrong"],
        [f"the model's own, {tuned.own_min_score:g}", f"{tuned.own:.2f}"],
        [f"one tuned for all labels, {tuned.min_score:g}: on other images", f"{tuned.one:.2f}"],
        ["one tuned for each label: on other images", f"{tuned.by_label:.2f}"],
        ["the same on the images that they were tuned on", f"{tuned.fitted:.2f}"],
    ]


def percent(share: float | None) -> str:
    """Write a share from 0 to 1 in percent, to a tenth."""
    return "-" if share is None else f"{100 * share:.1f}"
