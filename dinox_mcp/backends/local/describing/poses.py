"""Poses by ViTPose (Xu et al., arXiv:2204.12484): 17 points for each person, from the person's part of the picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from dinox_mcp.backends.local.describing.base import Describer
from dinox_mcp.backends.local.describing.crops import Crop, Pixels, Points
from dinox_mcp.backends.local.describing.heatmaps import decode
from dinox_mcp.backends.local.describing.shared import ViewerBase
from dinox_mcp.backends.local.families.base import Prepared, check
from dinox_mcp.backends.local.preprocess import Preprocessor
from dinox_mcp.errors import UnsupportedError
from dinox_mcp.geometry import Box
from dinox_mcp.keypoints import BODY
from dinox_mcp.schema import Keypoint, Output

if TYPE_CHECKING:
    from PIL import Image

_COCO = 0
"""The place of COCO among the data sets that the mixtures of experts were trained on."""


def architecture(_config: Mapping[str, Any]) -> type[Any]:
    """Name the transformers class of a checkpoint."""
    from transformers import VitPoseForPoseEstimation

    return VitPoseForPoseEstimation


def adapt(
    model: Any,  # noqa: ANN401 - a model of its `architecture`
    folder: Path,
    dtype: torch.dtype = torch.float32,
) -> Describer:
    """Wrap a loaded model.

    Raises:
        UnsupportedError: it has other points than the 17 of COCO.
    """
    if model.config.num_labels != len(BODY):
        raise UnsupportedError(
            f"the model in {folder} gives {model.config.num_labels} points a person, not the {len(BODY)} of COCO; "
            "choose another for DINOX_MCP_POSE_MODEL"
        )
    return VitPose(model, Preprocessor.from_folder(folder), dtype)


@dataclass(frozen=True, slots=True)
class PixelState:
    """One picture as it is (height, width, 3): people are cut out of it."""

    pixels: Pixels

    @property
    def nbytes(self) -> int:
        """Memory that it takes, in bytes."""
        return self.pixels.nbytes


class VitPose(ViewerBase):
    """A ViTPose model, asked by the boxes of people."""

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - of transformers
        preprocess: Preprocessor,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(model, preprocess, dtype)
        self._experts = model.config.backbone_config.num_experts > 1

    @property
    def at_once(self) -> int:
        """On a CPU more at once are no faster, and cannot be stopped between."""
        return 4 if self._precision.device.type == "cpu" else 32

    def prepare(self, image: "Image.Image") -> Prepared:
        """Keep the pixels of an RGB picture as they are."""
        return Prepared(cast("Any", np.asarray(image)), image.size)  # (height, width, 3), not yet what a model sees

    def encode(self, batch: Sequence[Prepared]) -> list[PixelState]:
        """Keep the pixels: people are looked at one by one."""
        return [PixelState(cast("Pixels", picture.pixels)) for picture in batch]

    @torch.inference_mode()
    def describe(self, state: PixelState, boxes: Sequence[Box], output: Output) -> list[tuple[Keypoint, ...]]:  # noqa: ARG002 - has one
        """Give the points of the person in each box; those that the model sees nowhere are left out."""
        width, height = self._preprocess.width, self._preprocess.height
        crops = [Crop.around(box, width / height) for box in boxes]
        pixels = torch.stack([self._seen(state.pixels, crop) for crop in crops]).to(self._precision.device)
        index = torch.full((len(boxes),), _COCO, device=pixels.device) if self._experts else None
        with self._precision.running():
            heatmaps = self._model(pixels, dataset_index=index).heatmaps
        cells, scores = decode(heatmaps.float().cpu().numpy())
        grid = heatmaps.shape[3], heatmaps.shape[2]
        return [
            _named(crop.to_picture(points, *grid), certainty)
            for crop, points, certainty in zip(crops, cells, scores, strict=True)
        ]

    def _seen(self, pixels: Pixels, crop: Crop) -> torch.Tensor:
        from PIL import Image

        check()
        part = Image.fromarray(crop.of(pixels, self._preprocess.width, self._preprocess.height))
        return torch.from_numpy(self._preprocess(part))


def _named(points: Points, scores: Points) -> tuple[Keypoint, ...]:
    """Name points (17, 2) whose pixels have their centres at whole numbers: ours have their edges there."""
    return tuple(
        Keypoint(name=name, x=x + 0.5, y=y + 0.5, score=min(score, 1.0))
        for name, (x, y), score in zip(BODY, points.tolist(), scores.tolist(), strict=True)
        if score > 0
    )
