"""Lines of text: where they are, which way up, and what they say.

The three networks of PP-OCR with the same steps between them as in RapidOCR, whose wheel they come from. They
are run directly so that a call can stop between steps, large pictures cost bounded memory, and nothing that
could download is ever imported.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from dinox_mcp.backends.embedded import text_lines
from dinox_mcp.backends.embedded.findings import Finding, Pixels, Quad, once
from dinox_mcp.backends.embedded.text_lines import Floats, Line, LineFinder, Model
from dinox_mcp.backends.embedded.vocabulary import Kind

Told = Callable[[float], None]

MAX_LINES = 1000
LEAST_SCORE = 0.75  # below it, what was read is texture: measured on photographs without text
LEAST_SCORE_ALONE = 0.95  # wheels and eyes read as "0": a letter on its own must be clear

# The recognizer sees lines 48 pixels high; narrower than 160 it reads worse.
_HEIGHT, _LEAST_WIDTH, _MOST_WIDTH, _BATCH_WIDTH = 48, 160, 4800, 1920
_TURN_WIDTH, _TURN_THRESHOLD = 192, 0.9
_UPRIGHT_RATIO = 1.5

_LONG = 3  # in heights: what is shorter and says nothing is no line
_WORD = 2  # in heights: what is shorter and has no letters may be texture or a sign
_GREEK = re.compile("[\u0370-\u03ff]")
_SURE = 0.9  # what reads worse is read again, cut closer around the letters and both ways up

# Letters whose outline is drawn in to their ink: how high it is, how clean its edge and how much there must be.
_LARGE, _UNEVEN, _LEAST_INKED = 80, 0.02, 0.25
_LEVEL = 0.05  # a slope below which a line is level


class _Reading(NamedTuple):
    text: str
    score: float


class Lines(NamedTuple):
    """The lines that were read, how many were left out as there are too many, and how many are in no known letters."""

    read: list[Finding]
    left_out: int
    unknown: int


class TextReader:
    """Reads all text in a picture; loading takes about 0.2 s and 70 MB."""

    def __init__(self) -> None:
        """Load the models.

        Raises:
            BackendError: a model is missing or damaged.
        """
        self._lines = LineFinder()
        self._turns = Model(text_lines.TURNS)
        self._letters = Model(text_lines.LETTERS)
        self._characters = self._letters.characters()

    def find(self, bgr: Pixels, factor: float | None = None) -> list[Line]:
        """Find lines in a picture (height, width, BGR), shown by a factor larger, from top to bottom."""
        return self._lines.find(bgr, factor)

    def read(self, bgr: Pixels, found: Sequence[Line], tell: Told) -> Lines:
        """Read lines of a picture (height, width, BGR); those past MAX_LINES are left out."""
        lines = found[:MAX_LINES]
        strips = [self._upright(_cut(bgr, line.shape)) for line in lines]
        readings = self._read(strips, lambda done: tell(0.7 * done))
        weak = [index for index, reading in enumerate(readings) if reading.score < _SURE]
        closer = [_cut(bgr, lines[index].tight) for index in weak]
        again = self._read([*closer, *map(_turned, closer)], lambda done: tell(0.7 + 0.3 * done))
        shapes = [line.shape for line in lines]
        for index, reading in zip(weak * 2, again, strict=True):
            before = readings[index]
            # What says nothing keeps saying it, but for text: letters that are not known look like some upside down.
            if reading.score > before.score and (before.text or _is_text(reading)):
                readings[index], shapes[index] = reading, lines[index].tight
        findings = [
            Finding(Kind.TEXT, _to_ink(bgr, shape), reading.text.strip(), reading.score)
            for shape, reading in zip(shapes, readings, strict=True)
            if _is_text(reading)
        ]
        unknown = sum(map(_is_of_unknown_letters, strips, readings))
        return Lines(once(findings), len(found) - len(lines), unknown)

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


def _to_ink(bgr: Pixels, shape: Quad) -> Quad:
    """Draw in the outline of very large letters to their ink, where that stands out from an even ground.

    The outline is the wider, the larger the letters are: around those that fill a picture it is the whole picture.
    """
    _, (long, wide), _ = cv2.minAreaRect(shape)
    if min(long, wide) < _LARGE:
        return shape
    corners = _clockwise(shape)
    width, height = (max(2, round(float(np.linalg.norm(corners[0] - corners[at])))) for at in (1, 3))
    level = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, level)
    strip = cv2.warpPerspective(bgr, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    _, light = cv2.threshold(cv2.cvtColor(strip, cv2.COLOR_BGR2GRAY), 0, 1, cv2.THRESH_OTSU)
    around = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]]).mean()
    if min(around, 1 - around) > _UNEVEN:
        return shape
    ink = cv2.medianBlur(light if around < 0.5 else 1 - light, 5)  # noqa: PLR2004 - ink is what the edges are not
    points = cv2.findNonZero(ink)
    if points is None or min(cv2.boundingRect(ink)[2:]) < _LEAST_INKED * min(width, height):
        return shape
    pixels = np.concatenate([points, points + 1]).reshape(-1, 1, 2).astype(np.float32)  # both corners of each
    hull = cv2.convexHull(cv2.perspectiveTransform(pixels, np.linalg.inv(matrix)))
    along = corners[1] - corners[0]
    if min(abs(along)) < _LEVEL * max(abs(along)):
        left, top, inked_width, inked_height = cv2.boundingRect(hull)
        right, bottom = left + inked_width, top + inked_height
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    return np.asarray(cv2.boxPoints(cv2.minAreaRect(hull)), np.float32)


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
    padded[:, :, :scaled] = text_lines.normalize(np.asarray(cv2.resize(strip, (scaled, _HEIGHT)), np.uint8))
    return padded


def _is_text(reading: _Reading) -> bool:
    """Tell a transcript from texture."""
    letters = sum(letter.isalnum() for letter in reading.text)
    return letters > 0 and reading.score >= (LEAST_SCORE if letters > 1 else LEAST_SCORE_ALONE)


def _is_of_unknown_letters(strip: Pixels, reading: _Reading) -> bool:
    """Guess whether a line is in letters that the network does not know.

    It reads nothing or spaces into lines in Cyrillic, and letters of Greek, of which it knows those that stand for
    units and the like, into the words of others.
    """
    if not reading.text:
        return bool(strip.shape[1] >= _WORD * strip.shape[0])
    if not any(letter.isalnum() for letter in reading.text):
        return strip.shape[1] > _LONG * strip.shape[0] and reading.score >= LEAST_SCORE
    return any(len(_GREEK.findall(word)) > 1 for word in reading.text.split())
