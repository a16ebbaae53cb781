"""How results are printed: a title, a table and facts for people, a line of JSON for programs.

All functions raise `DinoxError` where stdout cannot be written.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from dinox_mcp.cli import terminal
from dinox_mcp.cli.terminal import Style, name_commands, paint, printable
from dinox_mcp.errors import DinoxError
from dinox_mcp.types.detection import DetectedObject, DetectionResult
from dinox_mcp.types.text import one_line
from dinox_mcp.types.video import VideoResult, clock

_LONGEST_SOURCE = 100
_NUMBERED: tuple[Style | None, ...] = ("faint", "accent")
"""The colors of the first two columns of each table: the number and the label."""


def print_image(source: str, result: DetectionResult, drawn: Path | None, *, as_json: bool) -> None:
    """Print the result of an image; `drawn` is the annotated image, if one was written."""
    _print(result, [] if as_json else _image_lines(source, result, drawn))


def print_video(source: str, result: VideoResult, *, as_json: bool) -> None:
    """Print the result of a video."""
    _print(result, [] if as_json else _video_lines(source, result))


def print_error(source: str, error: DinoxError, *, as_json: bool) -> None:
    """Print why there is no result for a source: to stdout as JSON, to stderr for people."""
    message, remedy = name_commands(str(error)), name_commands(error.remedy)
    if not as_json:
        terminal.note(f"{_shorten(source)}: {message}")
        return
    line = {"source": _shorten(source), "error": message, "code": error.code, "remedy": remedy}
    with tqdm.external_write_mode():
        terminal.write(json.dumps(line) + "\n")


def _print(result: DetectionResult | VideoResult, lines: Sequence[str]) -> None:
    """Print lines for people; without any, the result as JSON."""
    # ASCII, so that it neither depends on stdout's encoding nor holds anything that a terminal obeys.
    text = "\n".join([*lines, ""]) if lines else result.model_dump_json(exclude_none=True, ensure_ascii=True)
    with tqdm.external_write_mode():
        terminal.write(name_commands(text) + "\n")


def _image_lines(source: str, result: DetectionResult, drawn: Path | None) -> list[str]:
    rows = [
        [str(one.id), one.label, _score(one.score), ", ".join(f"{edge:.0f}" for edge in one.bbox), _description(one)]
        for one in result.objects
    ]
    image = result.image
    facts = [
        ", ".join(f"{number} {label}" for label, number in result.counts.items()),
        f"{result.omitted} more left out; raise --max-objects" if result.omitted else "",
        f"{image.width}x{image.height} pixels, {_made_by(result)}",
        *(f"note: {note}" for note in result.notes),
        f"annotated: {drawn}" if drawn else "",
    ]
    return _lines(source, ["#", "label", "score", "box (x, y, x, y)", "text"], rows, "><>><", facts)


def _video_lines(source: str, result: VideoResult) -> list[str]:
    rows = [
        [
            str(track.id),
            track.label,
            _score(track.score),
            clock(track.first_s),
            clock(track.last_s),
            str(track.seen),
            track.path.direction,
            one_line(track.text or ""),
        ]
        for track in result.tracks
    ]
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
        _made_by(result),
        f"{calls.made} calls, {calls.memory} key frames from the cache, one every {result.every_s:.2g} s",
        *(f"note: {note}" for note in result.notes),
        *(f"{name}: {path}" for name, path in result.files.model_dump(exclude_none=True).items()),
    ]
    heads = ["#", "label", "score", "from", "to", "key frames", "direction", "text"]
    return _lines(source, heads, rows, "><>>>><<", facts)


def _lines(
    source: str, heads: Sequence[str], rows: Sequence[Sequence[str]], alignment: str, facts: Iterable[str]
) -> list[str]:
    """Put a table under the source's name, and the facts below it."""
    title = paint(_shorten(source), "title")
    if not rows:
        return [f"{title}: nothing found", *map(printable, filter(None, facts))]
    counts, *more = facts
    table = terminal.table([heads, *rows], alignment, _NUMBERED)
    return [title, *table, paint(counts, "title"), *terminal.facts(more)]


def _made_by(result: DetectionResult | VideoResult) -> str:
    return f"backend {result.backend}, model {result.model}, min score {result.request.min_score:g}"


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:.2f}"


def _description(found: DetectedObject) -> str:
    """Write what is written on an object, and its category and caption, in one line."""
    category = None if found.category == found.label else found.category
    return " · ".join(one_line(text) for text in (found.text, category, found.caption) if text)


def _shorten(source: str) -> str:
    return source if len(source) <= _LONGEST_SOURCE else f"{source[:60]}…"  # a data: URI has no end
