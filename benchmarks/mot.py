"""The quality of tracks: MOTA (Bernardin and Stiefelhagen 2008) and IDF1 (Ristani et al. 2016), for boxes by IoU."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dinox_mcp.types import boxes
from dinox_mcp.types.boxes import Box
from dinox_mcp.video.tracking import assign

Things = Mapping[int, Box]
"""The objects in one frame: boxes by identity."""
OVERLAP = 0.5


class Quality(NamedTuple):
    """MOTA and IDF1, 1 at best, and how often the identity of an object changed."""

    mota: float
    idf1: float
    switches: int


def quality(truth: Sequence[Things], found: Sequence[Things]) -> Quality:
    """Compare tracks with the truth, frame by frame."""
    misses = extras = switches = 0
    held: dict[int, int] = {}
    together: Counter[tuple[int, int]] = Counter()
    for real, seen in zip(truth, found, strict=True):
        pairs = _pairs(real, seen, held)
        switches += sum(1 for one, other in pairs.items() if held.get(one, other) != other)
        held |= pairs
        misses += len(real) - len(pairs)
        extras += len(seen) - len(pairs)
        for one, box in real.items():
            together.update((one, other) for other, there in seen.items() if boxes.iou(box, there) >= OVERLAP)
    total = sum(map(len, truth))
    ids, others = sorted({one for real in truth for one in real}), sorted({one for seen in found for one in seen})
    shared = np.array([[-float(together[one, other]) for other in others] for one in ids]).reshape(
        len(ids), len(others)
    )
    right = -sum(shared[row, column] for row, column in assign(shared, -0.5))
    return Quality(
        mota=1 - (misses + extras + switches) / total,
        idf1=2 * right / (total + sum(map(len, found))),
        switches=switches,
    )


def _pairs(real: Things, seen: Things, held: Mapping[int, int]) -> dict[int, int]:
    """Pair real objects with found ones: as before where they still overlap, else at the least distance."""
    pairs = {
        one: other
        for one, other in held.items()
        if one in real and other in seen and boxes.iou(real[one], seen[other]) >= OVERLAP
    }
    ones = [one for one in real if one not in pairs]
    others = [other for other in seen if other not in pairs.values()]
    costs = np.array([[1 - boxes.iou(real[one], seen[other]) for other in others] for one in ones])
    return pairs | {ones[row]: others[column] for row, column in assign(costs, 1 - OVERLAP)}
