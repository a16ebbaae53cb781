"""Folders of several data sets in COCO's format, as ODinW and Segmentation in the Wild: a row each, and the mean."""

import os
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

import anyio.to_thread

from dinox_mcp.backends.base import Progress
from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError
from dinox_mcp.evaluation.datasets import NAMES_IN_FOLDERS
from dinox_mcp.evaluation.labelled import Dataset, Iou
from dinox_mcp.evaluation.page import document, table
from dinox_mcp.evaluation.report import COMPARED, Published, Report, Row, percent, published, published_rows
from dinox_mcp.evaluation.results import REPORT, write
from dinox_mcp.evaluation.run import Choices, Evaluation
from dinox_mcp.types.detection import Value

SPLITS = ("valid", "val", "mini_val", "test")
"""Which part of a data set is used, the first that there is; never the one for training."""
_TRAINING = "train"
_MAX_DEPTH = 6
_MAX_FOLDERS = 20_000
_MAX_DATASETS = 200
_FIGURES = ("AP", "AP50", "AR")


class Member(Value):
    """A data set of the folder: its name, and its result."""

    name: str
    report: Report


class CollectionReport(Value):
    """The result of an evaluation on several data sets.

    Attributes:
        total: the number of data sets in the folder.
        datasets: those that were evaluated.
        means: the means of their figures, from 0 to 1, each data set counting the same.
    """

    folder: str
    iou: Iou
    total: int
    datasets: tuple[Member, ...]
    means: dict[str, float | None]
    published: Published | None = None

    @property
    def complete(self) -> bool:
        """Whether every image of every data set is answered."""
        return len(self.datasets) == self.total and all(one.report.complete for one in self.datasets)


def find_datasets(folder: Path) -> dict[str, Path]:
    """List the data sets below a folder: the annotation file of each by its name, which is its path there.

    Of the parts of a data set the first of `SPLITS` is taken.

    Raises:
        InputError: there are none, or too many.
    """
    if not folder.is_dir():
        raise InputError(f"--annotations {str(folder)!r} is not a folder; name the one that holds the data sets")
    found: dict[str, tuple[int, Path]] = {}
    for file in _annotation_files(folder):
        split = _split_of(file)
        if split == _TRAINING:
            continue
        of = file.parent.parent if file.parent.name in SPLITS else file.parent
        name, rank = of.relative_to(folder).as_posix(), ("", *SPLITS).index(split)
        if name not in found or rank < found[name][0]:
            found[name] = rank, file
    if not found:
        raise InputError(
            f"no data set was found below {str(folder)!r}; each needs a folder {' or '.join(SPLITS)} with "
            f"{NAMES_IN_FOLDERS[0]}"
        )
    if len(found) > _MAX_DATASETS:
        raise InputError(
            f"{str(folder)!r} has {len(found)} data sets, more than {_MAX_DATASETS}; name a smaller folder"
        )
    return {name: file for name, (_, file) in sorted(found.items())}


async def evaluate_all(
    detector: Detector, folder: Path, datasets: Mapping[str, Dataset], choices: Choices, out: Path, progress: Progress
) -> CollectionReport:
    """Evaluate on several data sets, one after the other, each as a run of its own below `out`.

    Args:
        detector: what detects.
        folder: the folder of the data sets.
        datasets: the data sets by name.
        choices: how each is evaluated; `max_calls` is for all together.
        out: where the runs are kept; the report is written there too.
        progress: hears of the cost first, and then of each image.

    Raises:
        InputError: they would take too many calls, or the folder has other runs.
        BackendError: no image of a data set could be answered.
    """
    evaluations = {name: Evaluation(detector, dataset, choices) for name, dataset in datasets.items()}
    calls = sum(one.all_calls() for one in evaluations.values())
    most = choices.max_calls or detector.settings.max_calls_per_job
    if calls > most:
        raise InputError(
            f"the images of {len(datasets)} data sets take {calls:,} calls to a paid backend, more than the {most:,} "
            f"of a run; pass --max-calls {calls} to pay for them, or fewer images with --limit"
        )
    images = sum(len(one.images) for one in datasets.values())
    cost = f"at most {calls:,} calls to a paid backend" if calls else "free"
    await progress(0, f"{len(datasets)} data sets with {images:,} images: {cost}")
    reports: dict[str, Report] = {}
    for name, evaluation in evaluations.items():
        reports[name] = await evaluation.run(out / name, _named(name, progress))
        if reports[name].stopped:
            break
    iou = next(iter(datasets.values())).truth.iou
    report = _collected(folder, iou, reports, len(datasets))
    await anyio.to_thread.run_sync(write, out / REPORT, report.model_dump_json(indent=1))
    return report


def _named(name: str, progress: Progress) -> Progress:
    async def named(share: float, message: str) -> None:
        await progress(share, f"{name}: {message}")

    return named


def _collected(folder: Path, iou: Iou, reports: Mapping[str, Report], total: int) -> CollectionReport:
    means: dict[str, float | None] = {}
    for name in _FIGURES:
        values = [value for one in reports.values() if (value := one.precision[0].figures.get(name)) is not None]
        means[name] = sum(values) / len(values) if values else None
    return CollectionReport(
        folder=str(folder),
        iou=iou,
        total=total,
        datasets=tuple(Member(name=name, report=report) for name, report in reports.items()),
        means=means,
        published=published("sginw", iou) if iou == "segm" else None,
    )


def tables(report: CollectionReport) -> Iterator[tuple[str, list[Row]]]:
    """Write the result as tables: a title, and rows of which the first has the headings."""
    yield f"{COMPARED[report.iou]} of {len(report.datasets)} data sets", _rows(report)
    if report.published:
        title = f"{COMPARED[report.iou]}: mean AP on all of {report.published.benchmark}"
        yield title, published_rows(report.published, report.means, f"{len(report.datasets)} data sets")


def page(report: CollectionReport) -> str:
    """Write the result as a page."""
    title = f"Evaluation of {Path(report.folder).name}"
    models = " + ".join(dict.fromkeys(one.report.model for one in report.datasets if one.report.model))
    cards = "".join(f"<li><b>{percent(value)}</b><span>mean {name}</span></li>" for name, value in report.means.items())
    body = [
        f"<h1>{escape(title)}</h1><p>{len(report.datasets)} of {report.total} data sets.</p>",
        f'<p class="faint">Model {escape(models or "none")}.</p><ul class="figures">{cards}</ul>',
    ]
    rows = _rows(report)
    body.append(f"<h2>Data sets</h2>{table(rows[:-1], bars=rows[0].index('AP'))}")
    for name, others in list(tables(report))[1:]:
        body.append(f"<h2>{escape(name)}</h2>{table(others, last_is_ours=True)}")
    return document(title, "".join(body))


def _rows(report: CollectionReport) -> list[Row]:
    rows = [["data set", "images", "categories", "unknown", "AR", "AP50", "AP"]]
    for one in report.datasets:
        figures, of = one.report.precision[0].figures, one.report
        shown = [percent(figures.get(name)) for name in reversed(_FIGURES)]
        rows.append([one.name, f"{of.answered:,}", f"{of.prompt_count:,}", f"{len(of.unknown):,}", *shown])
    return [*rows, ["mean", "", "", "", *(percent(report.means[name]) for name in reversed(_FIGURES))]]


def _annotation_files(folder: Path) -> Iterator[Path]:
    """Give the annotation files below a folder: one of each folder, or one for each split where names begin with it."""
    for visited, (here, folders, files) in enumerate(os.walk(folder)):
        depth = len(Path(here).relative_to(folder).parts)
        if visited == _MAX_FOLDERS:
            raise InputError(f"{str(folder)!r} has more than {_MAX_FOLDERS} folders; name a smaller one")
        folders[:] = sorted(folders) if depth < _MAX_DEPTH else []
        for start in ("", *(f"{split}_" for split in SPLITS)):
            names = [start + name.lstrip("_") if start else name for name in NAMES_IN_FOLDERS]
            if (name := next((name for name in names if name in files), None)) is not None:
                yield Path(here, name)
                if not start:
                    break


def _split_of(file: Path) -> str:
    """Give the part of a data set that a file is about, by its folder or else by its name; empty if neither says."""
    named = (split for split in (*SPLITS, _TRAINING) if file.name.startswith(f"{split}_"))
    names = [name for name in (file.parent.name, *named) if name in (*SPLITS, _TRAINING)]
    return min(names, key=lambda name: name == _TRAINING, default="")
