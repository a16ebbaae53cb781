"""What a box shows of a feature map, in plain torch: as `torchvision.ops.roi_align` does by default.

SAM 3 reads its examples so. torchvision is not among our dependencies.
"""

from collections.abc import Iterable
from math import ceil

import torch


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
