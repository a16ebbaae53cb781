"""Masks by SAM 2 (Ravi et al., arXiv:2408.00714), prompted with boxes.

The look at the picture is shared by all boxes in it. Each box gives one mask, as the authors' own predictor does for
boxes: the single one, or where that is unstable the best of three by predicted overlap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dinox_mcp.backends.local.checkpoints.preprocess import Preprocessor
from dinox_mcp.backends.local.models.base import Prepared, check
from dinox_mcp.backends.local.models.interfaces import Describer
from dinox_mcp.backends.local.models.shared import ViewerBase, nbytes, stacked
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Mask, Output
from dinox_mcp.types.masks import encode, place

Logits = npt.NDArray[np.float32]


def architecture(_config: Mapping[str, Any]) -> type[Any]:
    """Name the transformers class of a checkpoint, be it of the image model or of the video model around it."""
    from transformers import Sam2Model

    return Sam2Model


def adapt(
    model: Any,  # noqa: ANN401 - a model of its `architecture`
    folder: Path,
    dtype: torch.dtype = torch.float32,
) -> Describer:
    """Wrap a loaded model."""
    return Sam2(model, Preprocessor.from_folder(folder), dtype)


@dataclass(frozen=True, slots=True)
class PyramidState:
    """One picture: feature maps (1, channels, height, width), finest first, and its own size in pixels."""

    features: tuple[torch.Tensor, ...]
    size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Memory that it takes, in bytes."""
        return nbytes(self.features)


class Sam2(ViewerBase):
    """A SAM 2 model, asked by boxes."""

    @property
    def at_once(self) -> int:
        """A box takes tens of megabytes while it is decoded; on a CPU more at once are no faster."""
        return 4 if self._precision.device.type == "cpu" else 16

    @torch.inference_mode()
    def encode(self, batch: Sequence[Prepared]) -> list[PyramidState]:
        """Look at pictures, all at once."""
        pixels = stacked(batch, self._precision.device)
        with self._precision.running():
            maps = self._model.get_image_embeddings(pixels)
        return [
            PyramidState(tuple(level[row : row + 1].clone() for level in maps), picture.size)
            for row, picture in enumerate(batch)
        ]

    @torch.inference_mode()
    def describe(self, state: PyramidState, boxes: Sequence[Box], output: Output) -> list[Mask]:  # noqa: ARG002 - has one
        """Give the mask of what is in each box, at the picture's own size."""
        width, height = state.size
        factors = torch.tensor([self._preprocess.width / width, self._preprocess.height / height]).repeat(2)
        prompts = (torch.tensor(boxes) * factors)[None].to(self._precision.device)
        with self._precision.running():
            outputs = self._model(image_embeddings=list(state.features), input_boxes=prompts, multimask_output=False)
        return [to_mask(logits, state.size) for logits in outputs.pred_masks[0, :, 0].float().cpu().numpy()]


def to_mask(logits: Logits, size: tuple[int, int]) -> Mask:
    """Enlarge a mask (height, width) to a picture of `size` (width, height), where it is positive, and encode it."""
    check()
    left, top, bits = enlarge(logits, size)
    width, height = size
    return place(encode(bits), left, top, width, height)


def enlarge(logits: Logits, size: tuple[int, int]) -> tuple[int, int, npt.NDArray[np.bool_]]:
    """Interpolate as torch does (bilinear, corners not aligned) and give the window that may be above zero.

    What lies between values that are not above zero is not either, so that nothing is lost; the whole mask of a large
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
