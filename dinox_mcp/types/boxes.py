"""Arithmetic on boxes (x_min, y_min, x_max, y_max), one by one and many at once: the one IoU and the one NMS.

NumPy is imported when many boxes are first compared, so that this module stays cheap to import.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dinox_mcp.types.detection import Detection, certainty

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.floating]
    Indices = npt.NDArray[np.intp]

Box = tuple[float, float, float, float]
_LEAST_THRESHOLD = 1e-9


def clip(bbox: Sequence[float], width: float, height: float) -> Box:
    """Clip a box to an image, with its corners in order."""
    x1, x2 = sorted((bbox[0], bbox[2]))
    y1, y2 = sorted((bbox[1], bbox[3]))
    return min(max(x1, 0.0), width), min(max(y1, 0.0), height), min(max(x2, 0.0), width), min(max(y2, 0.0), height)


def scale(bbox: Sequence[float], factor_x: float, factor_y: float) -> Box:
    """Scale a box from one pixel frame to another."""
    return bbox[0] * factor_x, bbox[1] * factor_y, bbox[2] * factor_x, bbox[3] * factor_y


def around(points: Sequence[Sequence[float]]) -> Box:
    """Enclose points (x, y) in the smallest upright box."""
    xs = [float(point[0]) for point in points]
    ys = [float(point[1]) for point in points]
    return min(xs), min(ys), max(xs), max(ys)


def center(bbox: Sequence[float]) -> tuple[float, float]:
    """Give the center (x, y) of a box."""
    return (bbox[0] + bbox[2]) / 2, (bbox[1] + bbox[3]) / 2


def is_ordered(bbox: Sequence[float]) -> bool:
    """Return whether the second corner of a box is right of and below its first."""
    return bbox[2] > bbox[0] and bbox[3] > bbox[1]


def right_form(bbox: Sequence[float]) -> str:
    """Explain how a box is written, and which box [x, y, width, height] may have been meant by a wrong one."""
    form = "pass [x_min, y_min, x_max, y_max] in pixels of the original"
    x1, y1, x2, y2 = (round(edge, 1) for edge in bbox)
    if is_ordered(bbox) or x2 <= 0 or y2 <= 0:
        return form
    return f"{form}; if this is [x, y, width, height], pass {[x1, y1, round(x1 + x2, 1), round(y1 + y2, 1)]}"


def check_order(bbox: Sequence[float]) -> None:
    """Refuse a box whose second corner is not right of and below its first, as in [x, y, width, height].

    Raises:
        ValueError: it is not; the message says how to write it.
    """
    if not is_ordered(bbox):
        raise ValueError(f"{[round(edge, 1) for edge in bbox]} is empty; {right_form(bbox)}")


def area(bbox: Sequence[float]) -> float:
    """Area in square pixels; 0 for an empty box."""
    return max(0.0, bbox[2] - bbox[0]) * max(0.0, bbox[3] - bbox[1])


def intersection(a: Sequence[float], b: Sequence[float]) -> float:
    """Area that two boxes share."""
    return area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes, from 0 to 1."""
    shared = intersection(a, b)
    union = area(a) + area(b) - shared
    return shared / union if union > 0 else 0.0


def intersections(box: "Floats", boxes: "Floats") -> "Floats":
    """Area that one box (4,) shares with each of others (n, 4)."""
    import numpy as np

    # Column by column: NumPy takes up to twenty times as long for rows of four.
    (x1, y1, x2, y2), (left, top, right, bottom) = box, boxes.T
    widths = np.minimum(right, x2) - np.maximum(left, x1)
    heights = np.minimum(bottom, y2) - np.maximum(top, y1)
    return np.asarray(np.maximum(widths, 0) * np.maximum(heights, 0))


def ious(box: "Floats", boxes: "Floats") -> "Floats":
    """Intersection over union of one box (4,) with each of others (n, 4); 0 for empty boxes."""
    shared = intersections(box, boxes)
    return _ratios(shared, _areas(box[None]) + _areas(boxes) - shared)


def shares(box: "Floats", boxes: "Floats") -> "Floats":
    """Area that one box (4,) shares with each of others (n, 4), as a share of the smaller of both."""
    import numpy as np

    return _ratios(intersections(box, boxes), np.minimum(_areas(box[None]), _areas(boxes)))


def best_boxes(
    boxes: "Floats", scores: "Floats", classes: "npt.NDArray[np.integer]", iou_threshold: float, most: int | None = None
) -> "Indices":
    """Choose the best boxes that overlap no better one of their class by more than a threshold (greedy NMS).

    Args:
        boxes: Boxes (n, 4).
        scores: Their scores (n,).
        classes: The number (n,) of the class of each; boxes of different classes never suppress each other.
        iou_threshold: The highest allowed overlap.
        most: How many boxes to keep at most; None for all.

    Returns:
        The indices of the kept boxes, best first.
    """
    import numpy as np

    # Sorted by their left edges, the rivals of a box stand together: none is wider than 1 / threshold times the box.
    by_left = np.argsort(boxes[:, 0], kind="stable")
    boxes, classes = boxes[by_left], classes[by_left]
    lefts, widths = boxes[:, 0], np.maximum(boxes[:, 2] - boxes[:, 0], 0)
    reach = widths / iou_threshold if iou_threshold >= _LEAST_THRESHOLD else np.inf
    first = np.searchsorted(lefts, lefts - reach, "left")
    last = np.searchsorted(lefts, boxes[:, 2], "right")
    free = np.ones(len(boxes), np.bool_)
    kept: list[int] = []
    for best in np.lexsort((by_left, -scores[by_left])).tolist():
        if most is not None and len(kept) == most:
            break
        if free[best]:
            kept.append(best)
            near = slice(first[best], last[best])
            overlaps = ious(boxes[best], boxes[near]) > iou_threshold
            free[near] &= ~(overlaps & (classes[near] == classes[best]))
    return by_left[kept]


def suppress(objects: Sequence[Detection], iou_threshold: float) -> list[Detection]:
    """Drop each object that overlaps a better one of its label by more than the threshold (greedy NMS).

    The best come first in the answer; objects without a score count as certain.
    """
    import numpy as np

    numbers: dict[str, int] = {}
    classes = np.array([numbers.setdefault(found.label, len(numbers)) for found in objects], np.intp)
    boxes = np.array([found.bbox for found in objects], float).reshape(-1, 4)
    scores = np.array([certainty(found) for found in objects], float)
    return [objects[index] for index in best_boxes(boxes, scores, classes, iou_threshold).tolist()]


def _areas(boxes: "Floats") -> "Floats":
    import numpy as np

    left, top, right, bottom = boxes.T
    return np.asarray(np.maximum(right - left, 0) * np.maximum(bottom - top, 0))


def _ratios(parts: "Floats", wholes: "Floats") -> "Floats":
    """Divide, with 0 for a part of nothing."""
    import numpy as np

    return np.asarray(np.divide(parts, wholes, out=np.zeros(len(parts)), where=wholes > 0))
