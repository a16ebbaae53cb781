"""`dinox-mcp search`: which of many images hold what, as a table, as JSON, or on a sheet."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from dinox_mcp.cli import terminal
from dinox_mcp.cli.detect import add_like_flag, add_model_flags, split_arguments
from dinox_mcp.cli.terminal import add_common_flags, begin, note, number, paint
from dinox_mcp.errors import SettingsError
from dinox_mcp.types.text import number_of, one_line

if TYPE_CHECKING:
    from dinox_mcp.batch.summary import SearchResult
    from dinox_mcp.settings import Settings

_EPILOG = """\
The first argument is a folder, a pattern in quotes ('photos/**/*.jpg') or an image. Further ones may follow, with a
slash in them or an ending of images; every other argument is a prompt. Without prompts, everything that the backend
knows is searched for.

What is found is kept: the same command again detects only in images that are new or changed. Ctrl-C keeps what is done.

exit status: 0 all images answered, 1 some not answered or results not written, 2 wrong usage or settings, 130 Ctrl-C
"""
_ALL = 10_000
_EVERYTHING = "everything"


def add_flags(search: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `search` to its parser."""
    search.description = "Find which of many images hold what: the best first, with counts for each and in total."
    search.epilog = _EPILOG
    search.set_defaults(run=run)
    search.add_argument("arguments", nargs="+", metavar="FOLDER_OR_PROMPT", help="images, and what to find in them")
    search.add_argument("--out", metavar="FILE", help="write a sheet of the best images here: a .jpg")
    search.add_argument("--json", action="store_true", help="print one line of JSON for each image with objects")
    search.add_argument("--top", type=number(int, 1, _ALL), metavar="N", help="images to list (20; with --json all)")
    add_model_flags(search, tiles=False)
    add_like_flag(search)
    add_common_flags(search, argparse.SUPPRESS)


def run(options: argparse.Namespace) -> None:
    """Search and print; exit with status 1 where an image could not be answered."""
    if options.out is not None and Path(options.out).suffix.lower() not in {".jpg", ".jpeg"}:
        raise SettingsError(f"--out {options.out!r:.80} is not a .jpg; name one")
    try:
        result, sheet = anyio.run(_search, begin(options), options)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; what is done is kept: the same command again continues\n")
        raise
    if options.json:
        for line in _json_lines(result):
            terminal.write(line + "\n")
    else:
        terminal.write_lines(_lines(result))
    for line in _remarks(result):
        note(line)
    if options.out is not None:
        _write(Path(options.out).expanduser(), sheet)
    if result.failed or not result.complete:
        sys.exit(1)


async def _search(settings: "Settings", options: argparse.Namespace) -> "tuple[SearchResult, bytes | None]":
    from dinox_mcp.batch.search import TOP, SearchOptions
    from dinox_mcp.detector import Detector

    first, *rest = options.arguments
    more, prompts = split_arguments(rest)
    chosen = SearchOptions(model=options.model)
    if options.min_score is not None:
        chosen["min_score"] = options.min_score
    chosen["top"] = options.top or (_ALL if options.json else TOP)
    async with Detector(settings) as detector:
        with terminal.progress_bar() as chosen["progress"]:
            result = await detector.search([first, *more], prompts or None, options.like, **chosen)
        return result, await detector.searches.sheet(result) if options.out is not None else None


def _lines(result: "SearchResult") -> Iterator[str]:
    what = ", ".join(result.prompts) or _EVERYTHING
    title = f"{result.done} of {result.total} images searched for {what}"
    yield paint(title, "title")
    if result.images:
        rows = [["#", "image", "score", "objects", "text"]]
        for place, found in enumerate(result.images, start=1):
            objects = ", ".join(f"{number} {label}" for label, number in found.counts.items())
            score = f"{max(found.best.values(), default=0):.2f}"
            rows.append([str(place), _shown(found.image), score, objects, one_line(found.text)])
        yield from terminal.table(rows, "><><<", ("faint",))
    counts = ", ".join(f"{number} {label}" for label, number in result.counts.items()) or "nothing"
    yield paint(f"{counts} in {number_of(result.found, 'image')}", "title")
    if (left := result.found - len(result.images)) > 0:
        yield paint(f"{left} more images hold objects; raise --top", "faint")
    yield paint(f"backend {result.backend}, model {result.model or 'none'}", "faint")


def _shown(image: str) -> str:
    """Write a file below the working folder without that folder."""
    path = Path(image)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else image


def _json_lines(result: "SearchResult") -> Iterator[str]:
    for found in result.images:
        yield found.model_dump_json(exclude_defaults=True, ensure_ascii=True)
    for failed in result.failures:
        line = {"image": failed.image, "error": failed.error, "code": failed.code}
        yield json.dumps(line)


def _remarks(result: "SearchResult") -> Iterator[str]:
    """Say what is not a result: what failed, and what there is to know."""
    yield from (failed.line for failed in result.failures)
    if (more := result.failed - len(result.failures)) > 0:
        yield f"{more} more images have no answer"
    if result.copies:
        yield f"{result.copies} images have the bytes of another one: detected in once, counted each time"
    yield from (f"note: {note}" for note in result.notes)
    if result.stopped:
        yield f"stopped, {result.total - result.done} images left: {result.stopped} (the same command again continues)"


def _write(path: Path, sheet: bytes | None) -> None:
    from dinox_mcp.drawing.output import write_file

    if sheet is None:
        note(f"{path} is not written, as nothing was found")
    else:
        note(f"sheet: {write_file(path, sheet)}")
