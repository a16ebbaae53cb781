"""D-FINE in torch."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import torch

from dinox_mcp.backends.local.models.base import ImageFeatures, Prepared, TorchModel
from dinox_mcp.backends.local.models.dfine import DFineModel
from dinox_mcp.backends.local.models.shared import stacked


class DFine(TorchModel, DFineModel):
    """A D-FINE model in torch. What it keeps of an image is on the CPU, where it is searched."""

    architectures: ClassVar = {"d_fine": "DFineForObjectDetection"}

    def __init__(self, model: Any, folder: Path, dtype: torch.dtype | None = None) -> None:  # noqa: ANN401
        super().__init__(model, folder, dtype)
        self._require_columns(model.config.num_labels)
        model.model.backbone = _Backbone(model.model.backbone, self._computing)

    @torch.inference_mode()
    def encode(self, batch: Sequence[Prepared]) -> list[ImageFeatures]:
        """Compute the features of images, all at once."""
        found = self._model(stacked(batch, self._model.device))
        return self._features(batch, found.logits.cpu().numpy(), found.pred_boxes.cpu().numpy())


class _Backbone(torch.nn.Module):
    """Wraps the backbone, which alone is computed in a shorter precision: boxes are refined after it."""

    def __init__(self, stock: torch.nn.Module, computing: Callable[[], AbstractContextManager[Any]]) -> None:
        super().__init__()
        self.stock = stock
        self._computing = computing

    def forward(self, pixels: torch.Tensor, mask: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return feature maps in float32, each with the mask of its real pixels, as the stock backbone does."""
        with self._computing():
            return [(maps.float(), real) for maps, real in self.stock(pixels, mask)]
