"""From a model's numbers to things found: the same steps for every family."""

import torch

from dinox_mcp.backends.local.families.base import Found


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
