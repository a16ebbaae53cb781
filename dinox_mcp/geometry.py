"""Boxes as plain arithmetic: `bbox` is [x_min, y_min, x_max, y_max]."""

from collections.abc import Sequence

from dinox_mcp.schema import Detection, certainty

Box = tuple[float, float, float, float]


def clip(bbox: Sequence[float], width: float, height: float) -> Box:
    """Clip a box to a picture, with its corners in order."""
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


def suppress(objects: Sequence[Detection], iou_threshold: float) -> list[Detection]:
    """Drop each object that overlaps a better one of its label by more than the threshold (greedy NMS).

    The best come first in the answer; objects without a score count as certain.
    """
    kept: list[Detection] = []
    for found in sorted(objects, key=lambda item: -certainty(item)):
        if all(found.label != other.label or iou(found.bbox, other.bbox) <= iou_threshold for other in kept):
            kept.append(found)
    return kept
