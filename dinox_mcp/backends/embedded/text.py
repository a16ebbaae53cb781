"""Reads lines of text: which way up they are and what they say; and finds words in them.

These are the networks of PP-OCR with the same steps between them as in RapidOCR, whose wheel has them. They run
without RapidOCR, so that a call can stop between steps, memory is bounded, and nothing that could download is
imported.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from dinox_mcp.backends.embedded import text_lines
from dinox_mcp.backends.embedded.prompts import Kind
from dinox_mcp.backends.embedded.readings import Pixels, Quad, Reading, levelled, outline, sides, unique
from dinox_mcp.backends.embedded.runtime import Floats
from dinox_mcp.backends.embedded.text_lines import Line, Model, find_lines, parts_to_search
from dinox_mcp.backends.embedded.worker import Report, share
from dinox_mcp.types.boxes import Box

MAX_LINES = 1000
LEAST_SCORE = 0.75  # below it, most readings are texture: measured on photographs without text
LEAST_SCORE_ALONE = 0.95  # of a single letter: wheels and eyes are read as "0"

# The recognizer sees lines 48 pixels high; it reads lines narrower than 160 worse.
_HEIGHT, _LEAST_WIDTH, _MOST_WIDTH, _BATCH_WIDTH = 48, 160, 4800, 1920
_TURN_WIDTH, _TURN_THRESHOLD = 192, 0.9
_UPRIGHT_RATIO = 1.5

_LONG = 3  # in heights: a shorter strip without letters is not a line
_WORD = 2  # in heights: a shorter strip without text may be texture or a sign
_GREEK = re.compile("[\u0370-\u03ff]")
_OTHER_LETTERS = (
    "some lines look like text in letters that cannot be read here: only Latin, Chinese and Japanese are, others are "
    "left out or read as letters that look like them"
)
_SURE = 0.9  # lines with a lower score are read again, cut closer around the letters and both ways up

# Letters whose outline is reduced to their ink: the least height, the most unevenness of the edge, the least ink.
_LARGE, _UNEVEN, _LEAST_INKED = 80, 0.02, 0.25
_LEVEL = 0.05  # a slope below which a line is level

_UNSPACED = "\u2e80"  # from here on, scripts have no spaces between words
_LETTER = r"[^\W\u2e80-\U0010ffff]"
_MOST_SLOPE = 0.3  # height over width of the lower edge, up to which words are located in a line by their letters


class _Transcript(NamedTuple):
    text: str
    score: float


class Lines(NamedTuple):
    """The lines that were read, and notes on the others."""

    read: list[Reading]
    notes: list[str]


class TextReader:
    """Reads text in images; loading takes about 0.2 s and 70 MB."""

    def __init__(self) -> None:
        self._lines = Model(text_lines.LINES)
        self._turns = Model(text_lines.TURNS)
        self._letters = Model(text_lines.LETTERS)
        self._characters = self._letters.characters()

    def read_boxes(self, bgr: Pixels, boxes: Sequence[Box], report: Report) -> Lines:
        """Find and read the lines of text in boxes of an image (height, width, BGR), each line once."""
        parts = parts_to_search(bgr.shape[1], bgr.shape[0], boxes)
        found: list[Line] = []
        for done, ((left, top, right, bottom), factor) in enumerate(parts):
            report(0.6 * done / len(parts))
            corner = np.array([left, top], np.float32)
            lines = find_lines(self._lines, bgr[top:bottom, left:right], factor)
            found += [Line(line.shape + corner, line.tight + corner) for line in lines]
        by_shape = {id(line.shape): line for line in found}
        kept = unique(Reading(Kind.TEXT, line.shape) for line in found)
        return self._read_lines(bgr, [by_shape[id(one.quad)] for one in kept], share(report, 0.6, 1.0))

    def read(self, bgr: Pixels, report: Report) -> Lines:
        """Find and read the lines of text in an image (height, width, BGR)."""
        return self._read_lines(bgr, find_lines(self._lines, bgr), report)

    def _read_lines(self, bgr: Pixels, found: Sequence[Line], report: Report) -> Lines:
        """Read lines, at most MAX_LINES."""
        lines = found[:MAX_LINES]
        strips = [self._upright(_cut(bgr, line.shape)) for line in lines]
        readings = self._read(strips, share(report, 0.0, 0.7))
        weak = [index for index, reading in enumerate(readings) if reading.score < _SURE]
        closer = [_cut(bgr, lines[index].tight) for index in weak]
        again = self._read([*closer, *map(_turned, closer)], share(report, 0.7, 1.0))
        shapes = [line.shape for line in lines]
        for index, reading in zip(weak * 2, again, strict=True):
            before = readings[index]
            # An empty line stays empty unless it is text: upside down, unknown letters look like known ones.
            if reading.score > before.score and (before.text or _is_text(reading)):
                readings[index], shapes[index] = reading, lines[index].tight
        texts = [
            Reading(Kind.TEXT, _to_ink(bgr, shape), reading.text.strip(), reading.score)
            for shape, reading in zip(shapes, readings, strict=True)
            if _is_text(reading)
        ]
        left_out = len(found) - len(lines)
        notes = [f"{left_out} more lines of text were not read; zoom in for them"] if left_out else []
        if any(map(_has_unknown_letters, strips, readings)):
            notes.append(_OTHER_LETTERS)
        return Lines(unique(texts), notes)

    def _read(self, strips: Sequence[Pixels], report: Report) -> list[_Transcript]:
        readings: dict[int, _Transcript] = {}
        for batch in _batches([_width(strip) for strip in strips]):
            report(len(readings) / len(strips))
            width = max(_width(strips[index]) for index in batch)
            odds = self._letters(np.stack([_pad(strips[index], width) for index in batch]))
            readings |= zip(batch, map(self._spell, odds), strict=True)
        return [readings[index] for index in range(len(strips))]

    def _upright(self, strip: Pixels) -> Pixels:
        odds = self._turns(_pad(strip, _TURN_WIDTH)[None])[0]
        return _turned(strip) if odds[1] > _TURN_THRESHOLD else strip

    def _spell(self, odds: Floats) -> _Transcript:
        """Join the most probable letter of each column: repeats are one letter, blanks separate letters."""
        classes, scores = odds.argmax(axis=1), odds.max(axis=1)
        new = (classes != 0) & np.append(True, classes[1:] != classes[:-1])
        text = "".join(self._characters[number] for number in classes[new])
        return _Transcript(text, float(scores[new].mean()) if text else 0.0)


def _cut(bgr: Pixels, shape: Quad) -> Pixels:
    """Cut a line out and level it; one that is taller than wide is rotated by 90 degrees."""
    corners = _clockwise(shape)
    left, top, right, bottom = sides(corners).tolist()
    width, height = max(1, round(max(top, bottom))), max(1, round(max(left, right)))
    strip, _ = levelled(bgr, corners, (width, height))
    return np.rot90(strip) if height >= _UPRIGHT_RATIO * width else strip


def _to_ink(bgr: Pixels, shape: Quad) -> Quad:
    """Reduce the outline of very large letters to their ink, if they are on an even background.

    The larger the letters, the wider the outline: around letters that fill an image it is the full image.
    """
    _, (long, wide), _ = cv2.minAreaRect(shape)
    if min(long, wide) < _LARGE:
        return shape
    corners = _clockwise(shape)
    height, width = (max(2, round(side)) for side in sides(corners).tolist()[:2])
    strip, back = levelled(bgr, corners, (width, height), how=cv2.INTER_LINEAR)
    _, light = cv2.threshold(cv2.cvtColor(strip, cv2.COLOR_BGR2GRAY), 0, 1, cv2.THRESH_OTSU)
    around = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]]).mean()
    if min(around, 1 - around) > _UNEVEN:
        return shape
    ink = cv2.medianBlur(light if around < 0.5 else 1 - light, 5)  # noqa: PLR2004 - the edges are background
    points = cv2.findNonZero(ink)
    if points is None or min(cv2.boundingRect(ink)[2:]) < _LEAST_INKED * min(width, height):
        return shape
    pixels = np.concatenate([points, points + 1]).reshape(-1, 1, 2).astype(np.float32)  # both corners of each
    hull = cv2.convexHull(cv2.perspectiveTransform(pixels, back))
    along = corners[1] - corners[0]
    if min(abs(along)) < _LEVEL * max(abs(along)):
        left, top, inked_width, inked_height = cv2.boundingRect(hull)
        return outline((left, top, left + inked_width, top + inked_height))
    return np.asarray(cv2.boxPoints(cv2.minAreaRect(hull)), np.float32)


def _turned(strip: Pixels) -> Pixels:
    return np.ascontiguousarray(strip[::-1, ::-1])


def _clockwise(shape: Quad) -> Quad:
    """Order corners clockwise from the upper left: the left pair by height, then the right pair."""
    left, right = np.split(shape[np.argsort(shape[:, 0], kind="stable")], 2)
    (top_left, bottom_left), (top_right, bottom_right) = (pair[np.argsort(pair[:, 1])] for pair in (left, right))
    return np.array([top_left, top_right, bottom_right, bottom_left], np.float32)


def _width(strip: Pixels) -> int:
    """Return the width in pixels at which the recognizer sees a strip."""
    height, width = strip.shape[:2]
    return int(min(max(math.ceil(_HEIGHT * width / height), _LEAST_WIDTH), _MOST_WIDTH))


def _batches(widths: Sequence[int]) -> Iterator[list[int]]:
    """Group strips of similar width, with little padding and bounded memory."""
    batch: list[int] = []
    for index in sorted(range(len(widths)), key=lambda i: widths[i]):
        if batch and (len(batch) + 1) * widths[index] > _BATCH_WIDTH:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _pad(strip: Pixels, width: int) -> Floats:
    """Scale a strip to the height of the networks' input, and pad it with grey to the width."""
    scaled = min(width, math.ceil(_HEIGHT * strip.shape[1] / strip.shape[0]))
    padded = np.zeros((3, _HEIGHT, width), np.float32)
    padded[:, :, :scaled] = text_lines.normalize(np.asarray(cv2.resize(strip, (scaled, _HEIGHT)), np.uint8))
    return padded


def _is_text(reading: _Transcript) -> bool:
    """Return whether a transcript is text, not texture."""
    letters = sum(letter.isalnum() for letter in reading.text)
    return letters > 0 and reading.score >= (LEAST_SCORE if letters > 1 else LEAST_SCORE_ALONE)


def _has_unknown_letters(strip: Pixels, reading: _Transcript) -> bool:
    """Guess whether a line has letters that the network does not know.

    It reads lines in Cyrillic as nothing or as spaces. Into the words of other scripts it reads Greek letters, of
    which it knows some, as in units.
    """
    if not reading.text:
        return bool(strip.shape[1] >= _WORD * strip.shape[0])
    if not any(letter.isalnum() for letter in reading.text):
        return strip.shape[1] > _LONG * strip.shape[0] and reading.score >= LEAST_SCORE
    return any(len(_GREEK.findall(word)) > 1 for word in reading.text.split())


def find_words(line: Reading, words: str) -> Iterator[Reading]:
    """Find words in a line of text, in any case and with any spaces between them.

    Letters count as equally wide, so the ends of a box may be a few letters off. If the line is not level, its full
    outline is given.
    """
    text = line.text or ""
    for match in _pattern(words).finditer(text):
        yield replace(line, quad=_between(line.quad, match.start() / len(text), match.end() / len(text)))


def _pattern(words: str) -> "re.Pattern[str]":
    """Make the pattern for complete words; Chinese, Japanese and Korean words need no space beside them."""
    spaced = r"\s*".join(re.escape(word) for word in words.split())
    start = "" if words[:1] >= _UNSPACED else rf"(?<!{_LETTER})"
    end = "" if words[-1:] >= _UNSPACED else rf"(?!{_LETTER})"
    return re.compile(f"{start}{spaced}{end}", re.IGNORECASE)


def _between(shape: Quad, start: float, stop: float) -> Quad:
    """Cut the outline of a line at two shares of its length; return all of it if it is not level."""
    top_left, top_right, bottom_right, bottom_left = _clockwise(shape)
    top, bottom = top_right - top_left, bottom_right - bottom_left
    if abs(bottom[1]) > _MOST_SLOPE * bottom[0]:
        return shape
    corners = [top_left + start * top, top_left + stop * top, bottom_left + stop * bottom, bottom_left + start * bottom]
    return np.asarray(corners, np.float32)
