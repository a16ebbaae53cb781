"""Arithmetic on many boxes at once: rows of (x_min, y_min, x_max, y_max)."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


def ious(box: Floats, boxes: Floats) -> Floats:
    """Intersection over union of one box (4,) with each of others (n, 4)."""
    shared = _overlaps(box, boxes)
    areas = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))


def suppress(
    boxes: Floats, scores: Floats, classes: npt.NDArray[np.integer], iou_threshold: float, most: int
) -> npt.NDArray[np.intp]:
    """Choose the best boxes that overlap no better one of their class by more than a threshold (greedy NMS).

    Args:
        boxes: Boxes (n, 4).
        scores: Their scores (n,).
        classes: The number (n,) of the class of each; boxes of different classes never suppress each other.
        iou_threshold: The highest allowed overlap.
        most: How many boxes to keep at most.

    Returns:
        The indices of the kept boxes, best first.
    """
    left = np.argsort(-scores, kind="stable")
    kept: list[np.intp] = []
    while left.size and len(kept) < most:
        best, left = left[0], left[1:]
        kept.append(best)
        rivals = classes[left] == classes[best]
        rivals[rivals] = ious(boxes[best], boxes[left[rivals]]) > iou_threshold
        left = left[~rivals]
    return np.array(kept, np.intp)


def shares(box: Floats, boxes: Floats) -> Floats:
    """Area that one box (4,) shares with each of others (n, 4), as a share of the smaller of both."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.asarray(_overlaps(box, boxes) / np.maximum(np.minimum((box[2:] - box[:2]).prod(), areas), 1e-9))


def _overlaps(box: Floats, boxes: Floats) -> Floats:
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    return np.asarray(np.maximum(sides, 0).prod(axis=1))
