"""OmDet-Turbo: its labels have embeddings of their own, and a task sentence sums them up.

As in the reference, a box may answer to several labels: the best pairs of box and label are given, as many as there are
boxes.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import torch

from dinox_mcp.backends.local.models.base import ImageFeatures, Prepared, RawDetection, TorchDetectionModel
from dinox_mcp.backends.local.models.candidates import Floats, best_pairs, corners
from dinox_mcp.backends.local.models.shared import of_image, speed_up, stacked
from dinox_mcp.errors import UnsupportedError


class OmDet(TorchDetectionModel):
    """An OmDet-Turbo model."""

    architectures: ClassVar = {"omdet-turbo": "OmDetTurboForObjectDetection"}
    reuses_text = True

    def __init__(self, model: Any, folder: Path, dtype: torch.dtype | None = None) -> None:  # noqa: ANN401
        super().__init__(speed_up(model), folder, dtype)
        # The stock method is cached per class, which would keep an unloaded model in memory.
        anchors = type(model.decoder).generate_anchors
        model.decoder.generate_anchors = partial(getattr(anchors, "__wrapped__", anchors), model.decoder)

    @classmethod
    def architecture(cls, config: Mapping[str, Any]) -> type[Any]:
        """Return the transformers class of a checkpoint.

        Raises:
            UnsupportedError: its backbone is one of timm's, as in the published checkpoint, and timm is not installed.
        """
        backbone = config.get("backbone_config")
        timm = backbone.get("model_type") == "timm_backbone" if backbone else config.get("use_timm_backbone", True)
        if timm and not (find_spec("timm") and find_spec("torchvision")):
            raise UnsupportedError(
                "this OmDet-Turbo model has a backbone of the package timm; pip install timm (it brings torchvision), "
                "or choose another model"
            )
        return super().architecture(config)

    @torch.inference_mode()
    def encode(self, batch: Sequence[Prepared]) -> list[ImageFeatures]:
        """Compute the features of images, all at once."""
        pixels = stacked(batch, self._model.device)
        with self._computing():
            maps = self._model.encoder(self._model.vision_backbone(pixels)).extracted_states
        return [ImageFeatures(of_image(row, maps), image.size) for row, image in enumerate(batch)]

    @torch.inference_mode()
    def embed(self, labels: Sequence[str]) -> Floats:
        """Embed labels, one row each; what is beyond the text window of 77 tokens is cut off."""
        with self._computing():
            rows: torch.Tensor = self._model.language_backbone(self._tokens(labels)["input_ids"], encode_type="class")
        return rows.float().cpu().numpy()

    @torch.inference_mode()
    def find(
        self,
        features: ImageFeatures,
        labels: Sequence[str],
        embeddings: Floats | None,
        min_score: float,
        *,
        masks: bool = False,  # noqa: ARG002 - this family has none
    ) -> list[RawDetection]:
        """Find the best pairs of box and label."""
        assert embeddings is not None, "labels are embedded first"  # noqa: S101 - the seam, for the type checker
        classes = torch.from_numpy(embeddings).to(self._model.device)
        task = self._tokens([f"Detect {', '.join(labels)}."])
        with self._computing():
            sentence, mask = self._model.language_backbone(
                task["input_ids"], mask=task["attention_mask"], encode_type="task"
            )
        # The decoder takes the precision of its boxes from the feature maps.
        maps = [level.float() for level in features.arrays]
        outputs = self._model.decoder(maps, classes[:, None], sentence.float(), mask)
        scores = outputs.decoder_classes[-1][0].float().sigmoid().cpu().numpy()
        boxes = corners(outputs.decoder_coords[-1][0].float().cpu().numpy())
        return best_pairs(scores, boxes, features.size, min_score)

    def _tokens(self, texts: Sequence[str]) -> Mapping[str, torch.Tensor]:
        # A text model that reads from left to right does not mind how much padding follows.
        tokens: Mapping[str, torch.Tensor] = self._tokenizer(
            list(texts), padding="longest", truncation=True, max_length=self._window, return_tensors="pt"
        ).to(self._model.device)
        return tokens
