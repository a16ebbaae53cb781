"""`dinox-mcp detect` of videos: a table of tracks, the files, and what is done when Ctrl-C stops it."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import NoReturn

import anyio
from tqdm import tqdm

from dinox_mcp.backends.base import Progress
from dinox_mcp.cli import terminal
from dinox_mcp.cli.arguments import address_of, asking
from dinox_mcp.cli.terminal import table
from dinox_mcp.detector import Detector
from dinox_mcp.drawing.output import stem_of
from dinox_mcp.errors import DinoxError, SettingsError
from dinox_mcp.settings import Settings
from dinox_mcp.types.video import VideoResult, clock
from dinox_mcp.video.job import EVERY_S
from dinox_mcp.video.output import ANNOTATED, Place
from dinox_mcp.viewer.files import PageFile, begin_page

_ALIGNMENT = "><>>>><<"
_FOREIGN = ("like", "describe")


def detect_videos(
    settings: Settings, options: argparse.Namespace, videos: Sequence[str], prompts: Sequence[str]
) -> bool:
    """Detect in every video of the command line; False when one could not be answered.

    Raises:
        SettingsError: an option is none of videos, --out is no folder, or a page is wanted and there is no folder.
        DinoxError: stdout or the page cannot be written.
    """
    if foreign := [f"--{name}" for name in _FOREIGN if getattr(options, name)]:
        raise SettingsError(f"{' and '.join(foreign)}: not for videos; ask about a picture, or leave it out")
    folder = _folder(options.out)
    page = begin_page(options.html, len(videos), opens=options.open)
    if page and folder is None and settings.output_folder is None:
        raise SettingsError("a page of a video shows its contact sheet: say with --out in which folder to keep that")
    return anyio.run(partial(_detect_all, settings, options, videos, prompts, folder, page))


def _folder(out: str | None) -> Path | None:
    if out is None:
        return None
    path = Path(os.path.expanduser(out))  # noqa: PTH111 - which raises where a home is unknown
    if path.is_dir() or out.endswith(("/", os.sep)) or not path.suffix:
        return path
    raise SettingsError(f"--out {out} is no folder, as several files are written for a video; end the name with /")


async def _detect_all(
    settings: Settings,
    options: argparse.Namespace,
    videos: Sequence[str],
    prompts: Sequence[str],
    folder: Path | None,
    page: PageFile | None,
) -> bool:
    complete = True
    taken: set[str] = set()
    async with Detector(settings) as detector:
        for video in videos:
            stem = _stem(video, folder, videos, taken)
            try:
                result = await _detect_one(detector, options, video, prompts, folder, stem)
                if page:
                    page.add_video(result)
            except SettingsError:
                raise
            except DinoxError as error:
                complete = False
                if options.json:
                    terminal.write(json.dumps({"source": video, "error": str(error)}) + "\n")
                else:
                    sys.stderr.write(terminal.printable(f"{video}: {error}") + "\n")
    if page and (where := page.finish()):
        sys.stderr.write(terminal.printable(where) + "\n")
    return complete


def _stem(video: str, folder: Path | None, videos: Sequence[str], taken: set[str]) -> str:
    """Name the files of a video after it: no two alike, and none over a source."""
    sources = {Path(address_of(one)).resolve() for one in videos}
    stem = stem_of(video)
    names = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
    free = (
        name
        for name in names
        if name.casefold() not in taken and Place(folder or Path(), name).path(ANNOTATED).resolve() not in sources
    )
    name = next(free)
    taken.add(name.casefold())
    return name


async def _detect_one(
    detector: Detector,
    options: argparse.Namespace,
    source: str,
    prompts: Sequence[str],
    folder: Path | None,
    stem: str,
) -> VideoResult:
    save = folder is not None or detector.settings.output_folder is not None
    with tqdm(total=1.0, bar_format="{percentage:3.0f}% {desc}", leave=False, disable=not sys.stderr.isatty()) as bar:
        chosen = asking(options)
        chosen["progress"] = _shown(bar)
        report = partial(_report, options, source)
        result = await detector.detect_video(
            address_of(source),
            prompts or None,
            every_s=EVERY_S if options.every is None else options.every,
            max_calls=options.max_calls,
            start_s=options.start,
            end_s=options.end,
            folder=folder,
            stem=stem if folder else None,
            save=save,
            stopped=report,
            **chosen,
        )
    report(result)
    return result


def _shown(bar: "tqdm[NoReturn]") -> Progress:
    """Show progress in a bar, and what it will cost in a line of its own."""
    told = False

    async def progress(part: float, message: str) -> None:
        nonlocal told
        if not told:
            told = True
            with tqdm.external_write_mode():
                sys.stderr.write(terminal.printable(message) + "\n")
        elif not bar.disable:
            bar.n = max(bar.n, part)
            bar.set_description_str(terminal.printable(message))

    return progress


def _report(options: argparse.Namespace, source: str, result: VideoResult) -> None:
    if options.json:
        text = result.model_dump_json(exclude_none=True, ensure_ascii=True)
    else:
        text = "\n".join(terminal.printable(line) for line in _describe(source, result)) + "\n"
    with tqdm.external_write_mode():
        terminal.write(text + "\n")


def _describe(source: str, result: VideoResult) -> list[str]:
    """Write an answer as a title, a table, and what there is to know about it."""
    rows = [["#", "label", "score", "from", "to", "key frames", "goes", "text"]]
    for track in result.tracks:
        score = "" if track.score is None else f"{track.score:.2f}"
        text = " ".join((track.text or "").split())
        times = clock(track.first_s), clock(track.last_s)
        rows.append([str(track.id), track.label, score, *times, str(track.seen), track.path.direction, text])
    if not any(row[-1] for row in rows[1:]):
        rows = [row[:-1] for row in rows]
    counts = (
        f"{number} {label} (at most {result.peaks[label].count} at once, first at {clock(result.peaks[label].time_s)})"
        if number and label in result.peaks
        else f"{number} {label}"
        for label, number in result.counts.items()
    )
    video, calls = result.video, result.calls
    facts = [
        ", ".join(counts),
        f"{clock(video.duration_s)} of {video.width}x{video.height} pixels, {video.fps:.4g} frames a second",
        f"backend {result.backend}, model {result.model}, min score {result.request.min_score:g}",
        f"{calls.made} calls, {calls.memory} key frames from memory, one every {result.every_s:.2g} s",
        *(f"note: {note}" for note in result.notes),
        *(f"{name}: {path}" for name, path in result.files.model_dump(exclude_none=True).items()),
    ]
    head = [source, *table(rows, _ALIGNMENT)] if result.tracks else [f"{source}: nothing found"]
    return [line for line in [*head, *facts] if line]
