"""What model families share: tokenizers, boxes as tensors, and pooling."""

from collections.abc import Iterable
from dataclasses import fields
from math import ceil
from pathlib import Path
from typing import Any

import torch

from dinox_mcp.backends.local.models.base import Prepared, RawDetection


def tokenizer_in(folder: Path) -> Any:  # noqa: ANN401 - of transformers
    """Load the tokenizer of a checkpoint, which is JSON and runs no code."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


class TensorFeatures:
    """The base of dataclasses whose fields are tensors, tuples of tensors, or sizes."""

    __slots__ = ()

    @property
    def nbytes(self) -> int:
        """Memory that they take, in bytes: all of a tensor's storage, of which it may show a part."""
        values = [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type] # subclasses are dataclasses
        flat = [one for value in values for one in (value if isinstance(value, tuple) else (value,))]
        return sum(one.untyped_storage().nbytes() for one in flat if isinstance(one, torch.Tensor))


def stacked(batch: Iterable[Prepared], device: torch.device) -> torch.Tensor:
    """Put images of one size into one tensor (images, 3, height, width) on a device."""
    return torch.stack([torch.from_numpy(image.pixels) for image in batch]).to(device)


def corners(boxes: torch.Tensor) -> torch.Tensor:
    """Turn boxes (n, 4) of centre, width and height into boxes of upper left and lower right corner."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def ranked(
    scores: torch.Tensor, labels: torch.Tensor, boxes: torch.Tensor, frame: tuple[int, int], min_score: float
) -> list[RawDetection]:
    """List what scores high enough, best first, equal scores in the model's order.

    `scores` and `labels` are (n,), `boxes` (n, 4) as corners in fractions of a `frame` (width, height) in pixels.
    """
    order = rank(scores, min_score)
    width, height = frame
    pixels = boxes[order].float().cpu() * torch.tensor([width, height, width, height])
    rows = zip(labels[order].tolist(), scores[order].tolist(), pixels.tolist(), strict=True)
    return [RawDetection(label, score, (x1, y1, x2, y2)) for label, score, (x1, y1, x2, y2) in rows]


def rank(scores: torch.Tensor, min_score: float) -> torch.Tensor:
    """Return the indices of the scores (n,) that are high enough, best first, equal ones in their order."""
    order = torch.sort(scores, descending=True, stable=True).indices
    return order[scores[order] >= min_score]


def overlaps(box: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how much a box (4,) overlaps others (n, 4), all given by corners.

    The second measure, generalised intersection over union (arXiv:1902.09630), is highest for the nearest of the
    boxes that do not overlap it at all.
    """
    shared = (torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2])).clamp(min=0).prod(-1)
    hull = (torch.maximum(box[2:], boxes[:, 2:]) - torch.minimum(box[:2], boxes[:, :2])).clamp(min=0).prod(-1)
    union = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(-1) - shared
    plain = shared / union
    return plain, plain - (hull - union) / hull


def pool(features: torch.Tensor, boxes: Iterable[torch.Tensor], size: int) -> torch.Tensor:
    """Average what boxes show of one feature map (1, channels, height, width), as (n, channels, size, size).

    Each box (4,) has its corners in cells of the map. It is cut into size x size bins, each the mean of as many
    bilinear samples as it has cells across and down, rounded up (Mask R-CNN, arXiv:1703.06870; a box is taken to be at
    least a cell large, and its corners are not shifted by half a cell).
    """
    return torch.cat([_pool(features, box.tolist(), size) for box in boxes])


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
