"""From what a model found to detections: each thing once, under one name, inside the picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from dinox_mcp.backends.local.models.base import Found
from dinox_mcp.types.boxes import area, clip
from dinox_mcp.types.detection import Detection

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from dinox_mcp.backends.local.vocabulary import Vocabulary

    Boxes = npt.NDArray[np.float64]

SAME = 0.85
"""Boxes of two names that overlap more are one thing."""
SAME_KIND = 0.6
"""The same where one name is a kind of the other, as a taxi is of a car."""
SPECIFIC_ENOUGH = 0.5
"""The more specific name is given if its score is at least this part of the best."""


class Kinds(Protocol):
    """Knows which names are kinds of others."""

    def is_kind_of(self, narrow: str, broad: str) -> bool:
        """Tell whether everything called `narrow` could be called `broad`."""
        ...


def detections(
    found: Sequence[Found],
    labels: Sequence[str],
    size: tuple[int, int],
    iou_threshold: float,
) -> list[Detection]:
    """Name, clip to a picture of `size` (width, height), and drop each box that a better one of its label covers.

    `labels` are the names that `Found.label` counts into; one may stand there several times. Best first.
    """
    import numpy as np

    things = []
    for one in sorted(found, key=lambda one: -one.score):
        bbox = clip(one.bbox, *size)
        if area(bbox) > 0:
            things.append((labels[one.label], bbox, one))
    boxes = np.array([bbox for _, bbox, _ in things], dtype=np.float64).reshape(-1, 4)
    kept = []
    by_label: dict[str, list[int]] = {}
    for place, (label, _, _) in enumerate(things):
        by_label.setdefault(label, []).append(place)
    for places in by_label.values():
        kept.extend(_apart(boxes, places, iou_threshold))
    return [
        Detection(
            label=label,
            bbox=bbox,
            score=min(1.0, max(0.0, one.score)),
            mask=one.mask,
        )
        for label, bbox, one in (things[place] for place in sorted(kept))
    ]


def tidy(
    found: Sequence[Found],
    labels: Sequence[str],
    everything: "Vocabulary | None",
    size: tuple[int, int],
    iou_threshold: float,
) -> tuple[list[Detection], list[str]]:
    """Make detections of findings, with one name for each thing if a vocabulary was looked for; say what was done."""
    if everything is None:
        return detections(found, labels, size, iou_threshold), []
    objects = detections(found, everything.names, size, iou_threshold)
    notes = [f"looked for {len(everything.nouns)} nouns; what is not among them needs a prompt"]
    once = name_once(objects, everything)
    if merged := len(objects) - len(once):
        notes.append(f"{merged} {'box was' if merged == 1 else 'boxes were'} a second name for a thing and left out")
    return once, notes


def name_once(objects: Sequence[Detection], kinds: Kinds) -> list[Detection]:
    """Give each thing one name: the best scored one, or a more specific one that scores nearly as well.

    `objects` come best first, and so does the answer.
    """
    import numpy as np

    boxes = np.array([one.bbox for one in objects], dtype=np.float64).reshape(-1, 4)
    left = np.ones(len(objects), dtype=bool)
    named = []
    for place, best in enumerate(objects):
        if not left[place]:
            continue
        left[place] = False
        chosen = best
        overlaps = _overlaps(boxes[place], boxes)
        for other in np.flatnonzero(left & (overlaps > SAME_KIND)).tolist():
            rival = objects[other]
            narrower = kinds.is_kind_of(rival.label, chosen.label)
            akin = narrower or kinds.is_kind_of(best.label, rival.label) or kinds.is_kind_of(chosen.label, rival.label)
            if rival.label == best.label or not (akin or overlaps[other] > SAME):
                continue
            left[other] = False
            if narrower and (rival.score or 0) >= SPECIFIC_ENOUGH * (best.score or 0):
                chosen = best.model_copy(update={"label": rival.label, "score": rival.score})
        named.append(chosen)
    return sorted(named, key=lambda one: -(one.score or 0))


def _apart(boxes: "Boxes", places: Sequence[int], iou_threshold: float) -> list[int]:
    """Greedy non-maximum suppression among boxes given best first."""
    import numpy as np

    mine = np.asfortranarray(boxes[np.asarray(places)])
    left = np.ones(len(places), dtype=bool)
    kept = []
    for place in range(len(places)):
        if left[place]:
            kept.append(places[place])
            left[place + 1 :] &= _overlaps(mine[place], mine[place + 1 :]) <= iou_threshold
    return kept


def _overlaps(box: "npt.NDArray[np.float64]", boxes: "Boxes") -> "npt.NDArray[np.float64]":
    """Intersection over union of one box with many. Column by column, which is what takes numpy least."""
    import numpy as np

    (x1, y1, x2, y2), (left, top, right, bottom) = box, boxes.T
    width = np.minimum(right, x2) - np.maximum(left, x1)
    height = np.minimum(bottom, y2) - np.maximum(top, y1)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    overlaps: npt.NDArray[np.float64] = shared / ((x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - shared)
    return overlaps
