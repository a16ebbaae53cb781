"""OWL-ViT and OWLv2: every patch of a picture is a box with an embedding, and a label is a point in the same space.

The picture and the labels meet in one matrix product, so that a picture is looked at once and asked for milliseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dinox_mcp.backends.local.families.base import Adapter, Found, Prepared, watch
from dinox_mcp.backends.local.families.boxes import corners, ranked
from dinox_mcp.backends.local.families.text import overlong
from dinox_mcp.backends.local.preprocess import Preprocessor
from dinox_mcp.backends.local.speed import attend_in_chunks

if TYPE_CHECKING:
    from PIL import Image

_TEXT_BATCH = 64


def architecture(config: Mapping[str, Any]) -> type[Any]:
    """Name the transformers class of a checkpoint."""
    from transformers import Owlv2ForObjectDetection, OwlViTForObjectDetection

    return Owlv2ForObjectDetection if config["model_type"] == "owlv2" else OwlViTForObjectDetection


def adapt(
    model: Any,  # noqa: ANN401 - a model of its `architecture`
    folder: Path,
    dtype: torch.dtype = torch.float32,
) -> Adapter:
    """Wrap a loaded model."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    preprocess = Preprocessor.from_folder(folder, square=model.config.model_type == "owlv2")
    return Owl(model, tokenizer, preprocess, dtype)


@dataclass(frozen=True, slots=True)
class OwlState:
    """One picture, per patch: a normalised class embedding, what shifts and scales its scores, and its box.

    `boxes` are (centre x, centre y, width, height) as fractions of `frame`: the (width, height) of what the model
    saw, in pixels of the original picture.
    """

    frame: tuple[int, int]
    classes: torch.Tensor
    shift: torch.Tensor
    scale: torch.Tensor
    boxes: torch.Tensor

    @property
    def nbytes(self) -> int:
        """Memory that it takes, in bytes."""
        return sum(part.untyped_storage().nbytes() for part in (self.classes, self.shift, self.scale, self.boxes))


class Owl:
    """An OWL-ViT or OWLv2 model. Labels are read as the caller wrote them, without a template around them."""

    reuses_text = True
    masks = False

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - of transformers
        tokenizer: Any,  # noqa: ANN401 - of transformers
        preprocess: Preprocessor,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.family: str = model.config.model_type
        self._model = model
        self._tower = model.owlv2 if self.family == "owlv2" else model.owlvit
        self._tokenizer = tokenizer
        self._preprocess = preprocess
        self._window = model.config.text_config.max_position_embeddings
        self._dtype = dtype
        if model.device.type == "cpu" and self._dtype is torch.bfloat16:
            attend_in_chunks(self._tower.vision_model)
        # The heads decide where a box ends and what scores how much; they are small, so they stay exact.
        for tower in (self._tower.vision_model, self._tower.text_model):
            tower.to(dtype)
        model.layer_norm.register_forward_pre_hook(lambda _layer, inputs: inputs[0].float())
        model.box_bias = model.compute_box_bias(model.num_patches_height, model.num_patches_width).to(model.device)
        watch(model)

    def prepare(self, image: "Image.Image") -> Prepared:
        """Resize and normalise an RGB picture."""
        return Prepared(self._preprocess(image), image.size)

    @torch.inference_mode()
    def encode(self, batch: Sequence[Prepared]) -> list[OwlState]:
        """Look at pictures, all at once."""
        pixels = torch.stack([torch.from_numpy(picture.pixels) for picture in batch])
        grid, _ = self._model.image_embedder(pixels.to(self._model.device, self._dtype))
        patches = grid.flatten(1, 2).float()
        head = self._model.class_head
        classes = head.dense0(patches)
        classes = classes / (torch.linalg.norm(classes, dim=-1, keepdim=True) + 1e-6)
        shift, scale = head.logit_shift(patches), head.elu(head.logit_scale(patches)) + 1
        boxes = self._model.box_predictor(patches, grid.float())
        return [
            OwlState(self._frame(picture), *(part.clone() for part in parts))
            for picture, *parts in zip(batch, classes, shift, scale, boxes, strict=True)
        ]

    @torch.inference_mode()
    def embed(self, labels: Sequence[str]) -> torch.Tensor:
        """Embed labels, one normalised row each; what is beyond the text window of 16 tokens is cut off."""
        rows = [self._embed(labels[start : start + _TEXT_BATCH]) for start in range(0, len(labels), _TEXT_BATCH)]
        return torch.cat(rows)

    def chunks(self, labels: Sequence[str]) -> list[list[int]]:
        """Ask for all labels at once: each has a text window of its own."""
        return [list(range(len(labels)))]

    def overlong(self, labels: Sequence[str]) -> list[int]:
        """Name the labels of which a text window holds only the beginning."""
        return overlong(self._tokenizer, labels, self._window)

    @torch.inference_mode()
    def find(
        self, state: OwlState, labels: Sequence[str], embeddings: torch.Tensor | None, min_score: float
    ) -> list[Found]:
        """Find the best label of each patch."""
        queries = (self.embed(labels) if embeddings is None else embeddings).to(state.classes)
        queries = queries / (torch.linalg.norm(queries, dim=-1, keepdim=True) + 1e-6)
        logits = (torch.einsum("pd,qd->pq", state.classes, queries) + state.shift) * state.scale
        best, label = logits.max(dim=-1)
        return ranked(best.sigmoid(), label, corners(state.boxes), state.frame, min_score)

    def _embed(self, labels: Sequence[str]) -> torch.Tensor:
        # A text model that reads from left to right does not mind how much padding follows.
        tokens = self._tokenizer(
            list(labels), padding="longest", max_length=self._window, truncation=True, return_tensors="pt"
        )
        pooled = self._tower.text_model(**tokens.to(self._model.device)).pooler_output
        rows: torch.Tensor = self._tower.text_projection(pooled.float())
        rows = rows / torch.linalg.norm(rows, ord=2, dim=-1, keepdim=True)
        return rows.float().cpu()

    def _frame(self, picture: Prepared) -> tuple[int, int]:
        return (max(picture.size),) * 2 if self._preprocess.square else picture.size
