"""Finds lines of text with a network of PP-OCR, whose models come with the wheel of RapidOCR."""

import importlib.util
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.embedded import runtime
from dinox_mcp.backends.embedded.readings import Pixels, Quad
from dinox_mcp.backends.embedded.runtime import Floats
from dinox_mcp.errors import BackendError
from dinox_mcp.types.boxes import Box, area

Part = tuple[int, int, int, int]
"""A box in full pixels."""

FAMILY = "PP-OCRv6 small"
LINES = "PP-OCRv6_det_small.onnx"
LETTERS = "PP-OCRv6_rec_small.onnx"
TURNS = "ch_ppocr_mobile_v2.0_cls_mobile.onnx"
_REMEDY = "reinstall it: pip install --force-reinstall 'rapidocr>=3.10,<4'"

# The size at which lines are searched, in pixels: small images are enlarged, large ones reduced. Letters may be 4
# pixels high there; they are read at full size. The narrow side of a long page or screenshot must stay legible.
_LEAST_AREA, _MOST_AREA, _MOST_AREA_OF_LONG = 1_200_000, 2_000_000, 3_200_000
_LEAST_SIDE, _MOST_FACTOR, _STRIDE = 736, 3.0, 32

# As in RapidOCR: the thresholds for a line, and how much wider a line is than its kernel.
_PIXEL_THRESHOLD, _LINE_THRESHOLD, _WIDER = 0.3, 0.5, 1.6
_LESS_WIDE = 1.0
_LEAST_THICKNESS = 3

MAX_PIXELS_OF_PARTS = 16_000_000
_LEAST_PIXELS_OF_PART = 100_000
_SHARE = 1 / 3  # a box that covers so much of an image is searched well enough in the full image
_MARGIN = 0.05


class Model:
    """A network that takes one array of shape (batch, 3, height, width) and gives one array."""

    def __init__(self, name: str) -> None:
        path = _folder() / name
        self._session: Any = runtime.session(path, f"the text model {path}", _REMEDY)
        self._input = self._session.get_inputs()[0].name

    def __call__(self, batch: Floats) -> Floats:
        """Run the network."""
        output: Floats = self._session.run(None, {self._input: batch})[0]
        return output

    def characters(self) -> list[str]:
        """List the characters of a recognizer's classes; the first class is the blank between letters."""
        listed = self._session.get_modelmeta().custom_metadata_map["character"].splitlines()
        return ["", *listed, " "]


def normalize(bgr: npt.NDArray[np.uint8]) -> Floats:
    """Convert pixels (height, width, 3) to the networks' input (3, height, width) from -1 to 1."""
    return np.ascontiguousarray(bgr.transpose(2, 0, 1), np.float32) / np.float32(127.5) - np.float32(1)


def _folder() -> Path:
    """Find the folder of models without importing RapidOCR, which is slow and could download."""
    spec = importlib.util.find_spec("rapidocr")
    if spec is None or not spec.submodule_search_locations:
        raise BackendError(f"the package rapidocr with the text models is missing; {_REMEDY}")
    return Path(spec.submodule_search_locations[0]) / "models"


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """The outline `shape` of a line of text; `tight` is a narrower one, with less around a line on a small sign."""

    shape: Quad
    tight: Quad


def find_lines(model: Model, bgr: Pixels, factor: float | None = None) -> list[Line]:
    """Find lines at any angle in an image (height, width, BGR), enlarged by a factor, from top to bottom."""
    height, width = bgr.shape[:2]
    size = search_size(width, height) if factor is None else _in_strides(width * factor, height * factor)
    how = cv2.INTER_AREA if size[0] < width else cv2.INTER_LINEAR
    heat = model(normalize(np.asarray(cv2.resize(bgr, size, interpolation=how), np.uint8))[None])
    stretch = np.array([width / size[0], height / size[1]], np.float32)
    lines = [Line(shape * stretch, tight * stretch) for shape, tight in _outline(heat[0, 0])]
    return sorted(lines, key=lambda line: float(line.shape[:, 1].mean()))


def search_size(width: int, height: int) -> tuple[int, int]:
    """Choose the size (width, height) at which lines are searched, in full strides."""
    size = width * height
    factor = math.sqrt(min(max(size, _LEAST_AREA), _MOST_AREA) / size)
    legible = min(1.0, _LEAST_SIDE / min(width, height), math.sqrt(_MOST_AREA_OF_LONG / size))
    padded = _MOST_AREA_OF_LONG / (_STRIDE * max(width, height))  # a thin image is padded to a full stride
    factor = min(max(factor, legible), _MOST_FACTOR, padded)
    return _in_strides(width * factor, height * factor)


def parts_to_search(width: int, height: int, boxes: Sequence[Box]) -> list[tuple[Part, float | None]]:
    """Choose the parts of an image of this size in which to search the lines of boxes.

    Boxes get parts of their own, the smallest first, up to a number of pixels; the others share the full image. Each
    part comes with the factor by which it is enlarged, None as for a full image.
    """
    parts: dict[Part, float | None] = {}
    left = MAX_PIXELS_OF_PARTS
    for box in sorted(boxes, key=area):
        part = _widened(box, width, height)
        size = (part[2] - part[0]) * (part[3] - part[1])
        factor = min(_MOST_FACTOR, max(1.0, math.sqrt(_LEAST_PIXELS_OF_PART / size)))
        if part not in parts:
            left -= round(size * factor**2)
            fits = left >= 0 and size < _SHARE * width * height
            parts |= {part: factor} if fits else {(0, 0, width, height): None}
    return list(parts.items())


def _widened(box: Box, width: int, height: int) -> Part:
    more = _MARGIN * math.sqrt(area(box)) + 2
    left, top = max(0, math.floor(box[0] - more)), max(0, math.floor(box[1] - more))
    return left, top, min(width, math.ceil(box[2] + more)), min(height, math.ceil(box[3] + more))


def _in_strides(width: float, height: float) -> tuple[int, int]:
    columns, rows = (max(1, round(length / _STRIDE)) for length in (width, height))
    return columns * _STRIDE, rows * _STRIDE


def _outline(heat: Floats) -> Iterator[tuple[Quad, Quad]]:
    """Outline the kernels of lines in the output of the network, each widened to its line."""
    marked = cv2.dilate((heat > _PIXEL_THRESHOLD).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, tree = cv2.findContours(marked, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for contour, (_, _, _, parent) in zip(contours, tree[0] if tree is not None else (), strict=True):
        center, (long, wide), angle = cv2.minAreaRect(contour)
        if parent >= 0 or min(long, wide) < _LEAST_THICKNESS:
            continue
        kernel, tight, shape = (
            np.asarray(cv2.boxPoints((center, (long + grown, wide + grown), angle)), np.float32)
            for grown in (wider * long * wide / (long + wide) for wider in (0, _LESS_WIDE, _WIDER))
        )
        if _mean_inside(heat, kernel) >= _LINE_THRESHOLD:
            yield shape, tight


def _mean_inside(heat: Floats, shape: Quad) -> float:
    height, width = heat.shape
    x1, y1 = np.maximum(np.floor(shape.min(axis=0)), 0).astype(int).tolist()
    x2, y2 = np.minimum(np.ceil(shape.max(axis=0)) + 1, (width, height)).astype(int).tolist()
    mask = np.zeros((y2 - y1, x2 - x1), np.uint8)
    cv2.fillPoly(mask, [(shape - (x1, y1)).astype(np.int32)], 1)
    return float(cv2.mean(heat[y1:y2, x1:x2], mask)[0])
