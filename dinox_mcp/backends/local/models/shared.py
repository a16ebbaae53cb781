"""What model families share: preprocessing, text windows, boxes, precision and pooling."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from dinox_mcp.backends.local.checkpoints.preprocess import Preprocessor
from dinox_mcp.backends.local.models.base import Found, Prepared
from dinox_mcp.backends.local.models.interfaces import watch_layers

if TYPE_CHECKING:
    from PIL import Image


def tokenizer_in(folder: Path) -> Any:  # noqa: ANN401 - of transformers
    """Load the tokenizer of a checkpoint, which is JSON and runs no code."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def nbytes(tensors: Iterable[torch.Tensor]) -> int:
    """Count the memory that tensors keep, in bytes: all of their storage, of which they may show a part."""
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def stacked(batch: Iterable[Prepared], device: torch.device) -> torch.Tensor:
    """Put pictures of one size into one tensor (pictures, 3, height, width) on a device."""
    return torch.stack([torch.from_numpy(picture.pixels) for picture in batch]).to(device)


class AdapterBase:
    """A model that has a preprocessor, and a text window of so many tokens for each label."""

    reuses_text = False

    def __init__(
        self,
        family: str,
        tokenizer: Any,  # noqa: ANN401 - of transformers
        preprocess: Preprocessor,
        window: int,
    ) -> None:
        self.family = family
        self._tokenizer = tokenizer
        self._preprocess = preprocess
        self._window = window

    def prepare(self, image: "Image.Image") -> Prepared:
        """Resize and normalise an RGB picture."""
        return Prepared(self._preprocess(image), image.size)

    def chunks(self, labels: Sequence[str]) -> list[list[int]]:
        """Ask for all labels at once: each has a text window of its own."""
        return [list(range(len(labels)))]

    def overlong(self, labels: Sequence[str]) -> list[int]:
        """Name the labels, by their index, of which a text window holds only the beginning."""
        rows = self._tokenizer(list(labels), truncation=False)["input_ids"]
        return [index for index, row in enumerate(rows) if len(row) > self._window]


def corners(boxes: torch.Tensor) -> torch.Tensor:
    """Turn boxes (n, 4) of centre, width and height into boxes of upper left and lower right corner."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def ranked(
    scores: torch.Tensor, labels: torch.Tensor, boxes: torch.Tensor, frame: tuple[int, int], min_score: float
) -> list[Found]:
    """List what scores high enough, best first, equal scores in the model's order.

    `scores` and `labels` are (n,), `boxes` (n, 4) as corners in fractions of a `frame` (width, height) in pixels.
    """
    order = rank(scores, min_score)
    width, height = frame
    pixels = boxes[order].float().cpu() * torch.tensor([width, height, width, height])
    rows = zip(labels[order].tolist(), scores[order].tolist(), pixels.tolist(), strict=True)
    return [Found(label, score, (x1, y1, x2, y2)) for label, score, (x1, y1, x2, y2) in rows]


def rank(scores: torch.Tensor, min_score: float) -> torch.Tensor:
    """Give the indices of the scores (n,) that are high enough, best first, equal ones in their order."""
    order = torch.sort(scores, descending=True, stable=True).indices
    return order[scores[order] >= min_score]


def overlaps(box: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tell how much a box (4,) overlaps others (n, 4), all given by corners.

    The second measure, generalised intersection over union (arXiv:1902.09630), also tells which of the boxes that do
    not overlap it at all is nearest.
    """
    shared = (torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2])).clamp(min=0).prod(-1)
    hull = (torch.maximum(box[2:], boxes[:, 2:]) - torch.minimum(box[:2], boxes[:, :2])).clamp(min=0).prod(-1)
    union = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(-1) - shared
    plain = shared / union
    return plain, plain - (hull - union) / hull


@dataclass(frozen=True, slots=True)
class Precision:
    """How a model computes: exactly, or with its matrix products in a shorter type.

    Detectors that refine boxes layer by layer lose pixels when the boxes themselves are kept in eight bits of
    mantissa. Their weights are loaded and stay in float32, and autocast shortens what is multiplied.
    """

    device: torch.device
    short: torch.dtype | None

    @classmethod
    def of(cls, model: Any, dtype: torch.dtype) -> Self:  # noqa: ANN401 - any model of transformers
        """Have a model in float32 compute in this type."""
        return cls(model.device, None if dtype is torch.float32 else dtype)

    def running(self) -> AbstractContextManager[Any]:
        """Give the context that model work runs in."""
        return torch.autocast(self.device.type, dtype=self.short) if self.short else nullcontext()


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


class ViewerBase:
    """A model in float32 that computes in `dtype`, and that checks between its layers that it is still wanted."""

    reuses_text = False

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - of transformers
        preprocess: Preprocessor,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._precision = Precision.of(model, dtype)
        self._model = model
        self._preprocess = preprocess
        watch_layers(model)

    def prepare(self, image: "Image.Image") -> Prepared:
        """Resize and normalise an RGB picture."""
        return Prepared(self._preprocess(image), image.size)
