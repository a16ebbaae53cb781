"""Masks by SAM 2 (Ravi et al., arXiv:2408.00714), prompted with boxes.

The features of the image are shared by all boxes in it. Each box gives one mask, as the authors' own predictor does for
boxes: the single one, or where that is unstable the best of three by predicted overlap.
"""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.local.checkpoints.graph import Architecture, Graph
from dinox_mcp.backends.local.models.base import AnyFeatures, DescribingModel, ImageFeatures, Prepared, check
from dinox_mcp.backends.local.models.candidates import Floats
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Mask, Output
from dinox_mcp.types.masks import encode, place


class Sam2Model(DescribingModel):
    """A SAM 2 model in any runtime. On a CPU more boxes at once are no faster, and each takes 30 MB or more."""

    def describe(self, features: AnyFeatures, boxes: Sequence[Box], output: Output) -> list[Mask]:  # noqa: ARG002 - has one
        """Return the mask of what is in each box, at the image's own size."""
        width, height = features.size
        factors = (self._preprocess.width / width, self._preprocess.height / height)
        prompts = np.array(boxes, np.float32) * np.array(factors * 2, np.float32)
        return [to_mask(logits, features.size) for logits in self._logits(features, prompts)]

    @abstractmethod
    def _logits(self, features: AnyFeatures, prompts: Floats) -> Floats:
        """Return logits (n, height, width) of the masks of boxes (n, 4) in pixels of the model's input."""


class Sam2Graph(Sam2Model):
    """A SAM 2 model in ONNX Runtime, on the CPU, in float32; arguments are those of `Graph`."""

    def __init__(self, architecture: Architecture, folder: Path, *, threads: int) -> None:
        super().__init__(architecture.model_type, folder)
        self._image_graph = Graph(architecture, "image", folder, threads=threads)
        self._boxes_graph = Graph(architecture, "boxes", folder, threads=threads)

    def encode(self, batch: Sequence[Prepared]) -> list[ImageFeatures]:
        """Compute the features of images, one after the other."""
        return [ImageFeatures(tuple(self._image_graph(pixels=image.pixels[None])), image.size) for image in batch]

    def _logits(self, features: ImageFeatures, prompts: Floats) -> Floats:
        fine, middle, coarse = features.arrays
        (logits,) = self._boxes_graph(boxes=prompts, fine=fine, middle=middle, coarse=coarse)
        return logits


def to_mask(logits: Floats, size: tuple[int, int]) -> Mask:
    """Enlarge a mask (height, width) to an image of `size` (width, height), where it is positive, and encode it."""
    check()
    left, top, bits = enlarge(logits, size)
    width, height = size
    return place(encode(bits), left, top, width, height)


def enlarge(logits: Floats, size: tuple[int, int]) -> tuple[int, int, npt.NDArray[np.bool_]]:
    """Interpolate as torch does (bilinear, corners not aligned) and give the window that may be above zero.

    What lies between values that are not above zero is not either, so that nothing is lost; the mask of all of a large
    photo would take a hundred times the time and memory. Gives left, top, and the window (height, width), where
    something is above zero or there is a single pixel.
    """
    positive = logits > 0
    y, row, below, down = _samples(np.any(positive, axis=1), size[1])
    x, column, right, across = _samples(np.any(positive, axis=0), size[0])
    if not positive.any() or not y.size or not x.size:
        return 0, 0, np.zeros((1, 1), dtype=np.bool_)
    rows = slice(row[0], below[-1] + 1)
    wide = logits[rows, column] * (1 - across) + logits[rows, right] * across
    high = wide[row - row[0]] * (1 - down)[:, None] + wide[below - row[0]] * down[:, None]
    return int(x[0]), int(y[0]), high > 0


def _samples(wanted: npt.NDArray[np.bool_], size: int) -> tuple[npt.NDArray[Any], ...]:
    """Find the pixels of an axis of `size` that lie between samples of which one is wanted.

    Gives the pixels, the samples before and after each, and the weight of the latter.
    """
    scale = float(np.float32(wanted.size / size))  # torch rounds this and the result, and not in between
    centre = np.maximum(scale * (np.arange(size) + 0.5) - 0.5, 0).astype(np.float32)
    before = np.minimum(centre.astype(np.int64), wanted.size - 1)
    after = np.minimum(before + 1, wanted.size - 1)
    first, last = (np.flatnonzero(wanted)[[0, -1]]) if wanted.any() else (size, -1)
    near = np.flatnonzero((after >= first) & (before <= last))
    return near, before[near], after[near], (centre - before.astype(np.float32))[near]
