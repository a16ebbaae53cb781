"""Lines of text: where they are, which way up, and what they say.

The three networks of PP-OCR with the same steps between them as in RapidOCR, whose wheel they come from. They
are run directly so that a call can stop between steps, large pictures cost bounded memory, and nothing that
could download is ever imported.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from dinox_mcp.backends.embedded import models
from dinox_mcp.backends.embedded.findings import Finding, Pixels, Quad, once
from dinox_mcp.backends.embedded.lines import Line, LineFinder
from dinox_mcp.backends.embedded.models import Floats, Model
from dinox_mcp.backends.embedded.vocabulary import Kind

Told = Callable[[float], None]

MAX_LINES = 1000
LEAST_SCORE = 0.75  # below it, what was read is texture: measured on photographs without text
LEAST_SCORE_ALONE = 0.95  # wheels and eyes read as "0": a letter on its own must be clear

# The recognizer sees lines 48 pixels high; narrower than 160 it reads worse.
_HEIGHT, _LEAST_WIDTH, _MOST_WIDTH, _BATCH_WIDTH = 48, 160, 4800, 1920
_TURN_WIDTH, _TURN_THRESHOLD = 192, 0.9
_UPRIGHT_RATIO = 1.5

_SURE = 0.9  # what reads worse is read again, cut closer around the letters and both ways up


class _Reading(NamedTuple):
    text: str
    score: float


class TextReader:
    """Reads all text in a picture; loading takes about 0.2 s and 70 MB."""

    def __init__(self) -> None:
        """Load the models.

        Raises:
            BackendError: a model is missing or damaged.
        """
        self._lines = LineFinder()
        self._turns = Model(models.TURNS)
        self._letters = Model(models.LETTERS)
        self._characters = self._letters.characters()

    def find(self, bgr: Pixels, factor: float | None = None) -> list[Line]:
        """Find lines in a picture (height, width, BGR), shown by a factor larger, from top to bottom."""
        return self._lines.find(bgr, factor)

    def read(self, bgr: Pixels, found: Sequence[Line], tell: Told) -> tuple[list[Finding], int]:
        """Read lines of a picture (height, width, BGR); the number is of those past MAX_LINES, left unread."""
        lines = found[:MAX_LINES]
        strips = [self._upright(_cut(bgr, line.shape)) for line in lines]
        readings = self._read(strips, lambda done: tell(0.7 * done))
        weak = [index for index, reading in enumerate(readings) if reading.score < _SURE]
        closer = [_cut(bgr, lines[index].tight) for index in weak]
        again = self._read([*closer, *map(_turned, closer)], lambda done: tell(0.7 + 0.3 * done))
        shapes = [line.shape for line in lines]
        for index, reading in zip(weak * 2, again, strict=True):
            if reading.score > readings[index].score:
                readings[index], shapes[index] = reading, lines[index].tight
        findings = [
            Finding(Kind.TEXT, shape, reading.text.strip(), reading.score)
            for shape, reading in zip(shapes, readings, strict=True)
            if _is_text(reading)
        ]
        return once(findings), len(found) - len(lines)

    def _read(self, strips: Sequence[Pixels], tell: Told) -> list[_Reading]:
        readings: dict[int, _Reading] = {}
        for batch in _batches([_width(strip) for strip in strips]):
            tell(len(readings) / len(strips))
            width = max(_width(strips[index]) for index in batch)
            odds = self._letters(np.stack([_pad(strips[index], width) for index in batch]))
            readings |= zip(batch, map(self._spell, odds), strict=True)
        return [readings[index] for index in range(len(strips))]

    def _upright(self, strip: Pixels) -> Pixels:
        odds = self._turns(_pad(strip, _TURN_WIDTH)[None])[0]
        return _turned(strip) if odds[1] > _TURN_THRESHOLD else strip

    def _spell(self, odds: Floats) -> _Reading:
        """Join the likeliest letter of each column: repeats are one letter, blanks stand between letters."""
        classes, scores = odds.argmax(axis=1), odds.max(axis=1)
        new = (classes != 0) & np.append(True, classes[1:] != classes[:-1])
        text = "".join(self._characters[number] for number in classes[new])
        return _Reading(text, float(scores[new].mean()) if text else 0.0)


def _cut(bgr: Pixels, shape: Quad) -> Pixels:
    """Cut a line out and lay it level; one that is taller than wide is laid on its left side."""
    corners = _clockwise(shape)
    width = max(1, round(max(np.linalg.norm(corners[0] - corners[1]), np.linalg.norm(corners[2] - corners[3]))))
    height = max(1, round(max(np.linalg.norm(corners[0] - corners[3]), np.linalg.norm(corners[1] - corners[2]))))
    level = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    strip = cv2.warpPerspective(
        bgr,
        cv2.getPerspectiveTransform(corners, level),
        (width, height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(np.rot90(strip) if height >= _UPRIGHT_RATIO * width else strip, np.uint8)


def _turned(strip: Pixels) -> Pixels:
    return np.ascontiguousarray(strip[::-1, ::-1])


def _clockwise(shape: Quad) -> Quad:
    """Order corners clockwise from the upper left: the left pair by height, then the right pair."""
    left, right = np.split(shape[np.argsort(shape[:, 0], kind="stable")], 2)
    (top_left, bottom_left), (top_right, bottom_right) = (pair[np.argsort(pair[:, 1])] for pair in (left, right))
    return np.array([top_left, top_right, bottom_right, bottom_left], np.float32)


def _width(strip: Pixels) -> int:
    """Width in pixels that the recognizer sees a strip at."""
    height, width = strip.shape[:2]
    return int(min(max(math.ceil(_HEIGHT * width / height), _LEAST_WIDTH), _MOST_WIDTH))


def _batches(widths: Sequence[int]) -> Iterator[list[int]]:
    """Group strips of similar width, so that little is padded and memory is bounded."""
    batch: list[int] = []
    for index in sorted(range(len(widths)), key=lambda i: widths[i]):
        if batch and (len(batch) + 1) * widths[index] > _BATCH_WIDTH:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _pad(strip: Pixels, width: int) -> Floats:
    """Scale a strip to the height that the networks know, and fill up with grey to the width."""
    scaled = min(width, math.ceil(_HEIGHT * strip.shape[1] / strip.shape[0]))
    padded = np.zeros((3, _HEIGHT, width), np.float32)
    padded[:, :, :scaled] = models.normalize(np.asarray(cv2.resize(strip, (scaled, _HEIGHT)), np.uint8))
    return padded


def _is_text(reading: _Reading) -> bool:
    """Tell a transcript from texture."""
    letters = sum(letter.isalnum() for letter in reading.text)
    return letters > 0 and reading.score >= (LEAST_SCORE if letters > 1 else LEAST_SCORE_ALONE)
