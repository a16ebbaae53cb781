"""OWL-ViT and OWLv2 in torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from dinox_mcp.backends.local.models.base import Prepared, TorchModel
from dinox_mcp.backends.local.models.candidates import Floats
from dinox_mcp.backends.local.models.owl import OwlFeatures, OwlModel
from dinox_mcp.backends.local.models.shared import attend_faster, stacked


class Owl(TorchModel, OwlModel):
    """An OWL-ViT or OWLv2 model in torch. Its features are on the CPU, where they are searched."""

    architectures: ClassVar = {"owlvit": "OwlViTForObjectDetection", "owlv2": "Owlv2ForObjectDetection"}

    def __init__(self, model: Any, folder: Path, dtype: torch.dtype | None = None) -> None:  # noqa: ANN401
        super().__init__(
            model,
            folder,
            dtype,
            window=model.config.text_config.max_position_embeddings,
            width=model.class_head.dense0.out_features,
        )
        self._tower = model.owlv2 if self.family == "owlv2" else model.owlvit
        short = self._dtype = dtype or torch.float32
        if model.device.type == "cpu" and short is torch.bfloat16:
            attend_faster(self._tower.vision_model)
        # The heads decide where a box ends and what scores how much; they are small, so they stay exact.
        for tower in (self._tower.vision_model, self._tower.text_model):
            tower.to(short)
        model.layer_norm.register_forward_pre_hook(lambda _layer, inputs: inputs[0].float())
        model.box_bias = model.compute_box_bias(model.num_patches_height, model.num_patches_width).to(model.device)

    @torch.inference_mode()
    def encode(self, batch: Sequence[Prepared]) -> list[OwlFeatures]:
        """Compute the features of images, all at once."""
        pixels = stacked(batch, self._model.device)
        grid, _ = self._model.image_embedder(pixels.to(self._dtype))
        patches = grid.flatten(1, 2).float()
        head = self._model.class_head
        classes = head.dense0(patches)
        things = self._things(patches, classes)
        classes = classes / (torch.linalg.norm(classes, dim=-1, keepdim=True) + 1e-6)
        shift, scale = head.logit_shift(patches), head.elu(head.logit_scale(patches)) + 1
        boxes = self._model.box_predictor(patches, grid.float())
        return self._features(batch, *(part.cpu().numpy() for part in (classes, shift, scale, boxes, things)))

    @torch.inference_mode()
    def embed(self, labels: Sequence[str]) -> Floats:
        """Embed labels, one normalised row each; what is beyond the text window of 16 tokens is cut off."""
        ids, mask = (torch.from_numpy(one).to(self._model.device) for one in self._text(labels))
        pooled = self._tower.text_model(input_ids=ids, attention_mask=mask).pooler_output
        rows: torch.Tensor = self._tower.text_projection(pooled.float())
        rows = rows / torch.linalg.norm(rows, ord=2, dim=-1, keepdim=True)
        return rows.float().cpu().numpy()

    def _things(self, patches: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Return how likely each patch is an object, as (images, patches) on a scale of the model's own."""
        if self.family == "owlv2":
            objectness: torch.Tensor = self._model.objectness_predictor(patches)
            return objectness
        return -torch.einsum("bd,bpd->bp", classes.mean(dim=1), classes)
