"""SAM 3: one noun phrase a request, or examples of one kind, or both; it returns boxes and masks.

The features of an image are shared by all requests about it. Examples are boxes in the image that is searched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from dinox_mcp.backends.local.models.base import (
    ExampleQuery,
    ExampleRows,
    ImageFeatures,
    Prepared,
    RawDetection,
    TorchDetectionModel,
    check,
)
from dinox_mcp.backends.local.models.candidates import Floats, corners, rank, ranked
from dinox_mcp.backends.local.models.shared import of_image, stacked
from dinox_mcp.types.detection import Example, Mask
from dinox_mcp.types.masks import encode

_VISUAL = "visual"
"""The text for examples without a name, as in the model's own processor."""
_UNNAMED = Example.model_fields["label"].default


class Sam3(TorchDetectionModel):
    """A SAM 3 model, prompted with text, examples, or both.

    Features are maps (1, channels, height, width), and where the patches of the coarsest one lie.
    """

    architectures: ClassVar = {"sam3": "Sam3Model", "sam3_video": "Sam3Model"}
    example_size = 4

    def __init__(self, model: Any, folder: Path, dtype: torch.dtype | None = None) -> None:  # noqa: ANN401
        super().__init__(model, folder, dtype)
        self._masks = Optional(model.mask_decoder)
        model.mask_decoder = self._masks
        model.geometry_encoder._encode_boxes = partial(_encode_boxes, model.geometry_encoder)  # noqa: SLF001 - it needs torchvision

    @classmethod
    def architecture(cls, config: Mapping[str, Any]) -> type[Any]:  # noqa: ARG003 - has one
        """Return the transformers class of a checkpoint."""
        # The name that transformers exports is a placeholder where torchvision is missing; the model itself is not.
        from transformers.models.sam3.modeling_sam3 import Sam3Model

        return Sam3Model

    @torch.inference_mode()
    def encode(self, batch: Sequence[Prepared]) -> list[ImageFeatures]:
        """Compute the features of images, all at once."""
        pixels = stacked(batch, self._model.device)
        with self._computing():
            vision = self._model.get_vision_features(pixels)
        *maps, _ = vision.fpn_hidden_states  # nothing reads the last
        position = vision.fpn_position_encoding[-2].expand(len(batch), -1, -1, -1)
        return [ImageFeatures(of_image(row, (*maps, position)), image.size) for row, image in enumerate(batch)]

    def chunks(self, labels: Sequence[str]) -> list[list[int]]:
        """Search for one label at a time."""
        return [[index] for index in range(len(labels))]

    @torch.inference_mode()
    def find(
        self,
        features: ImageFeatures,
        labels: Sequence[str],
        embeddings: Floats | None,  # noqa: ARG002 - this family has none
        min_score: float,
        *,
        masks: bool = False,
    ) -> list[RawDetection]:
        """Find labels one after the other."""
        found = [
            item
            for index, label in enumerate(labels)
            for item in self._find(features, index, label, {}, min_score, masks=masks)
        ]
        return sorted(found, key=lambda item: -item.score)

    def read_examples(self, features: ImageFeatures, examples: Sequence[Example]) -> ExampleRows:
        """Return the boxes of examples as (centre x, centre y, width, height) in fractions of their image.

        The model reads their pixels when it searches, so they mean nothing in another image.
        """
        boxes = np.array([example.bbox for example in examples], np.float32) / np.array(features.size * 2, np.float32)
        start, end = boxes[:, :2], boxes[:, 2:]
        rows: Floats = np.hstack(((start + end) / 2, end - start)).astype(np.float32)
        return ExampleRows(rows, (1.0,) * len(examples))

    @torch.inference_mode()
    def find_like(
        self, features: ImageFeatures, query: ExampleQuery, min_score: float, *, masks: bool = False
    ) -> list[RawDetection]:
        """Find what resembles the examples of each label, one label after the other.

        A label that is not the usual "object" is read as well, as the name of the kind.
        """
        found = []
        for index, label in enumerate(query.labels):
            speaking_for, against = query.of(index)
            prompt = {
                "input_boxes": torch.from_numpy(query.rows[[*speaking_for, *against]][None]).to(self._model.device),
                "input_boxes_labels": torch.tensor(
                    [[1] * len(speaking_for) + [0] * len(against)], device=self._model.device
                ),
            }
            text = _VISUAL if label == _UNNAMED else label
            found += self._find(features, index, text, prompt, min_score, masks=masks)
        return sorted(found, key=lambda item: -item.score)

    def _find(
        self,
        features: ImageFeatures,
        index: int,
        text: str,
        prompt: Mapping[str, torch.Tensor],
        min_score: float,
        *,
        masks: bool,
    ) -> list[RawDetection]:
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        tokens = self._tokenizer(
            [text], padding="max_length", truncation=True, max_length=self._window, return_tensors="pt"
        ).to(self._model.device)
        # The model leaves out the last map of each list.
        *_, position = features.arrays
        vision = Sam3VisionEncoderOutput(fpn_hidden_states=features.arrays, fpn_position_encoding=(position, position))
        self._masks.wanted = masks
        with self._computing():
            outputs = self._model(
                vision_embeds=vision, input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], **prompt
            )
        scores = (outputs.pred_logits.float().sigmoid() * outputs.presence_logits.float().sigmoid())[0].cpu().numpy()
        boxes = outputs.pred_boxes[0].float().cpu().numpy()
        found = ranked(scores, np.full(len(scores), index), boxes, features.size, min_score)
        if not masks:
            return found
        return [
            replace(item, mask=_enlarge(outputs.pred_masks[0, candidate], features.size))
            for item, candidate in zip(found, rank(scores, min_score).tolist(), strict=True)
        ]


class Optional(torch.nn.Module):
    """Wraps a mask decoder, and runs it only while masks are wanted."""

    def __init__(self, stock: torch.nn.Module) -> None:
        super().__init__()
        self.stock = stock
        self.wanted = False

    def forward(self, **inputs: Any) -> Any:  # noqa: ANN401 - of transformers
        """Decode masks, or give an answer without any."""
        from transformers.models.sam3.modeling_sam3 import Sam3MaskDecoderOutput

        return self.stock(**inputs) if self.wanted else Sam3MaskDecoderOutput()


def _enlarge(logits: torch.Tensor, size: tuple[int, int]) -> Mask:
    """Enlarge one mask to the image and encode it; all at once would take gigabytes for a large photo."""
    check()
    shares = logits.float().sigmoid()[None, None]
    large = torch.nn.functional.interpolate(shares, size=size[::-1], mode="bilinear", align_corners=False)
    return encode((large[0, 0] > 0.5).cpu().numpy())  # noqa: PLR2004 - as likely as not


def _encode_boxes(
    encoder: Any,  # noqa: ANN401 - Sam3GeometryEncoder of transformers
    boxes: torch.Tensor,
    boxes_mask: torch.Tensor,
    boxes_labels: torch.Tensor,
    vision_features: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Do what the method of this name does, for one image and without torchvision.

    An example is the sum of where its box is (centre, width, height), what it shows, and whether more of its kind are
    wanted.
    """
    height, width = vision_features.shape[-2:]
    (rows,) = boxes
    cells = corners(rows.cpu().numpy()) * np.array([width, height] * 2, np.float32)
    shown = pool(vision_features.float(), cells, encoder.roi_size)
    placed = encoder._encode_box_coordinates(*rows.unbind(-1))  # noqa: SLF001 - part of the method
    embedded = (
        encoder.label_embed(boxes_labels)
        + encoder.boxes_direct_project(boxes)
        + encoder.boxes_pool_project(shown).flatten(1)[None]
        + encoder.boxes_pos_enc_project(placed)[None]
    )
    return embedded, boxes_mask


def pool(features: torch.Tensor, boxes: Floats, size: int) -> torch.Tensor:
    """Average what boxes show of one feature map (1, channels, height, width), as (n, channels, size, size).

    Each box has its corners in cells of the map. It is cut into size x size bins, each the mean of as many
    bilinear samples as it has cells across and down, rounded up (Mask R-CNN, arXiv:1703.06870; a box is taken to be at
    least a cell large, and its corners are not shifted by half a cell).
    """
    return torch.cat([_pool(features, box, size) for box in boxes.tolist()])


def _pool(features: torch.Tensor, box: list[float], size: int) -> torch.Tensor:
    height, width = features.shape[-2:]
    x1, y1, x2, y2 = box
    xs, across = _samples(x1, x2, width, size, features)
    ys, down = _samples(y1, y2, height, size, features)
    grid = torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1], dim=-1)[None]
    sampled = torch.nn.functional.grid_sample(features, grid, mode="bilinear", align_corners=True)
    return torch.nn.functional.avg_pool2d(sampled, (down, across))


def _samples(start: float, end: float, cells: int, size: int, like: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Place the samples along one side, as -1 to 1 over the map; give how many a bin has."""
    length = max(end - start, 1.0)
    many = ceil(length / size)
    steps = (torch.arange(size * many, dtype=like.dtype, device=like.device) + 0.5) * length / (size * many)
    return (start + steps).clamp(0, cells - 1) / max(cells - 1, 1) * 2 - 1, many
