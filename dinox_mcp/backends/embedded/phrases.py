"""Where words stand in lines of text, and what is written in given boxes."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from dinox_mcp.backends.embedded.findings import Finding, Pixels, Quad, once, reading_order, share_inside
from dinox_mcp.backends.embedded.text import Lines, TextReader
from dinox_mcp.backends.embedded.text_lines import Line
from dinox_mcp.backends.embedded.vocabulary import Kind
from dinox_mcp.types.boxes import Box, area

_UNSPACED = "\u2e80"  # from here on, scripts set no spaces between words
_LETTER = r"[^\W\u2e80-\U0010ffff]"
_LEVEL = 0.3
"""Steepest line, as height over width of its lower edge, in which words are placed by their letters."""


def spots(line: Finding, words: str) -> Iterator[Finding]:
    """Find words in a line of text, whatever their case and the spaces between them.

    Letters count as equally wide, so that the ends of a box may be a few letters off. Of a line that is not level, the
    whole line is given.
    """
    text = line.text or ""
    for match in _expression(words).finditer(text):
        start, stop = match.start() / len(text), match.end() / len(text)
        yield replace(line, quad=_between(line.quad, start, stop))


def _expression(words: str) -> "re.Pattern[str]":
    """Make the expression for whole words; Chinese, Japanese and Korean words need no space beside them."""
    spaced = r"\s*".join(re.escape(word) for word in words.split())
    start = "" if words[:1] >= _UNSPACED else rf"(?<!{_LETTER})"
    end = "" if words[-1:] >= _UNSPACED else rf"(?!{_LETTER})"
    return re.compile(f"{start}{spaced}{end}", re.IGNORECASE)


def _between(quad: Quad, start: float, stop: float) -> Quad:
    left, right = np.split(quad[np.argsort(quad[:, 0], kind="stable")], 2)
    (top_left, bottom_left), (top_right, bottom_right) = (pair[np.argsort(pair[:, 1])] for pair in (left, right))
    top, bottom = top_right - top_left, bottom_right - bottom_left
    if abs(bottom[1]) > _LEVEL * bottom[0]:
        return quad
    corners = [top_left + start * top, top_left + stop * top, bottom_left + stop * bottom, bottom_left + start * bottom]
    return np.asarray(corners, np.float32)


Told = Callable[[float], None]
Part = tuple[int, int, int, int]

MOST_LOOKED_AT = 16_000_000
_LEAST_LOOKED_AT, _MOST_FACTOR = 100_000, 3.0
_SHARE = 1 / 3  # what covers so much of a picture is seen well enough in the whole
_MARGIN = 0.05
_INSIDE = 0.6


def lines_in(bgr: Pixels, boxes: Sequence[Box], reader: TextReader, tell: Told) -> Lines:
    """Find and read the lines of text in boxes of a picture (height, width, BGR), each line once."""
    looks = look_at(bgr.shape[1], bgr.shape[0], boxes)
    found: list[Line] = []
    for done, ((left, top, right, bottom), factor) in enumerate(looks):
        tell(0.6 * done / len(looks))
        corner = np.array([left, top], np.float32)
        lines = reader.find(bgr[top:bottom, left:right], factor)
        found += [Line(line.shape + corner, line.tight + corner) for line in lines]
    seen = {id(line.shape): line for line in found}
    each = once(Finding(Kind.TEXT, line.shape) for line in found)
    return reader.read(bgr, [seen[id(finding.quad)] for finding in each], lambda done: tell(0.6 + 0.4 * done))


def look_at(width: int, height: int, boxes: Sequence[Box]) -> list[tuple[Part, float | None]]:
    """Choose parts of a picture of this size to look at, and how large to show each; None is as a whole picture.

    Boxes get a look of their own, the smallest first, until so many pixels are looked at; the others share the whole.
    """
    whole = 0, 0, width, height
    looks: dict[Part, float | None] = {}
    left = MOST_LOOKED_AT
    for box in sorted(boxes, key=area):
        part = _widened(box, width, height)
        size = (part[2] - part[0]) * (part[3] - part[1])
        factor = min(_MOST_FACTOR, max(1.0, math.sqrt(_LEAST_LOOKED_AT / size)))
        if part not in looks:
            left -= round(size * factor**2)
            looks |= {part: factor} if left >= 0 and size < _SHARE * width * height else {whole: None}
    return list(looks.items())


def written(box: Box, findings: Sequence[Finding]) -> str | None:
    """Join what was read in a box, from top to bottom; None where there is nothing."""
    left, top, right, bottom = box
    outline: Quad = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    inside = [finding for finding in findings if finding.text and share_inside(finding.quad, outline) >= _INSIDE]
    return "\n".join(finding.text for finding in reading_order(inside) if finding.text) or None


def _widened(box: Box, width: int, height: int) -> Part:
    more = _MARGIN * math.sqrt(area(box)) + 2
    left, top = max(0, math.floor(box[0] - more)), max(0, math.floor(box[1] - more))
    return left, top, min(width, math.ceil(box[2] + more)), min(height, math.ceil(box[3] + more))
