"""`dinox-mcp evaluate`: how good a backend is on labelled images, as tables or as JSON."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import anyio

from dinox_mcp.cli import terminal
from dinox_mcp.cli.terminal import add_common_flags, begin, note, number, paint
from dinox_mcp.errors import SettingsError
from dinox_mcp.types.text import number_of

if TYPE_CHECKING:
    from dinox_mcp.evaluation.collection import CollectionReport
    from dinox_mcp.evaluation.labelled import Iou
    from dinox_mcp.evaluation.report import Published, Report
    from dinox_mcp.evaluation.run import Choices
    from dinox_mcp.settings import Settings

_EPILOG = """\
coco    objects in COCO's format: COCO itself, an export of an annotation tool, or a file of your own
lvis    objects in LVIS's format: AP of each image's best 300, fixed AP, and both for rare categories
odinw   a folder of several data sets in COCO's format, as Object Detection in the Wild: each, and the mean
sginw   the same with masks, as Segmentation in the Wild
count   numbers of objects: COCO's format, FSC-147's, or {"IMAGE.jpg": {"NAME": NUMBER}}

The cost is said first. Every image is written into the folder of --out before it counts as done: the same command again
continues. The folder also gets report.json, and detections.json as COCO's evaluators read it.

exit status: 0 all images answered, 1 some not answered, 2 wrong usage or settings, 130 Ctrl-C
"""
KINDS = ("coco", "lvis", "odinw", "sginw", "count")
_FOLDERS = ("odinw", "sginw")
_MOST = 1_000_000
_MOST_UNKNOWN = 10


def add_flags(evaluate: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `evaluate` to its parser."""
    evaluate.description = (
        "Measure how good a backend is on labelled images: AP and AR of boxes, masks or keypoints, errors of counts."
    )
    evaluate.epilog = _EPILOG
    evaluate.set_defaults(run=run)
    evaluate.add_argument("kind", choices=KINDS, metavar="KIND", help="coco, lvis, odinw, sginw or count")
    evaluate.add_argument(
        "--annotations", required=True, type=Path, metavar="FILE", help="annotation file, or the folder that has it"
    )
    evaluate.add_argument(
        "--images", type=Path, metavar="FOLDER", help="folder of the images (that of the annotations)"
    )
    evaluate.add_argument(
        "--iou",
        choices=("bbox", "segm", "keypoints"),
        help="compare boxes (all kinds but sginw), masks, or keypoints of people",
    )
    evaluate.add_argument("--html", type=Path, metavar="FILE", help="write the report as a page too")
    evaluate.add_argument(
        "--tune", type=Path, metavar="FILE", help="write the best thresholds for counting (DINOX_MCP_MIN_SCORES)"
    )
    evaluate.add_argument("--out", type=Path, metavar="FOLDER", help="keep the run here, to continue it later")
    evaluate.add_argument("--json", action="store_true", help="print the report as JSON")
    evaluate.add_argument("--by-category", action="store_true", help="print the figures of each category too")
    evaluate.add_argument("--limit", type=number(int, 1, _MOST), metavar="N", help="only the first N images")
    evaluate.add_argument(
        "--prompts",
        choices=("all", "present"),
        help="search each image for all categories (boxes), or only for those labelled in it (counts)",
    )
    evaluate.add_argument("--synonyms", action="store_true", help="search for synonyms of the categories too (LVIS)")
    evaluate.add_argument(
        "--prompts-per-call", type=number(int, 1, 300), default=300, metavar="N", help="most prompts of a call (300)"
    )
    evaluate.add_argument(
        "--max-calls",
        type=number(int, 1, 100 * _MOST),
        metavar="N",
        help="calls to a paid backend at most (DINOX_MCP_MAX_CALLS_PER_JOB)",
    )
    evaluate.add_argument(
        "--min-score",
        type=number(float, 0, 1),
        metavar="S",
        help="lowest score, 0 to 1 (boxes and masks: 0.01, keypoints: 0.05, counts: the model's own)",
    )
    evaluate.add_argument("--model", metavar="NAME", help="model of the backend to use")
    add_common_flags(evaluate, argparse.SUPPRESS)


def run(options: argparse.Namespace) -> None:
    """Evaluate and print; exit with status 1 where an image could not be answered."""
    _check(options)
    settings = begin(options)
    try:
        if options.out is not None:
            report = anyio.run(_evaluate, settings, options, options.out.expanduser().absolute())
        else:
            with TemporaryDirectory(prefix="dinox-mcp-evaluate-") as folder:
                report = anyio.run(_evaluate, settings, options, Path(folder))
    except KeyboardInterrupt:
        kept = "what is done is kept: the same command again continues" if options.out else "pass --out to keep it"
        sys.stderr.write(f"\nstopped; {kept}\n")
        raise
    if options.json:
        terminal.write(report.model_dump_json() + "\n")
    else:
        terminal.write_lines(_lines(report, every_category=options.by_category))
    for line in [*_remarks(report), *_written(options, report)]:
        note(line)
    if not report.complete:
        sys.exit(1)


def _check(options: argparse.Namespace) -> None:
    """Refuse flags that do not fit the kind, before anything is detected or paid."""
    if options.html is not None and options.html.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"--html {str(options.html)!r:.80} is not a page; name it .html")
    if options.iou not in (None, "bbox") and options.kind == "count":
        raise SettingsError(f"--iou {options.iou} compares objects, and count compares numbers; leave it out")
    if options.iou == "keypoints" and options.kind != "coco":
        raise SettingsError(f"--iou keypoints is for coco, not {options.kind}; use evaluate coco")
    if options.kind in _FOLDERS:
        given = next((name for name in ("tune", "images", "by_category") if getattr(options, name)), None)
        if given is not None:
            flag = "--" + given.replace("_", "-")
            raise SettingsError(f"{flag} is for one data set, not {options.kind}; use evaluate coco for each")


def _written(options: argparse.Namespace, report: "Report | CollectionReport") -> Iterator[str]:
    if options.html is not None:
        yield f"page: {options.html}"
    if options.tune is not None and getattr(report, "tuned", None) is not None:
        yield f"thresholds: {options.tune}; to use them, set DINOX_MCP_MIN_SCORES={options.tune}"


async def _evaluate(settings: "Settings", options: argparse.Namespace, folder: Path) -> "Report | CollectionReport":
    from dinox_mcp.detector import Detector
    from dinox_mcp.evaluation import collection
    from dinox_mcp.evaluation.datasets import load
    from dinox_mcp.evaluation.results import check_writable, write
    from dinox_mcp.evaluation.run import Evaluation

    annotations = options.annotations.expanduser()
    iou: Iou = options.iou or ("segm" if options.kind == "sginw" else "bbox")
    choices = _choices(options, iou)
    html = options.html and options.html.expanduser()
    thresholds = options.tune and options.tune.expanduser()
    for path in filter(None, (html, thresholds)):
        check_writable(path)
    if options.kind in _FOLDERS:
        files = collection.find_datasets(annotations)
        datasets = {name: load("coco", file, None, options.limit, iou) for name, file in files.items()}
        async with Detector(settings) as detector:
            with terminal.progress_bar() as progress:
                every = await collection.evaluate_all(detector, annotations, datasets, choices, folder, progress)
        if html is not None:
            write(html, collection.page(every))
        return every
    dataset = load(options.kind, annotations, options.images, options.limit, iou)
    async with Detector(settings) as detector:
        with terminal.progress_bar() as progress:
            run = Evaluation(detector, dataset, choices).run
            return await run(folder, progress, page=html, thresholds=thresholds)


def _choices(options: argparse.Namespace, iou: "Iou") -> "Choices":
    from dinox_mcp.detect.options import Options
    from dinox_mcp.evaluation.run import LEAST, Choices

    chosen = Options(model=options.model)
    if options.min_score is not None:
        chosen["min_score"] = options.min_score
    elif options.kind != "count":
        chosen["min_score"] = LEAST[iou]
    return Choices(
        kind="coco" if options.kind in _FOLDERS else options.kind,
        prompts=options.prompts or ("present" if options.kind == "count" else "all"),
        synonyms=options.synonyms,
        prompts_per_call=options.prompts_per_call,
        max_calls=options.max_calls,
        options=chosen,
        tunes=options.tune is not None,
    )


def _lines(report: "Report | CollectionReport", *, every_category: bool) -> Iterator[str]:
    from dinox_mcp.evaluation import collection
    from dinox_mcp.evaluation.report import tables

    if isinstance(report, collection.CollectionReport):
        yield paint(f"{len(report.datasets)} of {report.total} data sets", "title")
        yield from _tables(collection.tables(report))
        if report.published:
            yield from _sources(report.published)
        return
    what = "all categories" if report.prompts == "all" else "only the categories labelled in it"
    yield paint(f"{report.answered:,} of {report.total:,} images, each searched for {what}", "title")
    yield from _tables(tables(report, every_category=every_category))
    if report.published and report.precision:
        yield from _sources(report.published)
    yield ""
    by = f"backend {report.backend}, model {report.model or 'none'}, min score {report.min_score:g}"
    calls = f" in {report.calls_per_image} calls" if report.calls_per_image > 1 else ""
    yield paint(f"{by}, {number_of(report.prompt_count, 'prompt')}{calls}", "faint")
    if report.detected:
        each = report.seconds / report.detected
        yield paint(f"{number_of(report.detected, 'image')} in {report.seconds:.1f} s, {each:.3f} s each", "faint")


def _tables(tables: Iterable[tuple[str, list[list[str]]]]) -> Iterator[str]:
    for title, rows in tables:
        yield ""
        yield paint(title, "title")
        yield from terminal.table(rows, "<" + ">" * (len(rows[0]) - 1))


def _sources(published: "Published") -> Iterator[str]:
    for source in dict.fromkeys(one.source for one in published.models):
        yield paint(f"published in: {source}", "faint")


def _remarks(report: "Report | CollectionReport") -> Iterator[str]:
    """Say what is not a figure: what failed, and what changes the figures."""
    from dinox_mcp.evaluation.collection import CollectionReport

    if isinstance(report, CollectionReport):
        for one in report.datasets:
            yield from (f"{one.name}: {line}" for line in _remarks(one.report))
        return
    yield from (failed.line for failed in report.failures)
    if more := report.failed - len(report.failures):
        yield f"{more:,} more images have no answer"
    if report.failed:
        yield f"the figures are of the {report.answered:,} images that are answered"
    if report.unknown:
        named = ", ".join(report.unknown[:_MOST_UNKNOWN])
        beyond = ", ..." if len(report.unknown) > _MOST_UNKNOWN else ""
        yield (
            f"note: the backend does not know {len(report.unknown):,} of {report.prompt_count:,} prompts, which count "
            f"as not found: {named}{beyond}"
        )
    yield from (f"note: {note}" for note in report.notes)
    if report.stopped:
        yield f"stopped, {number_of(report.total - report.answered, 'image')} left: {report.stopped}"
