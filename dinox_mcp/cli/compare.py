"""`dinox-mcp compare`: what changed between two images of one scene, as a table, as JSON, or drawn side by side."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from dinox_mcp.cli import terminal
from dinox_mcp.cli.detect import absolute, add_model_flags
from dinox_mcp.cli.terminal import add_common_flags, begin, name_commands, note, paint
from dinox_mcp.errors import SettingsError
from dinox_mcp.types.text import one_line, split_at_commas

if TYPE_CHECKING:
    from dinox_mcp.compare.comparison import Change, Comparison
    from dinox_mcp.settings import Settings
    from dinox_mcp.viewer.page import PageFile

_EPILOG = """\
The images show one scene from nearly the same position: they are registered first, and refused where they do not fit.
With prompts, only these things are compared; without, everything that is found and every other part that differs.

exit status: 0 compared, 1 the images could not be compared, 2 wrong usage or settings
"""


def add_flags(compare: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `compare` to its parser."""
    compare.description = "Report what appeared, disappeared, moved or changed between two images of one scene."
    compare.epilog = _EPILOG
    compare.set_defaults(run=run)
    compare.add_argument("before", metavar="BEFORE", help="the first image: a file or a URL")
    compare.add_argument("after", metavar="AFTER", help="the second image")
    compare.add_argument("prompts", nargs="*", metavar="PROMPT", help="compare only these things")
    compare.add_argument("--out", metavar="FILE", help="write both images side by side here, as .jpg or .png")
    compare.add_argument("--html", metavar="FILE", help="write a page with a slider between the images")
    compare.add_argument("--open", action="store_true", help="show such a page in the browser now")
    compare.add_argument("--json", action="store_true", help="print one line of JSON")
    add_model_flags(compare)
    add_common_flags(compare, argparse.SUPPRESS)


def run(options: argparse.Namespace) -> None:
    """Compare and print.

    Raises:
        SettingsError: --out is neither a .jpg nor a .png, or is one of the images; or --html is not a page.
        DinoxError: the images cannot be compared, or a file cannot be written.
    """
    from dinox_mcp.cli.detections import output_paths, page_file

    out = _out_path(options)
    if out is not None:
        output_paths(options.out, [options.before])  # refuses other endings, and the images themselves
        output_paths(options.out, [options.after])
    page = page_file(options, images=2)
    comparison = anyio.run(_compare, begin(options), options, out, page)
    if options.json:
        terminal.write(comparison.model_dump_json(exclude_none=True, ensure_ascii=True) + "\n")
    else:
        terminal.write_lines(_lines(comparison, out))
    if page and (where := page.finish()):
        note(where)


def _out_path(options: argparse.Namespace) -> Path | None:
    if options.out is None:
        return None
    path = Path(options.out).expanduser()
    if not path.suffix or path.is_dir():
        raise SettingsError(f"--out {options.out!r:.80} is not a file; name a .jpg or a .png")
    return path


async def _compare(
    settings: "Settings", options: argparse.Namespace, out: Path | None, page: "PageFile | None"
) -> "Comparison":
    from dinox_mcp.detect.options import Options
    from dinox_mcp.detector import Detector
    from dinox_mcp.drawing.output import WRITABLE, write_file

    chosen = Options(model=options.model, tiles=options.tiles)
    if options.min_score is not None:
        chosen["min_score"] = options.min_score
    prompts = [prompt for argument in options.prompts for prompt in split_at_commas(argument)]
    async with Detector(settings) as detector:
        comparison = await detector.compare(
            absolute(options.before), absolute(options.after), prompts or None, **chosen
        )
        if out is not None:
            mime_type = WRITABLE[out.suffix.lower()]
            write_file(out, await detector.comparisons.side_by_side(comparison.comparison_id, mime_type=mime_type))
        if page is not None:
            await page.add_comparison(detector, comparison)
    return comparison


def _lines(comparison: "Comparison", out: Path | None) -> list[str]:
    """Write a title, a table of the changes, and facts below it."""
    counts = ", ".join(f"{number} {kind}" for kind, number in comparison.counts.items())
    heads = ["#", "what", "label", "before (x, y, x, y)", "after (x, y, x, y)", "text"]
    rows = [heads, *map(_row, comparison.changes)]
    table = terminal.table(rows, "><<<<<", ("faint", "accent")) if comparison.changes else []
    unchanged = ", ".join(f"{number} {label}" for label, number in comparison.unchanged.items())
    registered = "the camera moved" if comparison.registered == "homography" else "the camera did not move"
    facts = [
        f"{registered}; {comparison.agreement:.0%} of the details agree",
        f"unchanged: {unchanged}" if unchanged else "",
        f"{comparison.omitted} more changes left out; name what to compare" if comparison.omitted else "",
        *(f"note: {name_commands(note)}" for note in comparison.notes),
        f"side by side: {out}" if out else "",
    ]
    return [*table, paint(counts or "no change", "title"), *terminal.facts(facts)]


def _row(change: "Change") -> list[str]:
    boxes = (", ".join(f"{edge:.0f}" for edge in box) for box in (change.before, change.after))
    texts = [one_line(text) for text in (change.text_before, change.text_after) if text]
    return [str(change.id), change.kind, change.label or "", *boxes, " > ".join(dict.fromkeys(texts))]
