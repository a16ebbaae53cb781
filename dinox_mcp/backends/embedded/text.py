"""Lines of text: where they are, which way up, and what they say.

The three networks of PP-OCR with the same steps between them as in RapidOCR, whose wheel they come from. They
are run directly so that a call can stop between steps, large pictures cost bounded memory, and nothing that
could download is ever imported.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

from dinox_mcp.backends.embedded import models
from dinox_mcp.backends.embedded.findings import Finding, Pixels, Quad, once
from dinox_mcp.backends.embedded.models import Floats, Model
from dinox_mcp.backends.embedded.vocabulary import Kind

Told = Callable[[float], None]

MAX_LINES = 1000
LEAST_SCORE = 0.7  # below it, what was read is texture: measured on photographs without text
LEAST_SCORE_ALONE = 0.95  # wheels and eyes read as "0": a letter on its own must be clear

# Where lines are looked for, in pixels: small pictures are enlarged, large ones reduced. Letters may be 4 pixels
# high there; they are read at full size. Of a long page or screenshot the narrow side must stay legible.
_LEAST_AREA, _MOST_AREA, _MOST_AREA_OF_LONG = 1_200_000, 2_000_000, 3_200_000
_LEAST_SIDE, _MOST_FACTOR, _STRIDE = 736, 3.0, 32

# As RapidOCR has them: what counts as a line, and how much wider it is than its kernel.
_PIXEL_THRESHOLD, _LINE_THRESHOLD, _WIDER = 0.3, 0.5, 1.6
_LEAST_THICKNESS = 3

# The recognizer sees lines 48 pixels high; narrower than 160 it reads worse.
_HEIGHT, _LEAST_WIDTH, _MOST_WIDTH, _BATCH_WIDTH = 48, 160, 4800, 1920
_TURN_WIDTH, _TURN_BATCH, _TURN_THRESHOLD = 192, 16, 0.9
_UPRIGHT_RATIO = 1.5


class TextReader:
    """Reads all text in a picture; loading takes about 0.2 s and 70 MB."""

    def __init__(self) -> None:
        """Load the models.

        Raises:
            BackendError: a model is missing or damaged.
        """
        self._lines = Model(models.LINES)
        self._turns = Model(models.TURNS)
        self._letters = Model(models.LETTERS)
        self._characters = self._letters.characters()

    def read(self, bgr: Pixels, tell: Told) -> tuple[list[Finding], int]:
        """Find lines (height, width, BGR) and read them; the number is of those past MAX_LINES, left unread."""
        tell(0.0)
        shapes = self._find(bgr)
        strips = [_cut(bgr, shape) for shape in shapes[:MAX_LINES]]
        findings = []
        for index, text, score in self._read([self._turn(strip) for strip in strips], tell):
            if _is_text(text, score):
                findings.append(Finding(Kind.TEXT, shapes[index], text.strip(), score))
        return once(findings), max(0, len(shapes) - MAX_LINES)

    def _find(self, bgr: Pixels) -> list[Quad]:
        height, width = bgr.shape[:2]
        size = _search_size(width, height)
        how = cv2.INTER_AREA if size[0] < width else cv2.INTER_LINEAR
        small = np.asarray(cv2.resize(bgr, size, interpolation=how), np.uint8)
        heat = self._lines(_normalize(small)[None])[0, 0]
        stretch = np.array([width / size[0], height / size[1]], np.float32)
        return sorted((shape * stretch for shape in _lines_of(heat)), key=lambda shape: float(shape[:, 1].mean()))

    def _turn(self, strip: Pixels) -> Pixels:
        odds = self._turns(_pad(strip, _TURN_WIDTH)[None])[0]
        return np.ascontiguousarray(strip[::-1, ::-1]) if odds[1] > _TURN_THRESHOLD else strip

    def _read(self, strips: Sequence[Pixels], tell: Told) -> Iterator[tuple[int, str, float]]:
        """Read strips of similar width together; the answer comes in that order."""
        done = 0
        for batch in _batches([_width(strip) for strip in strips]):
            tell(0.3 + 0.7 * done / len(strips))
            width = max(_width(strips[index]) for index in batch)
            odds = self._letters(np.stack([_pad(strips[index], width) for index in batch]))
            for index, classes, scores in zip(batch, odds.argmax(axis=2), odds.max(axis=2), strict=True):
                new = (classes != 0) & np.append(True, classes[1:] != classes[:-1])
                text = "".join(self._characters[number] for number in classes[new])
                yield index, text, float(scores[new].mean()) if new.any() else 0.0
            done += len(batch)


def _search_size(width: int, height: int) -> tuple[int, int]:
    """Choose the size (width, height) at which lines are looked for, in whole strides."""
    area = width * height
    factor = math.sqrt(min(max(area, _LEAST_AREA), _MOST_AREA) / area)
    legible = min(1.0, _LEAST_SIDE / min(width, height), math.sqrt(_MOST_AREA_OF_LONG / area))
    factor = min(max(factor, legible), _MOST_FACTOR)
    columns, rows = (max(1, round(length * factor / _STRIDE)) for length in (width, height))
    return columns * _STRIDE, rows * _STRIDE


def _lines_of(heat: Floats) -> Iterator[Quad]:
    """Outline what the network marked as the kernels of lines, each widened to its line."""
    marked = cv2.dilate((heat > _PIXEL_THRESHOLD).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, tree = cv2.findContours(marked, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for contour, (_, _, _, parent) in zip(contours, tree[0] if tree is not None else (), strict=True):
        center, (long, wide), angle = cv2.minAreaRect(contour)
        if parent >= 0 or min(long, wide) < _LEAST_THICKNESS:
            continue
        kernel = np.asarray(cv2.boxPoints((center, (long, wide), angle)), np.float32)
        if _mean_inside(heat, kernel) >= _LINE_THRESHOLD:
            grown = _WIDER * long * wide / (long + wide)
            yield np.asarray(cv2.boxPoints((center, (long + grown, wide + grown), angle)), np.float32)


def _mean_inside(heat: Floats, shape: Quad) -> float:
    height, width = heat.shape
    x1, y1 = np.maximum(np.floor(shape.min(axis=0)), 0).astype(int).tolist()
    x2, y2 = np.minimum(np.ceil(shape.max(axis=0)) + 1, (width, height)).astype(int).tolist()
    mask = np.zeros((y2 - y1, x2 - x1), np.uint8)
    cv2.fillPoly(mask, [(shape - (x1, y1)).astype(np.int32)], 1)
    return float(cv2.mean(heat[y1:y2, x1:x2], mask)[0])


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
    padded[:, :, :scaled] = _normalize(np.asarray(cv2.resize(strip, (scaled, _HEIGHT)), np.uint8))
    return padded


def _normalize(bgr: Pixels) -> Floats:
    """Bring pixels (height, width, 3) to (3, height, width) from -1 to 1."""
    return np.ascontiguousarray(bgr.transpose(2, 0, 1), np.float32) / np.float32(127.5) - np.float32(1)


def _is_text(text: str, score: float) -> bool:
    """Tell a transcript from texture."""
    letters = sum(letter.isalnum() for letter in text)
    return letters > 0 and score >= (LEAST_SCORE if letters > 1 else LEAST_SCORE_ALONE)
