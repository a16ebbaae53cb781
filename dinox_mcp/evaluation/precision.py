"""Average precision and recall of boxes, by the rules of COCO and of LVIS.

The figures equal those of pycocotools and of lvis. Only images that hold a labelled or a found box of a category are
visited for it, which takes a quarter of their memory where there are many categories.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dinox_mcp.evaluation.labelled import Bools, Floats, Found, Ints, Truth

SIZES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Areas in square pixels, both ends included, as COCO has them."""
EARLY = (1, 10)
"""Numbers of best boxes of an image and category for which COCO gives the recall too."""
_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_FLOORS: list[float] = _THRESHOLDS.tolist()
_RECALLS = np.linspace(0, 1, 101)
_AP50, _AP75 = 0, 5


@dataclass(frozen=True, slots=True)
class Rules:
    """How a data set is evaluated.

    Attributes:
        name: what a report calls the rules.
        per_image_and_category: the best boxes of each image and category that count; None for all.
        per_image: the best boxes of each image that count, over all categories.
        per_category: the best boxes of each category that count, over all images.
        federated: a category counts only in images in which it is labelled or known to be absent (LVIS).
    """

    name: str
    per_image_and_category: int | None = None
    per_image: int | None = None
    per_category: int | None = None
    federated: bool = False


COCO = Rules("COCO, best 100 of each image and category", per_image_and_category=100)
LVIS = Rules("LVIS, best 300 of each image", per_image=300, federated=True)
LVIS_FIXED = Rules("LVIS fixed AP, best 10,000 of each category", per_category=10_000, federated=True)


@dataclass(frozen=True, eq=False)
class Precision:
    """The figures of each category; NaN where no box of that size is labelled.

    Attributes:
        ap: average precision (categories, sizes, thresholds).
        recall: highest recall, likewise.
        early: recall (categories, numbers of best boxes, thresholds) for `EARLY`.
        labelled: the number (categories,) of labelled boxes, crowds left out.
        found: the number (categories,) of found boxes that count.
    """

    ap: Floats
    recall: Floats
    early: Floats
    labelled: Ints
    found: Ints

    @cached_property
    def figures(self) -> dict[str, float | None]:
        """The means over all categories that have labelled boxes; None where there are none."""
        ap, recall = self.ap, self.recall
        return {
            "AP": mean(ap[:, 0]),
            "AP50": mean(ap[:, 0, _AP50]),
            "AP75": mean(ap[:, 0, _AP75]),
            "AP small": mean(ap[:, 1]),
            "AP medium": mean(ap[:, 2]),
            "AP large": mean(ap[:, 3]),
            **{f"AR{number}": mean(self.early[:, place]) for place, number in enumerate(EARLY)},
            "AR": mean(recall[:, 0]),
            "AR small": mean(recall[:, 1]),
            "AR medium": mean(recall[:, 2]),
            "AR large": mean(recall[:, 3]),
        }

    def of(self, categories: Sequence[int]) -> tuple[float | None, float | None, float | None]:
        """Give AP, AP50 and recall of some categories together."""
        chosen = list(categories)
        return mean(self.ap[chosen, 0]), mean(self.ap[chosen, 0, _AP50]), mean(self.recall[chosen, 0])


def mean(values: Floats) -> float | None:
    """Average what is not NaN; None if there is nothing."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else None


def evaluate(truth: Truth, found: Found, rules: Rules = COCO) -> Precision:
    """Compare found boxes with labelled ones.

    Args:
        truth: the labelled boxes.
        found: the found boxes; of equal scores the one that comes first counts as the better one.
        rules: how to compare.
    """
    found = found.take(_kept(truth, found, rules))
    found = found.take(np.lexsort((-found.score, found.boxes.image, found.boxes.category)))
    order = np.lexsort((truth.boxes.image, truth.boxes.category))
    places = np.arange(truth.categories + 1)
    found_ends = np.searchsorted(found.boxes.category, places)
    truth_ends = np.searchsorted(truth.boxes.category[order], places)
    partial = _keys(truth.partial[:, 0], truth.partial[:, 1], truth.images) if rules.federated else np.zeros(0, int)
    shape = (truth.categories, len(SIZES), len(_THRESHOLDS))
    ap, recall = np.full(shape, np.nan), np.full(shape, np.nan)
    early = np.full((truth.categories, len(EARLY), len(_THRESHOLDS)), np.nan)
    for category in range(truth.categories):
        labelled = order[truth_ends[category] : truth_ends[category + 1]]
        if not len(labelled):
            continue
        here = slice(found_ends[category], found_ends[category + 1])
        unsure = np.isin(category * truth.images + found.boxes.image[here], partial)
        ap[category], recall[category], early[category] = _Category(truth, labelled, found, here, unsure).evaluate()
    counted = truth.boxes.category[~truth.crowd]
    return Precision(
        ap, recall, early, np.bincount(counted, minlength=truth.categories), np.diff(found_ends).astype(int)
    )


def _keys(image: Ints, category: Ints, images: int) -> Ints:
    return category * images + image


def _kept(truth: Truth, found: Found, rules: Rules) -> Ints:
    """Give the positions of the found boxes that count, in their order."""
    boxes = found.boxes
    keys = _keys(boxes.image, boxes.category, truth.images)
    keep = np.ones(len(boxes), bool)
    for groups, most in (
        (keys, rules.per_image_and_category),
        (boxes.image, rules.per_image),
        (boxes.category, rules.per_category),
    ):
        if most is not None:
            keep &= _ranks(groups, found.score) < most
    if rules.federated:
        known = np.concatenate(
            [
                _keys(truth.boxes.image, truth.boxes.category, truth.images),
                _keys(truth.absent[:, 0], truth.absent[:, 1], truth.images),
            ]
        )
        keep &= np.isin(keys, known)
    return np.flatnonzero(keep)


def _ranks(groups: Ints, scores: Floats) -> Ints:
    """Give the rank of each box among those of its group, the best 0."""
    order = np.lexsort((-scores, groups))
    sorted_groups = groups[order]
    ranks = np.empty(len(groups), int)
    ranks[order] = np.arange(len(groups)) - np.searchsorted(sorted_groups, sorted_groups)
    return ranks


class _Category:
    """The boxes of one category, found ones by image and then by score; `unsure` ones are not wrong if unmatched."""

    def __init__(self, truth: Truth, labelled: Ints, found: Found, here: slice, unsure: Bools) -> None:
        self.images = found.boxes.image[here]
        self.scores = found.score[here]
        self.bbox = found.boxes.bbox[here]
        self.area = self.bbox[:, 2] * self.bbox[:, 3]
        self.labelled_images = truth.boxes.image[labelled]
        self.labelled_bbox = truth.boxes.bbox[labelled]
        self.labelled_area = truth.area[labelled]
        self.crowd = truth.crowd[labelled]
        self.unsure = unsure

    def evaluate(self) -> tuple[Floats, Floats, Floats]:
        """Give average precision and recall by size and threshold, and the recall of the first boxes of an image."""
        bounds = SIZES.values()
        left_out = [self.crowd | (self.labelled_area < low) | (self.labelled_area > high) for low, high in bounds]
        hit, ignored = self._compare(np.array(left_out))
        for place, (low, high) in enumerate(bounds):
            outside = (self.area < low) | (self.area > high) | self.unsure
            ignored[place] |= ~hit[place] & outside
        positives = [int((~one).sum()) for one in left_out]
        early = np.full((len(EARLY), len(_THRESHOLDS)), np.nan)
        if positives[0]:
            rank = np.arange(len(self.images)) - np.searchsorted(self.images, self.images)
            right = hit[0] & ~ignored[0]
            early[:] = [right[:, rank < number].sum(axis=1) / positives[0] for number in EARLY]
        order = np.argsort(-self.scores, kind="stable")
        curves = [
            _average(hit[place][:, order], ignored[place][:, order], number) for place, number in enumerate(positives)
        ]
        return np.array([ap for ap, _ in curves]), np.array([recall for _, recall in curves]), early

    def _compare(self, left_out: Bools) -> tuple[Bools, Bools]:
        """Match boxes image by image.

        Args:
            left_out: which labelled boxes (sizes, labelled) do not count.

        Returns:
            Which found boxes (sizes, thresholds, found) are matched, and which are matched with one that does not
            count.
        """
        hit = np.zeros((len(left_out), len(_THRESHOLDS), len(self.images)), bool)
        ignored = np.zeros_like(hit)
        for here, there in self._shared():
            crowd = self.crowd[there]
            overlaps = _overlaps(self.bbox[here], self.labelled_bbox[there], crowd)
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
        return hit, ignored

    def _shared(self) -> Iterator[tuple[slice, slice]]:
        """Give the found and the labelled boxes of each image that has both."""
        images = np.intersect1d(self.images, self.labelled_images)
        ends = zip(
            np.searchsorted(self.images, images, "left").tolist(),
            np.searchsorted(self.images, images, "right").tolist(),
            np.searchsorted(self.labelled_images, images, "left").tolist(),
            np.searchsorted(self.labelled_images, images, "right").tolist(),
            strict=True,
        )
        for begin, end, labelled_begin, labelled_end in ends:
            yield slice(begin, end), slice(labelled_begin, labelled_end)


def _overlaps(found: Floats, labelled: Floats, crowd: Bools) -> Floats:
    """Give the IoU (found, labelled) of boxes; for a crowd, the share of the found box that it covers."""
    low = np.maximum(found[:, None, :2], labelled[None, :, :2])
    high = np.minimum(found[:, None, :2] + found[:, None, 2:], labelled[None, :, :2] + labelled[None, :, 2:])
    sides = np.maximum(high - low, 0)
    shared = sides[..., 0] * sides[..., 1]
    area, labelled_area = found[:, 2] * found[:, 3], labelled[:, 2] * labelled[:, 3]
    union = np.where(crowd, area[:, None], area[:, None] + labelled_area - shared)
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0))


def _match(overlaps: Floats, left_out: Sequence[bool], crowd: Sequence[bool]) -> Ints:
    """Match found boxes, the best first, each with the free labelled box that it overlaps most.

    One that counts is matched before one that is left out, and a crowd with any number of boxes.

    Returns:
        The labelled box (thresholds, found) that each is matched with, or -1.
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


def _average(hit: Bools, ignored: Bools, positives: int) -> tuple[Floats, Floats]:
    """Give average precision (thresholds,) over 101 recalls, and the highest recall, of boxes sorted by score."""
    if not positives:
        return np.full(len(_THRESHOLDS), np.nan), np.full(len(_THRESHOLDS), np.nan)
    if not hit.shape[1]:
        return np.zeros(len(_THRESHOLDS)), np.zeros(len(_THRESHOLDS))
    right = np.cumsum(hit & ~ignored, axis=1, dtype=float)
    wrong = np.cumsum(~hit & ~ignored, axis=1, dtype=float)
    recall = right / positives
    precision = right / (right + wrong + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    beyond = np.zeros((len(precision), 1))
    padded = np.concatenate([precision, beyond], axis=1)
    ap = [padded[level, np.searchsorted(recall[level], _RECALLS)].mean() for level in range(len(recall))]
    return np.array(ap), recall[:, -1]
