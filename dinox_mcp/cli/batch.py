"""`dinox-mcp batch`: any number of images into Parquet files, in a run that can be stopped and continued."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, cast

import anyio
import anyio.from_thread
import anyio.to_thread

from dinox_mcp.batch.annotated import annotate
from dinox_mcp.batch.convert import FORMS, OUTPUTS, convert
from dinox_mcp.batch.job import ENGINES
from dinox_mcp.batch.manifest import SHARD_SIZE
from dinox_mcp.batch.outputs import check_free
from dinox_mcp.batch.parts import ERRORS
from dinox_mcp.batch.report import per_second
from dinox_mcp.cli import terminal
from dinox_mcp.cli.detect import add_like_flag, add_option_flags, nonempty, request_options, split_arguments
from dinox_mcp.cli.terminal import add_common_flags, begin, flags, name_commands, note, number, paint
from dinox_mcp.detect.options import MAX_OBJECTS
from dinox_mcp.errors import SettingsError
from dinox_mcp.types.text import number_of

if TYPE_CHECKING:
    from dinox_mcp.backends.base import Progress
    from dinox_mcp.batch.convert import Report
    from dinox_mcp.batch.job import BatchOptions
    from dinox_mcp.batch.report import BatchResult
    from dinox_mcp.settings import Settings

_EPILOG = """\
SOURCE is a folder, a pattern in quotes ('photos/**/*.jpg'), an image, a list (.txt, .csv), a Parquet file, WebDataset
shards ('shard-{0000..0099}.tar'), or a folder on the web or in a store (https://…/, s3://…, gs://…, az://…, hf://…).
Every other argument is a prompt. Without prompts, everything that the backend knows is detected.

The cost is said first. Images are finished in shards, each a file in RUN/parts with one row for each image; images
without an answer are listed in RUN/errors.parquet. The same command again continues, and detects only in images that
have no row yet. Ctrl-C finishes the shard in hand, a second Ctrl-C stops at once; nothing is lost or paid for twice.

exit status: 0 all images answered, 1 some not answered, 2 wrong usage or settings, 130 Ctrl-C
"""
_MOST = 1_000_000_000
_MOST_LABELS = 12


def add_flags(batch: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `batch` to its parser."""
    batch.description = "Detect objects in any number of images, into Parquet files; the same command again continues."
    batch.epilog = _EPILOG
    batch.set_defaults(run=run)
    batch.add_argument("source", type=nonempty, metavar="SOURCE", help="the images")
    batch.add_argument("prompts", nargs="*", default=[], type=nonempty, metavar="PROMPT", help="what to find in them")
    batch.add_argument("--out", required=True, type=Path, metavar="RUN", help="folder of the run, made if it is new")
    batch.add_argument(
        "--column", metavar="NAME", help="column of a table with the images, or field of a tar's samples such as jpg"
    )
    batch.add_argument(
        "--format",
        action="append",
        choices=FORMS,
        default=[],
        help="also write the finished run in this format, into RUN; may be repeated",
    )
    batch.add_argument("--annotated", action="store_true", help="also write annotated images, into RUN/annotated")
    batch.add_argument("--overwrite", action="store_true", help="replace what --format and --annotated wrote before")
    batch.add_argument("--json", action="store_true", help="print the summary as JSON")
    batch.add_argument("--limit", type=number(int, 1, _MOST), metavar="N", help="plan only the first N images for now")
    batch.add_argument(
        "--max-calls",
        type=number(int, 1, _MOST),
        metavar="N",
        help="calls to a paid backend at most (DINOX_MCP_MAX_CALLS_PER_JOB)",
    )
    batch.add_argument("--retry", action="store_true", help="try images without an answer again")
    batch.add_argument(
        "--shard-size",
        type=number(int, 1, 100_000),
        default=SHARD_SIZE,
        metavar="N",
        help=f"images of a shard at most ({SHARD_SIZE})",
    )
    batch.add_argument(
        "--at-once",
        type=number(int, 1, 256),
        metavar="N",
        help="images worked on at the same time (4; with a paid backend 8)",
    )
    batch.add_argument("--engine", choices=tuple(ENGINES), default="local", help="what works on the shards (local)")
    batch.add_argument(
        "--workers", type=number(int, 1, 10_000), metavar="N", help="processes of --engine ray (one for each machine)"
    )
    batch.add_argument(
        "--gpus-per-worker",
        type=number(float, 0, 1000),
        metavar="N",
        help="GPUs of each of them; 0.5 shares one between two (0)",
    )
    add_like_flag(add_option_flags(batch, listed=MAX_OBJECTS))
    add_common_flags(batch, argparse.SUPPRESS)


def run(options: argparse.Namespace) -> None:
    """Detect and print the summary; exit with status 1 where an image could not be answered."""
    sources, prompts = split_arguments(options.prompts)
    if sources:
        raise SettingsError(
            f"{sources[0]!r:.80} is an image, not a prompt; name one source: a folder, or a pattern in quotes such as "
            "'photos/*.jpg'"
        )
    settings = begin(options)
    if not options.overwrite:
        check_free(options.out.expanduser(), [OUTPUTS[form] for form in options.format])
    result = anyio.run(_batch, settings, options, prompts)
    if result is None:
        sys.stderr.write("stopped; what is done is kept: the same command again continues\n")
        raise KeyboardInterrupt
    if options.json:
        terminal.write(result.model_dump_json() + "\n")
    else:
        terminal.write_lines(_lines(result))
    for line in _remarks(result):
        note(name_commands(line))
    if result.complete:
        for line in anyio.run(_write, settings, options, Path(result.folder)):
            note(line)
    if not result.complete and not result.stopped:
        raise KeyboardInterrupt
    if result.failed or not result.complete:
        sys.exit(1)


async def _batch(settings: "Settings", options: argparse.Namespace, prompts: list[str]) -> "BatchResult | None":
    """Run the batch; None if a second Ctrl-C stopped it."""
    from dinox_mcp.detector import Detector

    own = ("column", "max_calls", "limit", "shard_size", "retry", "at_once", "engine", "workers", "gpus_per_worker")
    chosen = cast("BatchOptions", request_options(options) | flags(options, *own))
    with anyio.CancelScope() as scope, _interruptible(scope) as interrupts:
        chosen["stopping"] = lambda: bool(interrupts)
        async with Detector(settings) as detector:
            with terminal.progress_bar(logged=True) as chosen["progress"]:
                return await detector.batch(options.source, options.out, prompts or None, options.like, **chosen)
    return None


async def _write(settings: "Settings", options: argparse.Namespace, folder: Path) -> list[str]:
    """Write the finished run in other formats and as annotated images; say what was written."""
    from dinox_mcp.detector import Detector

    lines = []
    for form in dict.fromkeys(options.format):
        with terminal.progress_bar() as progress:
            make = partial(convert, folder, form, overwrite=options.overwrite, report=_in_thread(progress))
            made = await anyio.to_thread.run_sync(make)
        lines += [
            f"{made.path}: {number_of(made.images, 'image')}, {number_of(made.objects, 'object')}",
            *_notes(made.notes),
        ]
    if options.annotated:
        async with Detector(settings) as detector:
            with terminal.progress_bar() as progress:
                drawn = await annotate(detector, folder, overwrite=options.overwrite, progress=progress)
        kept = f", {number_of(drawn.kept, 'file')} kept" if drawn.kept else ""
        lines += [f"{drawn.folder}: {number_of(drawn.written, 'annotated image')}{kept}", *_notes(drawn.notes)]
    return lines


def _in_thread(progress: "Progress") -> "Report":
    """Make progress known from a thread, which a cancelled call ends there."""

    async def forward(share: float, message: str) -> None:
        await progress(share, message)

    def report(share: float, message: str) -> None:
        anyio.from_thread.check_cancelled()
        anyio.from_thread.run(forward, share, message)

    return report


def _notes(notes: Sequence[str]) -> Iterator[str]:
    return (f"note: {note}" for note in notes)


@contextmanager
def _interruptible(scope: anyio.CancelScope) -> Iterator[list[int]]:
    """Collect the first Ctrl-C, which is to end the run after the shard in hand; a second one ends it at once."""
    loop = asyncio.get_running_loop()
    interrupts: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        if interrupts:
            signal.signal(signal.SIGINT, before)  # a third one ends the program
            loop.call_soon_threadsafe(scope.cancel)
            return
        interrupts.append(number)
        loop.call_soon_threadsafe(note, "stopping after the shard in hand; Ctrl-C again stops at once")

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)


def _lines(result: "BatchResult") -> Iterator[str]:
    named = [f"{number:,} {label}" for label, number in result.counts.items()]
    more = [f"{len(named) - _MOST_LABELS:,} other labels"] if len(named) > _MOST_LABELS else []
    counts = ", ".join([*named[:_MOST_LABELS], *more]) or "nothing"
    pace = ""
    if result.detected:
        pace = f" in {result.seconds:,.1f} s, {per_second(result.detected / result.seconds)}"
    failed = f", {result.failed:,} without an answer" if result.failed else ""
    yield paint(f"{result.done:,} of {number_of(result.total, 'image')}{pace}{failed}: {counts}", "title")
    yield paint(f"backend {result.backend}, model {result.model or 'none'}", "faint")


def _remarks(result: "BatchResult") -> Iterator[str]:
    """Say what is not a result: where it is, what failed, and what there is to know."""
    yield f"rows: {result.folder}/parts/*.parquet"
    if result.failed:
        yield f"{number_of(result.failed, 'image')} without an answer: {result.folder}/{ERRORS} (--retry tries again)"
    yield from _notes(result.notes)
    if not result.complete:
        why = f": {result.stopped}" if result.stopped else ""
        yield f"stopped, {number_of(result.total - result.done, 'image')} left{why} (the same command again continues)"
