"""`dinox-mcp evaluate`: how good a backend is on labelled images, as tables or as JSON."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dinox_mcp.cli import terminal
from dinox_mcp.cli.terminal import (
    COMMON,
    SERVING,
    add_common_flags,
    flags,
    load_settings,
    number,
    paint,
    printable,
    refuse,
)

if TYPE_CHECKING:
    from dinox_mcp.evaluation.report import Report
    from dinox_mcp.settings import Settings

_EPILOG = """\
coco    boxes in COCO's format: COCO itself, ODinW, Segmentation in the Wild, or a file of your own
lvis    boxes in LVIS's format: AP of each image's best 300 boxes, fixed AP, and both for rare categories
count   numbers of objects: COCO's format, FSC-147's, or {"IMAGE.jpg": {"NAME": NUMBER}}

The cost is said first. Every image is written into the folder of --out before it counts as done: the same command again
continues. The folder also gets report.json, and detections.json as COCO's evaluators read it.

exit status: 0 all images answered, 1 some not answered, 2 wrong usage or settings, 130 Ctrl-C
"""
_MOST = 1_000_000
_MOST_UNKNOWN = 10


def add_flags(evaluate: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `evaluate` to its parser."""
    evaluate.description = "Measure how good a backend is on labelled images: AP and AR of boxes, errors of counts."
    evaluate.epilog = _EPILOG
    evaluate.set_defaults(run=run)
    evaluate.add_argument("kind", choices=("coco", "lvis", "count"), metavar="KIND", help="coco, lvis or count")
    evaluate.add_argument(
        "--annotations", required=True, type=Path, metavar="FILE", help="annotation file, or the folder that has it"
    )
    evaluate.add_argument(
        "--images", type=Path, metavar="FOLDER", help="folder of the images (that of the annotations)"
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
        help="lowest score, 0 to 1 (boxes: 0.01, counts: the model's own)",
    )
    evaluate.add_argument("--model", metavar="NAME", help="model of the backend to use")
    add_common_flags(evaluate, argparse.SUPPRESS)


def run(options: argparse.Namespace) -> None:
    """Evaluate and print; exit with status 1 where an image could not be answered."""
    refuse(options, "evaluate", *SERVING)
    import anyio

    terminal.write("")  # where stdout cannot be written, nothing need be detected or paid
    settings = load_settings(transport="stdio", **flags(options, *COMMON))
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
        terminal.write("\n".join([*_lines(report, every_category=options.by_category), ""]))
    for line in _remarks(report):
        sys.stderr.write(printable(line) + "\n")
    if not report.complete:
        sys.exit(1)


async def _evaluate(settings: "Settings", options: argparse.Namespace, folder: Path) -> "Report":
    from dinox_mcp.detect.options import Options
    from dinox_mcp.detector import Detector
    from dinox_mcp.evaluation.datasets import load
    from dinox_mcp.evaluation.run import Choices, Evaluation

    dataset = load(options.kind, options.annotations.expanduser(), options.images, options.limit)
    chosen = Options(model=options.model)
    if options.min_score is not None:
        chosen["min_score"] = options.min_score
    elif options.kind != "count":
        chosen["min_score"] = 0.01
    choices = Choices(
        kind=options.kind,
        prompts=options.prompts or ("present" if options.kind == "count" else "all"),
        synonyms=options.synonyms,
        prompts_per_call=options.prompts_per_call,
        max_calls=options.max_calls,
        options=chosen,
    )
    async with Detector(settings) as detector:
        with terminal.progress_bar() as progress:
            return await Evaluation(detector, dataset, choices).run(folder, progress)


def _lines(report: "Report", *, every_category: bool) -> Iterator[str]:
    from dinox_mcp.evaluation.report import tables

    what = "all categories" if report.prompts == "all" else "only the categories labelled in it"
    yield paint(f"{report.answered:,} of {report.total:,} images, each searched for {what}", "title")
    for title, rows in tables(report, every_category=every_category):
        yield ""
        yield paint(printable(title), "title")
        yield from terminal.table([[printable(cell) for cell in row] for row in rows], "<" + ">" * (len(rows[0]) - 1))
    yield ""
    by = f"backend {report.backend}, model {report.model or 'none'}, min score {report.min_score:g}"
    calls = f" in {report.calls_per_image} calls" if report.calls_per_image > 1 else ""
    yield paint(printable(f"{by}, {report.prompt_count:,} prompts{calls}"), "faint")
    if report.detected:
        each = report.seconds / report.detected
        yield paint(f"{report.detected:,} images in {report.seconds:.1f} s, {each:.3f} s each", "faint")


def _remarks(report: "Report") -> Iterator[str]:
    """Say what is not a figure: what failed, and what changes the figures."""
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
        yield f"stopped, {report.total - report.answered:,} images left: {report.stopped}"
