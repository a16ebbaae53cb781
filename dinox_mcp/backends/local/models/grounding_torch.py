"""Grounding DINO and its variants in torch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from dinox_mcp.backends.local.models.base import ImageFeatures, Prepared, TorchModel
from dinox_mcp.backends.local.models.candidates import Floats
from dinox_mcp.backends.local.models.grounding import GroundingDinoModel
from dinox_mcp.backends.local.models.shared import of_image, speed_up, stacked


@dataclass(frozen=True, slots=True)
class BackboneFeatures(ImageFeatures):
    """The feature maps of one image, and its (height, width) as resized."""

    resized: tuple[int, int]


class GroundingDino(TorchModel, GroundingDinoModel):
    """A Grounding DINO, MM-Grounding-DINO or LLMDet model in torch, which keeps the features of the backbone."""

    architectures: ClassVar = {
        "grounding-dino": "GroundingDinoForObjectDetection",
        "mm-grounding-dino": "MMGroundingDinoForObjectDetection",
    }

    def __init__(self, model: Any, folder: Path, dtype: torch.dtype | None = None) -> None:  # noqa: ANN401
        super().__init__(speed_up(model), folder, dtype, window=model.config.max_text_len)
        self._backbone = Remembering(model.model.backbone.conv_encoder)
        model.model.backbone.conv_encoder = self._backbone
        for projection in model.model.input_proj_vision:  # where boxes lie is computed in the precision of its output
            projection.register_forward_hook(lambda _layer, _inputs, maps: maps.float())

    @torch.inference_mode()
    def encode(self, batch: Sequence[Prepared]) -> list[BackboneFeatures]:
        """Compute the features of images of one size, all at once."""
        pixels = stacked(batch, self._model.device)
        with self._computing():
            features = self._backbone.compute(pixels)
        height, width = pixels.shape[-2:]
        return [
            BackboneFeatures(of_image(row, features), image.size, (height, width)) for row, image in enumerate(batch)
        ]

    @torch.inference_mode()
    def _compute(self, features: BackboneFeatures, ids: Sequence[int]) -> tuple[Floats, Floats]:
        device = self._model.device
        pixels = torch.zeros(1, device=device).expand(1, 3, *features.resized)  # only its shape is used
        text = torch.tensor([ids], device=device)
        with self._computing(), self._backbone.remember(features.arrays):
            outputs = self._model(pixel_values=pixels, input_ids=text, attention_mask=torch.ones_like(text))
        logits, boxes = outputs.logits[0, :, : len(ids)], outputs.pred_boxes[0]
        return logits.float().cpu().numpy(), boxes.float().cpu().numpy()


class Remembering(torch.nn.Module):
    """Wraps a backbone; inside `remember` it returns earlier feature maps instead of computing them."""

    def __init__(self, stock: torch.nn.Module) -> None:
        super().__init__()
        self.stock = stock
        self._features: Sequence[torch.Tensor] | None = None

    def compute(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Compute feature maps of images (n, 3, height, width)."""
        mask = torch.ones((len(pixels), *pixels.shape[-2:]), dtype=torch.long, device=pixels.device)
        return [feature for feature, _ in self.stock(pixels, mask)]

    @contextmanager
    def remember(self, features: Sequence[torch.Tensor]) -> Iterator[None]:
        """Return these feature maps of one image in the block."""
        self._features = features
        try:
            yield
        finally:
            self._features = None

    def forward(self, pixels: torch.Tensor, mask: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return feature maps with the mask of their real pixels, as the stock backbone does."""
        if self._features is None:
            computed: list[tuple[torch.Tensor, torch.Tensor]] = self.stock(pixels, mask)
            return computed
        return [(feature, feature.new_ones((1, *feature.shape[-2:]), dtype=torch.bool)) for feature in self._features]
