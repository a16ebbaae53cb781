"""OWL-ViT and OWLv2: every patch of an image is a box with an embedding, and a label is a point in the same space.

The image and a query meet in one matrix product, so that an image is encoded once and searched in
milliseconds. A query is the embedding of a label, or of an example: that of the patch of the example, in this or
another image.

Which patch that is, OWL-ViT's authors choose so (`embed_image_query` in scenic's `owl_vit/notebooks/inference.py`, and
appendix A1.7 of arXiv:2205.06230): of the patches whose boxes overlap the example about as well as the best one does,
only one was trained to be the thing, and the others to be background; it is the one least like the mean patch. OWLv2
knows better: its objectness head says which patch is a thing, and its authors advise to use that (scenic issue 989).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from dinox_mcp.backends.local.models.base import DetectionModel, ExampleQuery, ExampleRows, Prepared, RawDetection
from dinox_mcp.backends.local.models.shared import TensorFeatures, attend_in_chunks, corners, ranked, stacked
from dinox_mcp.types.detection import Example

_ABOUT_AS_WELL = 0.8
"""Boxes that overlap an example at least this much as well as the best one does may be it."""
_MIDDLE = 0.5
"""Whoever points at a thing points at this part of its width and height, around its centre."""


@dataclass(frozen=True, slots=True)
class OwlFeatures(TensorFeatures):
    """One image, per patch: a normalised class embedding, what shifts and scales its scores, and its box.

    `boxes` are (centre x, centre y, width, height) as fractions of `frame`: the (width, height) of what the model
    saw, in pixels of the original image. `things` is greater for patches that are more likely a thing.
    """

    frame: tuple[int, int]
    classes: torch.Tensor
    shift: torch.Tensor
    scale: torch.Tensor
    boxes: torch.Tensor
    things: torch.Tensor


class Owl(DetectionModel):
    """An OWL-ViT or OWLv2 model. Labels are read as the caller wrote them, without a template around them."""

    architectures: ClassVar = {"owlvit": "OwlViTForObjectDetection", "owlv2": "Owlv2ForObjectDetection"}
    reuses_text = True

    def __init__(self, model: Any, folder: Path, dtype: torch.dtype | None = None) -> None:  # noqa: ANN401
        super().__init__(model, folder, dtype, square=model.config.model_type == "owlv2")
        self._tower = model.owlv2 if self.family == "owlv2" else model.owlvit
        self.example_size: int = model.class_head.dense0.out_features
        short = self._dtype = dtype or torch.float32
        if model.device.type == "cpu" and short is torch.bfloat16:
            attend_in_chunks(self._tower.vision_model)
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
        classes = _unit(classes)
        shift, scale = head.logit_shift(patches), head.elu(head.logit_scale(patches)) + 1
        boxes = self._model.box_predictor(patches, grid.float())
        return [
            OwlFeatures(self._frame(image), *(part.clone() for part in parts))
            for image, *parts in zip(batch, classes, shift, scale, boxes, things, strict=True)
        ]

    @torch.inference_mode()
    def embed(self, labels: Sequence[str]) -> torch.Tensor:
        """Embed labels, one normalised row each; what is beyond the text window of 16 tokens is cut off."""
        # A text model that reads from left to right does not mind how much padding follows.
        tokens = self._tokenizer(
            list(labels), padding="longest", max_length=self._window, truncation=True, return_tensors="pt"
        )
        pooled = self._tower.text_model(**tokens.to(self._model.device)).pooler_output
        rows: torch.Tensor = self._tower.text_projection(pooled.float())
        rows = rows / torch.linalg.norm(rows, ord=2, dim=-1, keepdim=True)
        return rows.float().cpu()

    @torch.inference_mode()
    def find(
        self,
        features: OwlFeatures,
        labels: Sequence[str],  # noqa: ARG002 - their embeddings say all
        embeddings: torch.Tensor | None,
        min_score: float,
        *,
        masks: bool = False,  # noqa: ARG002 - this family has none
    ) -> list[RawDetection]:
        """Find the best label of each patch."""
        assert embeddings is not None, "labels are embedded first"  # noqa: S101 - the seam, for the type checker
        best, label = self._logits(features, embeddings).max(dim=-1)
        return ranked(best.sigmoid(), label, corners(features.boxes), features.frame, min_score)

    @torch.inference_mode()
    def read_examples(self, features: OwlFeatures, examples: Sequence[Example]) -> ExampleRows:
        """Return the class embedding of the patch of each example."""
        boxes = corners(features.boxes) * torch.tensor(features.frame * 2).to(features.boxes)
        chosen = [
            _patch_of(example.bbox, boxes, features.things)
            if example.bbox
            else (_patch_at(example.point or (0, 0), boxes, features.things), 1.0)
            for example in examples
        ]
        rows = features.classes[[patch for patch, _ in chosen]]
        return ExampleRows(rows.cpu(), tuple(fit for _, fit in chosen))

    @torch.inference_mode()
    def find_like(
        self,
        features: OwlFeatures,
        query: ExampleQuery,
        min_score: float,
        *,
        masks: bool = False,  # noqa: ARG002 - this family has none
    ) -> list[RawDetection]:
        """Find patches like the examples.

        Of several examples of a label the one that a patch is most like counts, as `get_scores` of the authors'
        notebook does for several queries. A patch that is as much like a negative example is left out. Scores are those
        of the model, as for labels; `post_process_image_guided_detection` of transformers stretches them so that the
        best box of every image scores 1, which says nothing about whether it is one.
        """
        logits = self._logits(features, query.rows)
        scores = []
        for label in range(len(query.labels)):
            speaking_for, against = query.of(label)
            score = logits[:, speaking_for].amax(dim=-1)
            if against:
                score = score.masked_fill(logits[:, against].amax(dim=-1) >= score, -torch.inf)
            scores.append(score)
        best, label_of = torch.stack(scores, dim=-1).max(dim=-1)
        left = best > -torch.inf
        boxes = corners(features.boxes[left])
        return ranked(best[left].sigmoid(), label_of[left], boxes, features.frame, min_score)

    def _logits(self, features: OwlFeatures, queries: torch.Tensor) -> torch.Tensor:
        """Score each patch against each query (n, d)."""
        product = torch.einsum("pd,qd->pq", features.classes, _unit(queries.to(features.classes)))
        logits: torch.Tensor = (product + features.shift) * features.scale
        return logits

    def _things(self, patches: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Return how likely each patch is an object, as (images, patches) on a scale of the model's own."""
        if self.family == "owlv2":
            objectness: torch.Tensor = self._model.objectness_predictor(patches)
            return objectness
        return -torch.einsum("bd,bpd->bp", classes.mean(dim=1), classes)

    def _frame(self, image: Prepared) -> tuple[int, int]:
        return (max(image.size),) * 2 if self._preprocess.square else image.size


def _unit(rows: torch.Tensor) -> torch.Tensor:
    lengths: torch.Tensor = torch.linalg.norm(rows, dim=-1, keepdim=True) + 1e-6
    return rows / lengths


def _patch_of(bbox: Sequence[float], boxes: torch.Tensor, things: torch.Tensor) -> tuple[int, float]:
    """Choose the patch that an example's box is of, and return how well their boxes agree."""
    plain, generalised = _overlaps(torch.tensor(bbox).to(boxes), boxes)
    best = float(plain.max())
    if best <= 0:
        return int(generalised.argmax()), 0.0
    patch = _most(things, plain >= _ABOUT_AS_WELL * best)
    return patch, float(plain[patch])


def _patch_at(point: Sequence[float], boxes: torch.Tensor, things: torch.Tensor) -> int:
    """Choose the patch at a point: a thing that has it in its middle, or else in its box, or else the nearest one."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    away = (torch.tensor(point).to(boxes) - centre).abs()
    for part in (_MIDDLE, 1.0):
        around = (away <= half * part).all(dim=-1)
        if around.any():
            return _most(things, around)
    return int(torch.linalg.norm(away, dim=-1).argmin())


def _most(values: torch.Tensor, among: torch.Tensor) -> int:
    return int(values.masked_fill(~among, -torch.inf).argmax())


def _overlaps(box: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how much a box (4,) overlaps others (n, 4), all given by corners.

    The second measure, generalised intersection over union (arXiv:1902.09630), is highest for the nearest of the
    boxes that do not overlap it at all.
    """
    shared = (torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2])).clamp(min=0).prod(-1)
    hull = (torch.maximum(box[2:], boxes[:, 2:]) - torch.minimum(box[:2], boxes[:, :2])).clamp(min=0).prod(-1)
    union = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(-1) - shared
    plain = shared / union
    return plain, plain - (hull - union) / hull
