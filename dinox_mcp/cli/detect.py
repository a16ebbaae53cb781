"""`dinox-mcp detect`: pictures and prompts from words, tables for people, JSON lines for programs."""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
from tqdm import tqdm

from dinox_mcp.cli import terminal
from dinox_mcp.cli.arguments import address_of, asking, is_video, output_paths, split_words
from dinox_mcp.cli.detect_video import detect_videos
from dinox_mcp.cli.terminal import table
from dinox_mcp.detect.prompts import parse_prompts
from dinox_mcp.detector import Detector
from dinox_mcp.drawing.output import save_annotated, tag_of, write_annotated
from dinox_mcp.drawing.style import Style
from dinox_mcp.errors import DinoxError, InputError, SettingsError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectedObject, DetectionResult
from dinox_mcp.viewer.files import PageFile, begin_page

_ALIGNMENT = "><>><"


def detect(settings: Settings, options: argparse.Namespace) -> bool:
    """Detect in every picture (or video) of the command line; False when one could not be answered.

    Raises:
        SettingsError: no word is a picture, a prompt is none, or --out or --html does not fit.
        DinoxError: stdout or the page cannot be written.
    """
    terminal.write("")  # what cannot be told need not be asked, nor paid
    pictures, prompts = split_words(options.words)
    if not pictures:
        raise SettingsError(f"none of {' '.join(options.words)!r:.80} is a picture; name a file or a URL first")
    _check_prompts(prompts)
    _check_question(options, prompts)
    if videos := [picture for picture in pictures if is_video(picture)]:
        if len(videos) < len(pictures):
            raise SettingsError("pictures and videos are different questions; ask them one after the other")
        return detect_videos(settings, options, videos, prompts)
    targets = output_paths(options.out, pictures)
    page = begin_page(options.html, len(pictures), opens=options.open)
    return anyio.run(partial(_detect_all, settings, options, pictures, prompts, targets, page))


def _check_prompts(prompts: Sequence[str]) -> None:
    """Refuse before any picture what each would be refused for."""
    if prompts:
        try:
            parse_prompts(prompts)
        except InputError as error:
            raise SettingsError(str(error)) from None


async def _detect_all(
    settings: Settings,
    options: argparse.Namespace,
    pictures: Sequence[str],
    prompts: Sequence[str],
    targets: Sequence[Path | None],
    page: PageFile | None,
) -> bool:
    complete = True
    quiet = len(pictures) == 1 or not sys.stderr.isatty()
    pairs = zip(pictures, targets, strict=True)
    bar = tqdm(pairs, total=len(pictures), unit="picture", leave=False, disable=quiet)
    with bar:
        async with Detector(settings) as detector:
            for picture, target in bar:
                try:
                    result, drawn = await _detect_one(detector, options, picture, prompts, target)
                    if page:
                        await page.add(detector, result)
                except SettingsError:
                    raise
                except DinoxError as error:
                    complete = False
                    _report_error(options, picture, error)
                else:
                    _report(options, picture, result, drawn)
    if page and (where := page.finish()):
        sys.stderr.write(terminal.printable(where) + "\n")
    return complete


async def _detect_one(
    detector: Detector, options: argparse.Namespace, source: str, prompts: Sequence[str], target: Path | None
) -> tuple[DetectionResult, Path | None]:
    result = await _ask(detector, options, address_of(source), prompts)
    folder = detector.settings.output_folder
    if target is None and folder is None:
        return result, None
    picture = detector.result(result.result_id).picture
    return result, await detector.draw(partial(_draw, target, folder, picture, result.objects))


async def _ask(detector: Detector, options: argparse.Namespace, image: str, prompts: Sequence[str]) -> DetectionResult:
    chosen = asking(options)
    if options.like:
        return await detector.detect_by_example(image, options.like, **chosen)
    if options.describe is not None:
        return await detector.find_by_description(image, options.describe, **chosen)
    return await detector.detect(image, prompts or None, **chosen)


def _check_question(options: argparse.Namespace, prompts: Sequence[str]) -> None:
    """Refuse two questions at once.

    Raises:
        SettingsError: there are two.
    """
    asked = [f"the words {' '.join(prompts)!r:.60}"] if prompts else []
    asked += ["--like"] if options.like else []
    asked += ["--describe"] if options.describe is not None else []
    if len(asked) > 1:
        raise SettingsError(f"{' and '.join(asked)} are different questions; ask them one after the other")


def _draw(target: Path | None, folder: Path | None, picture: Picture, objects: Sequence[DetectedObject]) -> Path | None:
    """Write the annotated picture where --out says, else into the folder of the settings, if there is one."""
    style = Style()
    if target is not None:
        return write_annotated(target, picture, objects, style)
    return folder and save_annotated(folder, picture, objects, style, tag_of(picture, objects, style))


def _report(options: argparse.Namespace, source: str, result: DetectionResult, drawn: Path | None) -> None:
    if options.json:
        # ASCII, so that it neither depends on stdout's encoding nor holds anything that a terminal obeys.
        text = result.model_dump_json(exclude_none=True, ensure_ascii=True)
    else:
        text = _describe(source, result, drawn)
    with tqdm.external_write_mode():
        terminal.write(text + "\n")


def _report_error(options: argparse.Namespace, source: str, error: DinoxError) -> None:
    with tqdm.external_write_mode():
        if options.json:
            terminal.write(json.dumps({"source": _shorten(source), "error": str(error)}) + "\n")
        else:
            sys.stderr.write(terminal.printable(f"{_shorten(source)}: {error}") + "\n")


def _describe(source: str, result: DetectionResult, target: Path | None) -> str:
    """Write a result as a title, a table, and what there is to know about it."""
    rows = [["#", "label", "score", "box (x, y, x, y)", "text"]]
    for found in result.objects:
        score = "" if found.score is None else f"{found.score:.2f}"
        box = ", ".join(f"{edge:.0f}" for edge in found.bbox)
        rows.append([str(found.id), found.label, score, box, _words(found)])
    if all(not row[-1] for row in rows[1:]):
        rows = [row[:-1] for row in rows]
    image, least = result.image, result.request.min_score
    facts = [
        ", ".join(f"{number} {label}" for label, number in result.counts.items()),
        f"{result.omitted} more left out; raise --max-objects" if result.omitted else "",
        f"{image.width}x{image.height} pixels, backend {result.backend}, model {result.model}, min score {least:g}",
        *(f"note: {note}" for note in result.notes),
        f"annotated: {target}" if target else "",
    ]
    head = [_shorten(source), *table(rows, _ALIGNMENT)] if result.objects else [f"{_shorten(source)}: nothing found"]
    return "\n".join(terminal.printable(line) for line in [*head, *facts] if line) + "\n"


def _words(found: DetectedObject) -> str:
    """Write what is written on an object, and what a model says of it, in one line."""
    category = None if found.category == found.label else found.category
    said = (found.text, category, found.caption)
    return " · ".join(" ".join(words.split()) for words in said if words)


def _shorten(source: str) -> str:
    return source if len(source) <= 100 else f"{source[:60]}…"  # noqa: PLR2004 - a data: URI has no end
