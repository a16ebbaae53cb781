"""The best thresholds for counting: one for all labels, and one for each; and what they gain on other images.

A label with few objects has a threshold of its own only as far as its few images say so: its errors are added to those
of all labels, with the weight of some objects. The weight is the best one for images that are left out.

What is gained is measured on further images, which were used for neither.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from dinox_mcp.evaluation.labelled import Bools, Floats, Found, Ints
from dinox_mcp.evaluation.report import Tuned

FOLDS = 5
"""In turn, each of so many parts of the images is counted by the thresholds that the others gave."""
_THRESHOLDS: Floats = np.arange(1, 100) / 100
_WEIGHTS = (math.inf, 300.0, 100.0, 30.0, 10.0)
"""The weights that all labels may have in the threshold of one, in objects; with the first, all have the same."""
_NEAR = 1e-9


class CountErrorsByThreshold:
    """How many objects are counted wrongly at each threshold.

    Args:
        labelled: the labelled counts by the positions of image and category; other pairs are left out.
        found: what was found, also what scores little.
        images: the number of images.
        categories: the number of categories.
        least: the lowest score that was searched for.
    """

    def __init__(
        self, labelled: Mapping[tuple[int, int], int], found: Found, images: int, categories: int, least: float
    ) -> None:
        self.images = images
        self.thresholds = _THRESHOLDS[least - _NEAR <= _THRESHOLDS]
        groups: list[list[tuple[int, int]]] = [[] for _ in range(categories)]
        for (image, category), number in labelled.items():
            groups[category].append((image, number))
        order = np.argsort(found.category, kind="stable")
        ends = np.searchsorted(found.category[order], np.arange(categories + 1))
        self._errors = np.zeros((categories, FOLDS, len(self.thresholds)))
        self._labelled = np.zeros((categories, FOLDS))
        for category, group in enumerate(groups):
            here = order[ends[category] : ends[category + 1]]
            if not group:
                continue
            numbers = np.array([number for _, number in group])
            folds = np.array([image % FOLDS for image, _ in group])
            counts = self._counts([image for image, _ in group], found.image[here], found.threshold_score[here])
            np.add.at(self._errors[category], folds, np.abs(counts - numbers[:, None]))
            np.add.at(self._labelled[category], folds, numbers)

    @property
    def curve(self) -> Floats:
        """The objects that are counted wrongly in an image (thresholds,), of all labels."""
        return np.asarray(self._errors.sum(axis=(0, 1)) / self.images)

    @cached_property
    def labels(self) -> Mapping[int, float]:
        """The best threshold of each category that has labelled objects, by its position."""
        chosen = self._tuned(np.ones(FOLDS, bool))
        searched = np.flatnonzero(self._labelled.sum(axis=1)).tolist()
        return {place: float(self.thresholds[chosen[place]]) for place in searched}

    def tuned(self, own: float, names: Sequence[str]) -> Tuned:
        """Choose the best thresholds, and measure what they gain over the model's own one.

        Args:
            own: the model's own threshold.
            names: the names of the categories.
        """
        one = by_label = 0.0
        rows = np.arange(len(self._errors))
        for fold in range(FOLDS):
            others = np.arange(FOLDS) != fold
            best = _best(self._errors[:, others].sum(axis=(0, 1)))
            one += self._errors[:, fold, best].sum()
            by_label += self._errors[rows, fold, self._tuned(others)].sum()
        fitted = self._errors.sum(axis=1)[rows, self._tuned(np.ones(FOLDS, bool))].sum()
        place = min(int(np.searchsorted(self.thresholds, own - _NEAR)), len(self.thresholds) - 1)
        return Tuned(
            own_min_score=own,
            min_score=float(self.thresholds[_best(self._errors.sum(axis=(0, 1)))]),
            labels={names[place]: threshold for place, threshold in self.labels.items()},
            own=float(self._errors[:, :, place].sum()) / self.images,
            one=float(one) / self.images,
            by_label=float(by_label) / self.images,
            fitted=float(fitted) / self.images,
        )

    def _counts(self, images: Sequence[int], found_in: Ints, scores: Floats) -> Ints:
        """Count what scores at least each threshold (images, thresholds); of equal scores all count."""
        row_of = {image: row for row, image in enumerate(images)}
        rows = np.array([row_of.get(image, -1) for image in found_in.tolist()], int)
        reached = np.searchsorted(self.thresholds, scores + _NEAR, side="right")  # so many thresholds are reached
        counts = np.zeros((len(images), len(self.thresholds) + 1), int)
        known = rows >= 0
        np.add.at(counts, (rows[known], reached[known]), 1)
        return np.asarray(counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:])

    def _tuned(self, folds: Bools) -> Ints:
        """Choose the place of the best threshold of each category, by the images of some folds."""
        rows, parts = np.arange(len(self._errors)), np.flatnonzero(folds)

        def left_out(weight: float) -> float:
            chosen = ((fold, self._chosen(folds & (np.arange(FOLDS) != fold), weight)) for fold in parts)
            return float(sum(self._errors[rows, fold, places].sum() for fold, places in chosen))

        return self._chosen(folds, min(_WEIGHTS, key=left_out))

    def _chosen(self, folds: Bools, weight: float) -> Ints:
        """Choose the same, with a weight of all labels."""
        errors = self._errors[:, folds].sum(axis=1)
        labelled = self._labelled[:, folds].sum()
        of_all = errors.sum(axis=0) / max(labelled, 1)
        if math.isinf(weight):
            return np.full(len(errors), _best(of_all))
        return np.array([_best(own + weight * of_all) for own in errors], int)


def _best(errors: Floats) -> int:
    """Give the place of the lowest error; of several side by side, the middle one."""
    lowest = np.flatnonzero(errors <= errors.min() + _NEAR)
    first_run = lowest[: np.flatnonzero(np.diff(np.append(lowest, lowest[-1] + 2)) > 1)[0] + 1]
    return int(first_run[len(first_run) // 2])
