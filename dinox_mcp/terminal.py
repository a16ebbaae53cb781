"""`dinox-mcp detect`: pictures and prompts from words, tables for people, JSON lines for programs."""

import argparse
import glob
import json
import os
import sys
import unicodedata
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
from tqdm import tqdm

from dinox_mcp.detector import Detector
from dinox_mcp.drawing.style import Style
from dinox_mcp.errors import DinoxError, SettingsError
from dinox_mcp.output import stem_of, write_annotated
from dinox_mcp.schema import DetectionResult
from dinox_mcp.settings import Settings

_ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"}
_ALIGNMENT = "><>><"
_SCHEMES = ("https://", "http://", "file://", "data:")


def detect(settings: Settings, options: argparse.Namespace) -> bool:
    """Detect in every picture of the command line; False when one could not be answered.

    Raises:
        SettingsError: no word is a picture, or --out does not fit.
    """
    pictures, prompts = split_words(options.words)
    if not pictures:
        raise SettingsError(f"none of {' '.join(options.words)!r:.80} is a picture; name a file or a URL first")
    return anyio.run(partial(_detect_all, settings, options, pictures, prompts))


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell pictures from prompts; patterns become the files that they match, sorted."""
    pictures: list[str] = []
    prompts: list[str] = []
    for word in words:
        pattern = str(Path(word).expanduser())
        matches = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(word) else []  # noqa: PTH207 - any root
        if matches:
            pictures.extend(matches)
        elif _is_picture(word):
            pictures.append(word)
        else:
            prompts.append(word)
    return pictures, prompts


def _is_picture(word: str) -> bool:
    if word.lower().startswith(_SCHEMES) or Path(word).suffix.lower() in _ENDINGS:
        return True
    return os.sep in word and Path(word).expanduser().exists()


async def _detect_all(
    settings: Settings, options: argparse.Namespace, pictures: Sequence[str], prompts: Sequence[str]
) -> bool:
    targets = output_paths(options.out, pictures)
    complete = True
    quiet = len(pictures) == 1 or not sys.stderr.isatty()
    pairs = zip(pictures, targets, strict=True)
    bar = tqdm(pairs, total=len(pictures), unit="picture", leave=False, disable=quiet)
    async with Detector(settings) as detector:
        for picture, target in bar:
            try:
                await _detect_one(detector, options, picture, prompts, target)
            except SettingsError:
                raise
            except DinoxError as error:
                complete = False
                _report_error(options, picture, error)
    return complete


def output_paths(out: str | None, pictures: Sequence[str]) -> list[Path | None]:
    """Say where each annotated picture goes: a file for one, a folder for several.

    Raises:
        SettingsError: several pictures would go into one file.
    """
    if out is None:
        return [None] * len(pictures)
    path = Path(out).expanduser()
    if path.suffix.lower() in _ENDINGS and not path.is_dir():
        if len(pictures) > 1:
            raise SettingsError(f"--out {out} is one file for {len(pictures)} pictures; name a folder")
        return [path]
    taken: dict[Path, None] = {}
    for number, picture in enumerate(pictures, start=1):
        stem = stem_of(picture)
        name = path / f"{stem}-annotated.jpg"
        taken[path / f"{stem}-{number}-annotated.jpg" if name in taken else name] = None
    return list(taken)


async def _detect_one(
    detector: Detector, options: argparse.Namespace, source: str, prompts: Sequence[str], target: Path | None
) -> None:
    result = await detector.detect(
        source,
        prompts or None,
        min_score=options.min_score,
        iou_threshold=options.iou_threshold,
        max_objects=options.max_objects,
        include=("masks",) if options.masks else (),
    )
    if target:
        picture = detector.result(result.result_id).picture
        await detector.draw(partial(write_annotated, target, picture, result.objects, Style()))
    if options.json:
        sys.stdout.write(result.model_dump_json(exclude_none=True) + "\n")
    else:
        sys.stdout.write(_describe(source, result, target) + "\n")


def _describe(source: str, result: DetectionResult, target: Path | None) -> str:
    """Write a result as a title, a table, and what there is to know about it."""
    rows = [["#", "label", "score", "box (x, y, x, y)", "text"]]
    for found in result.objects:
        score = "" if found.score is None else f"{found.score:.2f}"
        box = ", ".join(f"{edge:.0f}" for edge in found.bbox)
        rows.append([str(found.id), found.label, score, box, " ".join((found.text or "").split())])
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
    head = [_shorten(source), *_table(rows)] if result.objects else [f"{_shorten(source)}: nothing found"]
    return "\n".join([*head, *(fact for fact in facts if fact)]) + "\n"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns: numbers to the right, words to the left, wide (East Asian) characters counted as two."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(_pad(*cell) for cell in zip(row, widths, _ALIGNMENT, strict=False)).rstrip() for row in rows]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _pad(cell: str, width: int, alignment: str) -> str:
    space = " " * (width - _width(cell))
    return space + cell if alignment == ">" else cell + space


def _width(cell: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in cell)


def _report_error(options: argparse.Namespace, source: str, error: DinoxError) -> None:
    if options.json:
        sys.stdout.write(json.dumps({"source": _shorten(source), "error": str(error)}, ensure_ascii=False) + "\n")
    else:
        sys.stderr.write(f"{_shorten(source)}: {error}\n")


def _shorten(source: str) -> str:
    return source if len(source) <= 100 else f"{source[:60]}…"  # noqa: PLR2004 - a data: URI has no end
