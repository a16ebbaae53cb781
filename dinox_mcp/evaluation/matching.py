"""Matches the found objects of one category with the labelled ones, and makes precision and recall of it."""

from collections.abc import Iterator, Sequence

import numpy as np

from dinox_mcp.evaluation.labelled import Bools, Floats, Found, Ints, Truth
from dinox_mcp.evaluation.shapes import of_boxes, of_keypoints, of_masks

SIZES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Areas in square pixels, both ends included, as COCO has them."""
EARLY = (1, 10)
"""Numbers of best objects of an image and category for which COCO gives the recall too."""
RECALLS: Floats = np.linspace(0, 1, 101)
"""The recalls over which precision is averaged."""
THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
"""The overlaps from which a found object is right, over which figures are averaged."""
_FLOORS: list[float] = THRESHOLDS.tolist()


def match_category(truth: Truth, found: Found, unsure: Bools) -> tuple[Floats, Floats, Floats, Floats, Ints, Bools]:
    """Match the objects of one category.

    Args:
        truth: the labelled ones, by image.
        found: the found ones, by image and then by score.
        unsure: which found ones (n,) are not wrong if they are unmatched.

    Returns:
        Average precision (sizes, thresholds), recall likewise, the recall of the first objects of an image, the
        curves, the place of the labelled object that each found one is matched with, or -1, and whether it counts.
    """
    bounds = SIZES.values()
    left_out = [truth.left_out | (truth.area < low) | (truth.area > high) for low, high in bounds]
    hit, ignored, matched = _compare(truth, found, np.array(left_out))
    for place, (low, high) in enumerate(bounds):
        outside = (found.area < low) | (found.area > high) | unsure
        ignored[place] |= ~hit[place] & outside
    positives = [int((~one).sum()) for one in left_out]
    early = np.full((len(EARLY), len(THRESHOLDS)), np.nan)
    if positives[0]:
        rank = np.arange(len(found)) - np.searchsorted(found.image, found.image)
        right = hit[0] & ~ignored[0]
        early[:] = [right[:, rank < number].sum(axis=1) / positives[0] for number in EARLY]
    order = np.argsort(-found.score, kind="stable")
    curves = [_curves(hit[place][:, order], ignored[place][:, order], number) for place, number in enumerate(positives)]
    ap = np.array([curve.mean(axis=1) for curve, _ in curves])
    return ap, np.array([recall for _, recall in curves]), early, curves[0][0], matched, ignored[0, 0]


def _compare(truth: Truth, found: Found, left_out: Bools) -> tuple[Bools, Bools, Ints]:
    """Match objects image by image; `left_out` are the labelled ones (sizes, labelled) that do not count.

    Returns:
        Which found objects (sizes, thresholds, found) are matched, which are matched with one that does not count,
        and what each is matched with at the lowest threshold, of all sizes.
    """
    matched_with = np.full(len(found), -1)
    hit = np.zeros((len(left_out), len(THRESHOLDS), len(found)), bool)
    ignored = np.zeros_like(hit)
    for here, there in _shared(found.image, truth.image):
        crowd = truth.crowd[there]
        overlaps = _overlaps(truth, found, here, there)
        if not (overlaps >= _FLOORS[0]).any():
            continue
        matches: dict[bytes, Ints] = {}
        for place, flags in enumerate(left_out[:, there]):
            # Which box is matched depends on which count before others: if all or none do, it is the same.
            key = b"" if flags.all() or not flags.any() else flags.tobytes()
            if key not in matches:
                matches[key] = _match(overlaps, flags.tolist(), crowd.tolist())
            matched = matches[key]
            hit[place, :, here] = matched >= 0
            ignored[place, :, here] = (matched >= 0) & flags[matched]
            if place == 0:
                matched_with[here] = np.where(matched[0] >= 0, there.start + matched[0], -1)
    return hit, ignored, matched_with


def _overlaps(truth: Truth, found: Found, here: slice, there: slice) -> Floats:
    """Give how much the found and the labelled objects of an image overlap."""
    if truth.shapes is None or found.shapes is None:
        return of_boxes(found.bbox[here], truth.bbox[there], truth.crowd[there])
    if truth.iou == "segm":
        return of_masks(found.shapes[here], truth.shapes[there], truth.crowd[there])
    return of_keypoints(found.shapes[here], truth.shapes[there], truth.bbox[there], truth.area[there])


def _shared(found: Ints, labelled: Ints) -> Iterator[tuple[slice, slice]]:
    """Give the found and the labelled objects of each image that has both."""
    images = np.intersect1d(found, labelled)
    ends = (np.searchsorted(of, images, side).tolist() for of in (found, labelled) for side in ("left", "right"))
    for begin, end, labelled_begin, labelled_end in zip(*ends, strict=True):
        yield slice(begin, end), slice(labelled_begin, labelled_end)


def _match(overlaps: Floats, left_out: Sequence[bool], crowd: Sequence[bool]) -> Ints:
    """Match found objects, the best first, each with the free labelled object that it overlaps most.

    One that counts is matched before one that is left out, and a crowd with any number of objects.

    Returns:
        The labelled object (thresholds, found) that each is matched with, or -1.
    """
    matched = np.full((len(_FLOORS), len(overlaps)), -1)
    ordered = sorted(range(len(left_out)), key=left_out.__getitem__)
    taken: list[set[int]] = [set() for _ in _FLOORS]
    for place in np.flatnonzero((overlaps >= _FLOORS[0]).any(axis=1)).tolist():
        row = overlaps[place].tolist()
        rivals = [one for one in ordered if row[one] >= _FLOORS[0]]
        highest = max(row)
        for level, floor in enumerate(_FLOORS):
            if floor > highest:
                break
            best, chosen = floor, -1
            for one in rivals:
                if one in taken[level] and not crowd[one]:
                    continue
                if chosen >= 0 and left_out[one] and not left_out[chosen]:
                    break
                if row[one] >= best:
                    best, chosen = row[one], one
            if chosen >= 0:
                taken[level].add(chosen)
                matched[level, place] = chosen
    return matched


def _curves(hit: Bools, ignored: Bools, positives: int) -> tuple[Floats, Floats]:
    """Give precision (thresholds, recalls) at `RECALLS`, and the highest recall (thresholds,), of objects by score."""
    shape = (len(THRESHOLDS), len(RECALLS))
    if not positives:
        return np.full(shape, np.nan), np.full(len(THRESHOLDS), np.nan)
    if not hit.shape[1]:
        return np.zeros(shape), np.zeros(len(THRESHOLDS))
    right = np.cumsum(hit & ~ignored, axis=1, dtype=float)
    wrong = np.cumsum(~hit & ~ignored, axis=1, dtype=float)
    recall = right / positives
    precision = right / (right + wrong + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    beyond = np.zeros((len(precision), 1))
    padded = np.concatenate([precision, beyond], axis=1)
    reached = [padded[level, np.searchsorted(recall[level], RECALLS)] for level in range(len(recall))]
    return np.array(reached), recall[:, -1]
