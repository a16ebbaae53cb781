"""Where words stand in lines of text."""

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from dinox_mcp.backends.embedded.findings import Finding, Quad

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
