"""From the candidates of a detector, boxes with scores, to detections: in numpy, the same in each runtime."""

import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.local.models.base import RawDetection

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]


def sigmoid(logits: Floats) -> Floats:
    """Turn logits into scores from 0 to 1."""
    with np.errstate(over="ignore"):  # of a score near 0
        scores: Floats = np.reciprocal(np.float32(1) + np.exp(-logits))
    return scores


def corners(boxes: Floats) -> Floats:
    """Turn boxes (..., 4) of centre, width and height into boxes of upper left and lower right corner."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return np.concatenate((centre - half, centre + half), axis=-1)


def rank(scores: Floats, min_score: float) -> Indices:
    """Return the indices of the scores (n,) that are high enough, best first, equal ones in their order."""
    order = np.argsort(-scores, kind="stable")
    return order[scores[order] >= min_score]


def ranked(
    scores: Floats, labels: Indices, boxes: Floats, size: tuple[int, int], min_score: float
) -> list[RawDetection]:
    """List the candidates that score high enough, best first.

    Args:
        scores: The scores (n,).
        labels: The index of the label of each (n,).
        boxes: Boxes (n, 4) by corners, in fractions of the image.
        size: Width and height of the image in pixels.
        min_score: The lowest score to list.
    """
    order = rank(scores, min_score)
    pixels = boxes[order] * np.array(size * 2, np.float32)
    rows = zip(labels[order].tolist(), scores[order].tolist(), pixels.tolist(), strict=True)
    return [RawDetection(label, score, (x1, y1, x2, y2)) for label, score, (x1, y1, x2, y2) in rows]


def best_pairs(scores: Floats, boxes: Floats, size: tuple[int, int], min_score: float) -> list[RawDetection]:
    """List the best pairs of box and label, at most as many as there are boxes; `scores` is (n, labels)."""
    pairs = rank(scores.ravel(), min_score)[: len(scores)]
    box, label = np.divmod(pairs, scores.shape[1])
    return ranked(scores[box, label], label, boxes[box], size, min_score)
