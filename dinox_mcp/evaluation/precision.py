"""Average precision and recall of boxes, masks and keypoints, by the rules of COCO and of LVIS.

The figures equal those of pycocotools and of lvis. Only images that hold a labelled or a found object of a category are
visited for it, which takes a quarter of their memory where there are many categories.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dinox_mcp.evaluation.labelled import Bools, Floats, Found, Ints, Iou, Truth
from dinox_mcp.evaluation.matching import EARLY, RECALLS, SIZES, THRESHOLDS, match_category

_AP50, _AP75 = 0, 5


@dataclass(frozen=True, slots=True)
class Rules:
    """How a data set is evaluated.

    Attributes:
        name: what a report calls the rules.
        per_image_and_category: the best objects of each image and category that count; None for all.
        per_image: the best objects of each image that count, over all categories.
        per_category: the best objects of each category that count, over all images.
        federated: a category counts only in images in which it is labelled or known to be absent (LVIS).
    """

    name: str
    per_image_and_category: int | None = None
    per_image: int | None = None
    per_category: int | None = None
    federated: bool = False


COCO = Rules("COCO, best 100 of each image and category", per_image_and_category=100)
COCO_KEYPOINTS = Rules("COCO, best 20 of each image and category", per_image_and_category=20)
LVIS = Rules("LVIS, best 300 of each image", per_image=300, federated=True)
LVIS_FIXED = Rules("LVIS fixed AP, best 10,000 of each category", per_category=10_000, federated=True)


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """What each found object that counts is matched with at an overlap of 0.5.

    An object is matched as if those that score less had not been found, so this holds for any threshold of scores. (Of
    poses it may not, as thresholds are of the scores of boxes.)

    Attributes:
        found: the positions (n,) of the found objects.
        labelled: the position (n,) of the labelled object of each, or -1.
        ignored: whether each (n,) counts neither for nor against.
    """

    found: Ints
    labelled: Ints
    ignored: Bools


@dataclass(frozen=True, eq=False)
class Precision:
    """The figures of each category; NaN where no object of that size is labelled.

    Attributes:
        ap: average precision (categories, sizes, thresholds).
        recall: highest recall, likewise.
        early: recall (categories, numbers of best objects, thresholds) for `EARLY`.
        curves: precision (categories, thresholds, recalls) of objects of all sizes at `RECALLS`.
        labelled: the number (categories,) of labelled objects, without those that are left out.
        found: the number (categories,) of found objects that count.
        matches: what the found objects are matched with.
    """

    ap: Floats
    recall: Floats
    early: Floats
    curves: Floats
    labelled: Ints
    found: Ints
    matches: Matches

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

    def figures_of(self, iou: Iou) -> dict[str, float | None]:
        """Give the figures that COCO has for what is compared: those of keypoints are others."""
        if iou != "keypoints":
            return self.figures
        more = {"AR50": mean(self.recall[:, 0, _AP50]), "AR75": mean(self.recall[:, 0, _AP75])}
        names = "AP", "AP50", "AP75", "AP medium", "AP large", "AR", "AR50", "AR75", "AR medium", "AR large"
        return {name: (self.figures | more)[name] for name in names}

    def of(self, categories: Sequence[int]) -> tuple[float | None, float | None, float | None]:
        """Give AP, AP50 and recall of some categories together."""
        chosen = list(categories)
        return mean(self.ap[chosen, 0]), mean(self.ap[chosen, 0, _AP50]), mean(self.recall[chosen, 0])


def mean(values: Floats) -> float | None:
    """Average what is not NaN; None if there is nothing."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else None


def evaluate(truth: Truth, found: Found, rules: Rules = COCO) -> Precision:
    """Compare found objects with labelled ones.

    Args:
        truth: the labelled objects.
        found: the found objects; of equal scores the one that comes first counts as the better one.
        rules: how to compare.
    """
    kept = _kept(truth, found, rules)
    kept = kept[np.lexsort((-found.score[kept], found.image[kept], found.category[kept]))]
    found = found.take(kept)
    order = np.lexsort((truth.image, truth.category))
    places = np.arange(truth.categories + 1)
    found_ends = np.searchsorted(found.category, places)
    truth_ends = np.searchsorted(truth.category[order], places)
    partial = _keys(truth.partial[:, 0], truth.partial[:, 1], truth.images) if rules.federated else np.zeros(0, int)
    shape = (truth.categories, len(SIZES), len(THRESHOLDS))
    ap, recall = np.full(shape, np.nan), np.full(shape, np.nan)
    early = np.full((truth.categories, len(EARLY), len(THRESHOLDS)), np.nan)
    curves = np.full((truth.categories, len(THRESHOLDS), len(RECALLS)), np.nan)
    matched = np.full(len(kept), -1)
    ignored = np.isin(_keys(found.image, found.category, truth.images), partial)
    for category in range(truth.categories):
        labelled = order[truth_ends[category] : truth_ends[category + 1]]
        if not len(labelled):
            continue
        here = slice(found_ends[category], found_ends[category + 1])
        figures = match_category(truth.take(labelled), found.take(here), ignored[here])
        ap[category], recall[category], early[category], curves[category] = figures[:4]
        matched[here] = np.where(figures[4] >= 0, labelled[figures[4]], -1)
        ignored[here] = figures[5]
    counted = truth.category[~truth.left_out]
    return Precision(
        ap,
        recall,
        early,
        curves,
        np.bincount(counted, minlength=truth.categories),
        np.diff(found_ends).astype(int),
        Matches(kept, matched, ignored),
    )


def _keys(image: Ints, category: Ints, images: int) -> Ints:
    return category * images + image


def _kept(truth: Truth, found: Found, rules: Rules) -> Ints:
    """Give the positions of the found objects that count, in their order."""
    keys = _keys(found.image, found.category, truth.images)
    keep = np.ones(len(found), bool)
    for groups, most in (
        (keys, rules.per_image_and_category),
        (found.image, rules.per_image),
        (found.category, rules.per_category),
    ):
        if most is not None:
            keep &= _ranks(groups, found.score) < most
    if rules.federated:
        known = np.concatenate(
            [
                _keys(truth.image, truth.category, truth.images),
                _keys(truth.absent[:, 0], truth.absent[:, 1], truth.images),
            ]
        )
        keep &= np.isin(keys, known)
    return np.flatnonzero(keep)


def _ranks(groups: Ints, scores: Floats) -> Ints:
    """Give the rank of each object among those of its group, the best 0."""
    order = np.lexsort((-scores, groups))
    sorted_groups = groups[order]
    ranks = np.empty(len(groups), int)
    ranks[order] = np.arange(len(groups)) - np.searchsorted(sorted_groups, sorted_groups)
    return ranks
