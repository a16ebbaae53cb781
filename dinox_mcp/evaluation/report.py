"""The result of an evaluation: figures in all, of each category and size, and what to know; as data and as tables."""

from collections.abc import Iterator, Mapping, Sequence

from dinox_mcp.batch.summary import FailedImage
from dinox_mcp.evaluation.counting import CountErrors
from dinox_mcp.evaluation.labelled import Category
from dinox_mcp.evaluation.precision import Precision
from dinox_mcp.types.detection import Value

FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}
Row = list[str]
_NONE = "-"


class CategoryFigures(Value):
    """The figures of a category; None where nothing is labelled.

    `labelled` and `found` are numbers of boxes; found ones are those that count by the rules.
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


class Report(Value):
    """The result of an evaluation.

    Attributes:
        annotations: the annotation file.
        total: the images of the data set.
        answered: those that were detected in, which alone the figures are of.
        failed: the number of the others that cannot be answered.
        failures: the first of them, with the reasons.
        prompts: which prompts each image was searched for: `all`, or those `present` in it.
        prompt_count: the number of prompts of the data set.
        calls_per_image: requests that all prompts take, as a request has a limited number of them.
        unknown: the prompts that the backend does not know; their categories count as not found.
        backend: the backends that answered.
        model: the models that answered.
        min_score: the lowest score that was detected.
        seconds: time that this run took for detecting.
        detected: the images that this run detected in.
        precision: figures of boxes, by each set of rules.
        counts: errors of counts: of all, and of each category.
        stopped: why the run ended before its end; empty if it did not.
        notes: what the reader must know.
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
    precision: tuple[RuleFigures, ...] = ()
    counts: tuple[CountFigures, ...] = ()
    stopped: str = ""
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every image of the data set is answered."""
        return self.answered == self.total


def figures_of(rules: str, quality: Precision, categories: Sequence[Category]) -> RuleFigures:
    """Make the figures by one set of rules; in LVIS also of rare, common and frequent categories."""
    figures = dict(quality.figures)
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


def counts_of(name: str, errors: CountErrors) -> CountFigures:
    """Make the figures of counts."""
    return CountFigures(
        name=name, counts=errors.counts, mae=errors.mae, rmse=errors.rmse, bias=errors.bias, exact=errors.exact
    )


def tables(report: Report, *, every_category: bool = False) -> Iterator[tuple[str, list[Row]]]:
    """Write the figures as tables: a title, and rows of which the first has the headings.

    Args:
        report: the result.
        every_category: also a table of all categories that have labelled boxes.
    """
    for one in report.precision:
        yield one.rules, _wrapped(one.figures)
    if report.precision and every_category:
        head = ["category", "labelled", "found", "AP", "AP50", "recall"]
        labelled = sorted(
            (one for one in report.precision[0].categories if one.labelled), key=lambda one: (-(one.ap or 0), one.name)
        )
        rows = [
            [one.name, str(one.labelled), str(one.found), *map(_percent, (one.ap, one.ap50, one.recall))]
            for one in labelled
        ]
        yield f"By category ({report.precision[0].rules})", [head, *rows]
    if report.counts:
        head = ["count", "images", "MAE", "RMSE", "bias", "exact"]
        shown = report.counts if every_category else report.counts[:1]
        rows = [
            [one.name, str(one.counts), f"{one.mae:.2f}", f"{one.rmse:.2f}", f"{one.bias:+.2f}", _percent(one.exact)]
            for one in shown
        ]
        yield "Counts", [head, *rows]


def _wrapped(figures: Mapping[str, float | None]) -> list[Row]:
    """Write average precision and recall in a row each, by size."""
    rows = [["", "all", "IoU 0.50", "IoU 0.75", "small", "medium", "large"]]
    names = ["AP", "AP50", "AP75", "AP small", "AP medium", "AP large"]
    rows.append(["AP", *(_percent(figures[name]) for name in names)])
    recalls = [figures[name] for name in ("AR small", "AR medium", "AR large")]
    rows.append(["AR", _percent(figures["AR"]), "", "", *map(_percent, recalls)])
    further = [name for name in ("AR1", "AR10", *(f"AP {name}" for name in FREQUENCIES.values())) if name in figures]
    return [*rows, *([name, _percent(figures[name]), *[""] * 5] for name in further)]


def _percent(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.1f}"
