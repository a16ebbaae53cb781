"""Objects of the 80 kinds of COCO, found by NanoDet.

NanoDet (https://github.com/RangiLyu/nanodet) scores each cell of three grids for each kind, and gives each cell one
box. A side of the box is a distance from the cell's centre: a distribution over 11 bins, whose mean counts.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from dinox_mcp.backends.embedded.kinds import KINDS
from dinox_mcp.backends.embedded.networks.runtime import Floats, Network
from dinox_mcp.backends.embedded.worker import Report, ignore
from dinox_mcp.types.boxes import Box, best_boxes

FAMILY = "NanoDet"
QUICK = (608,)
THOROUGH = (416, 608)
_SMALL, _LARGE = 0.4, 0.7
"""Of several widths, objects below the first size come from the largest and those above the second from the smallest.

Sizes are the longer side of the box as a share of the image's. At a large width, the network sees only parts of a
person who fills the image; at a small one, little of what is far away. On 79 photographs of COCO, AP is 30.0 with
width 608 and 32.3 with both; people are counted as well as with 608 alone (F1 0.75; without this rule 0.73).
"""

MOST_OBJECTS = 300
_MOST_CANDIDATES = 3000  # of one run
_REDUCING_GAP = 3.0  # makes 20 megapixels small in half the time; nothing changes for sides below 2400 pixels

# The outputs of each grid by the side of its cells in pixels: scores (cells, 80) and distances (cells, 4 * 11).
_OUTPUTS = {8: ("Identity", "Identity_3"), 16: ("Identity_1", "Identity_4"), 32: ("Identity_2", "Identity_5")}
_MULTIPLE = 32  # height and width must be multiples of the largest cell
_BINS = np.arange(11, dtype=np.float32)
_MEAN = np.array([103.53, 116.28, 123.675], np.float32)  # of BGR
_DEVIATION = np.array([57.375, 57.12, 58.395], np.float32)


class FoundObject(NamedTuple):
    """An object: its kind as COCO calls it, its box in pixels of the image, and its score from 0 to 1."""

    kind: str
    bbox: Box
    score: float


class _Candidates(NamedTuple):
    boxes: npt.NDArray[np.float64]
    scores: Floats
    classes: npt.NDArray[np.intp]


class ObjectDetector:
    """Finds objects of the 80 kinds of COCO."""

    def __init__(self) -> None:
        """Load the network.

        Raises:
            BackendError: its file is missing or damaged.
        """
        self._network = Network("nanodet")

    def detect(
        self,
        image: Image.Image,
        widths: Sequence[int],
        min_score: float,
        iou_threshold: float,
        report: Report = ignore,
    ) -> list[FoundObject]:
        """Find objects.

        Args:
            image: The image, RGB.
            widths: The longer side in pixels at which the network sees the image, for each run, such as `QUICK` or
                `THOROUGH`. The results of the runs are merged by size.
            min_score: The lowest score of an object, from 0 to 1.
            iou_threshold: The highest overlap of two objects of one kind, from 0 to 1.
            report: Called before each run.

        Returns:
            At most `MOST_OBJECTS` objects, the best score first. Boxes lie inside the image and are never empty.
        """
        runs = []
        for done, width in enumerate(widths):
            report(done / len(widths))
            found = self._candidates(image, width, min_score)
            runs.append(found if len(widths) == 1 else _of_size(found, image, widths, width))
        found = _Candidates(*map(np.concatenate, zip(*runs, strict=True)))
        kept = best_boxes(found.boxes, found.scores, found.classes, iou_threshold, MOST_OBJECTS)
        return [
            FoundObject(KINDS[number], (x1, y1, x2, y2), score)
            for number, (x1, y1, x2, y2), score in zip(
                found.classes[kept].tolist(), found.boxes[kept].tolist(), found.scores[kept].tolist(), strict=True
            )
        ]

    def _candidates(self, image: Image.Image, width: int, min_score: float) -> _Candidates:
        """Run the network once: each pair of a cell and a kind that scores high enough is a candidate."""
        factor = width / max(image.size)
        size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
        pixels = _pixels(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=_REDUCING_GAP))
        outputs = self._network(pixels)
        scores = np.concatenate([outputs[name][0] for name, _ in _OUTPUTS.values()])
        cells, classes = _best(scores, min_score)
        logits = np.concatenate([outputs[name][0] for _, name in _OUTPUTS.values()])[cells]
        centers, strides = _grids(*pixels.shape[2:])
        boxes = _boxes(logits, centers[cells], strides[cells]) * np.tile(np.divide(image.size, size), 2)
        boxes = np.clip(boxes, 0, np.tile(image.size, 2))
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)  # the others lie in the padding
        return _Candidates(boxes[inside], scores[cells, classes][inside], classes[inside])


def _of_size(found: _Candidates, image: Image.Image, widths: Sequence[int], width: int) -> _Candidates:
    """Keep the candidates of the sizes for which this width works best."""
    sizes = (found.boxes[:, 2:] - found.boxes[:, :2]).max(axis=1) / max(image.size)
    keep = (sizes >= _SMALL) | (width == max(widths))
    keep &= (sizes <= _LARGE) | (width == min(widths))
    return _Candidates(found.boxes[keep], found.scores[keep], found.classes[keep])


def _pixels(shown: Image.Image) -> Floats:
    """Convert an image to the network's input (1, 3, height, width), padded with the mean."""
    height, width = (-(-side // _MULTIPLE) * _MULTIPLE for side in (shown.height, shown.width))
    pixels = np.zeros((1, 3, height, width), np.float32)
    bgr = np.asarray(shown, np.float32)[..., ::-1]
    pixels[0, :, : shown.height, : shown.width] = ((bgr - _MEAN) / _DEVIATION).transpose(2, 0, 1)
    return pixels


def _grids(height: int, width: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the centers (n, 2) of all cells in pixels, grid by grid and row by row, and cell sides (n,)."""
    centers, strides = [], []
    for stride in _OUTPUTS:
        columns = width // stride
        rows, places = np.divmod(np.arange(height // stride * columns), columns)
        centers.append((np.stack([places, rows], axis=1) + 0.5) * stride)
        strides.append(np.full(rows.size, stride))
    return np.concatenate(centers), np.concatenate(strides)


def _boxes(logits: Floats, centers: npt.NDArray[np.float64], strides: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Decode boxes (n, 4) in pixels from the distances' logits (n, 4 * 11) of cells."""
    bins = logits.reshape(-1, 4, _BINS.size)
    odds = np.exp(bins - bins.max(axis=2, keepdims=True))
    distances = (odds @ _BINS) / odds.sum(axis=2) * strides[:, None]
    return np.concatenate([centers - distances[:, :2], centers + distances[:, 2:]], axis=1)


def _best(scores: Floats, min_score: float) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Choose the best pairs of a cell and a kind by their scores (cells, kinds): without a limit, NMS takes seconds."""
    cells, classes = np.nonzero(scores >= min_score)
    if cells.size > _MOST_CANDIDATES:
        best = np.argpartition(-scores[cells, classes], _MOST_CANDIDATES)[:_MOST_CANDIDATES]
        cells, classes = cells[best], classes[best]
    return cells, classes
