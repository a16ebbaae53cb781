"""What is right, wrong and missed at a threshold: by score, by pairs of categories, and by image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dinox_mcp.evaluation.labelled import Floats, Found, Ints, Truth
from dinox_mcp.evaluation.precision import Matches
from dinox_mcp.evaluation.shapes import of_boxes

SCORES: Floats = np.arange(1, 100) / 100
_SAME_PLACE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Which categories are taken for which.

    Attributes:
        categories: the positions (n,) of the categories, most mistakes first.
        table: labelled as (rows) and found as (columns) of these categories, then of all others (n + 1), and what is
            missed or stands where nothing is labelled (n + 2).
    """

    categories: Ints
    table: Ints


@dataclass(frozen=True, slots=True, eq=False)
class ImageMistakes:
    """The mistakes in an image: positions of found objects that are right and wrong, and of missed labelled ones."""

    image: int
    right: Ints
    wrong: Ints
    missed: Ints


class Mistakes:
    """What is right, wrong and missed if only what scores at least `least` is given.

    Args:
        truth: what is labelled.
        found: what was found.
        matches: how these are matched.
        least: the threshold.
    """

    def __init__(self, truth: Truth, found: Found, matches: Matches, least: float) -> None:
        self.truth, self.found, self._matches = truth, found, matches
        self._counts = ~truth.left_out
        given = found.threshold_score[matches.found] >= least
        counted = given & ~matches.ignored
        self.right = matches.found[counted & (matches.labelled >= 0)]
        self.wrong = matches.found[counted & (matches.labelled < 0)]
        self._taken = matches.labelled[counted & (matches.labelled >= 0)]
        missed = self._counts.copy()
        missed[self._taken] = False
        self.missed = np.flatnonzero(missed)

    def by_score(self) -> dict[str, Floats]:
        """Give precision, recall and F1 (scores,) of all objects together, at each of `SCORES` as the threshold."""
        matches = self._matches
        scores = self.found.threshold_score[matches.found]
        hit = ~matches.ignored & (matches.labelled >= 0)
        right = _reaching(scores[hit])
        every = _reaching(scores[~matches.ignored])
        labelled = max(int(self._counts.sum()), 1)
        precision = np.divide(right, every, out=np.full(len(SCORES), np.nan), where=every > 0)
        return {"precision": precision, "recall": right / labelled, "F1": 2 * right / np.maximum(every + labelled, 1)}

    def confusion(self, most: int) -> Confusion:
        """Give the table of the `most` categories with most mistakes.

        A missed object and a wrong one at the same place, by their boxes, are one confusion.
        """
        truth, found = self.truth, self.found
        pairs = self._same_place()
        labelled = np.concatenate([truth.category[self._taken], truth.category[pairs[:, 0]]])
        as_found = np.concatenate([found.category[self.right], found.category[pairs[:, 1]]])
        alone_missed = truth.category[np.setdiff1d(self.missed, pairs[:, 0])]
        alone_wrong = found.category[np.setdiff1d(self.wrong, pairs[:, 1])]
        mistakes = np.bincount(truth.category[self.missed], minlength=self.truth.categories)
        mistakes += np.bincount(found.category[self.wrong], minlength=self.truth.categories)
        order = np.argsort(-mistakes, kind="stable")
        chosen = order[mistakes[order] > 0][:most]
        row_of = np.full(self.truth.categories, len(chosen))
        row_of[chosen] = np.arange(len(chosen))
        nothing = len(chosen) + 1
        table = np.zeros((nothing + 1, nothing + 1), int)
        np.add.at(table, (row_of[labelled], row_of[as_found]), 1)
        table[:, nothing] = np.bincount(row_of[alone_missed], minlength=nothing + 1)
        table[nothing] = np.bincount(row_of[alone_wrong], minlength=nothing + 1)
        return Confusion(chosen, table)

    def worst(self, most: int) -> list[ImageMistakes]:
        """Give the images with most mistakes, the worst first."""
        truth, found = self.truth, self.found
        mistakes = np.bincount(truth.image[self.missed], minlength=self.truth.images)
        mistakes += np.bincount(found.image[self.wrong], minlength=self.truth.images)
        order = np.argsort(-mistakes, kind="stable")[:most]
        return [
            ImageMistakes(
                image,
                self.right[found.image[self.right] == image],
                self.wrong[found.image[self.wrong] == image],
                self.missed[truth.image[self.missed] == image],
            )
            for image in order[mistakes[order] > 0].tolist()
        ]

    def _same_place(self) -> Ints:
        """Pair missed objects with wrong ones at the same place (pairs, 2), those that score highest first."""
        truth, found = self.truth, self.found
        missed = self.missed[np.argsort(truth.image[self.missed], kind="stable")]
        wrong = self.wrong[np.lexsort((-self.found.score[self.wrong], found.image[self.wrong]))]
        missed_in, wrong_in = truth.image[missed], found.image[wrong]
        pairs: list[tuple[int, int]] = []
        for image in np.intersect1d(missed_in, wrong_in).tolist():
            here = missed[np.searchsorted(missed_in, image) : np.searchsorted(missed_in, image, "right")]
            there = wrong[np.searchsorted(wrong_in, image) : np.searchsorted(wrong_in, image, "right")]
            overlaps = of_boxes(found.bbox[there], truth.bbox[here], np.zeros(len(here), bool))
            pairs += _paired(overlaps, here.tolist(), there.tolist())
        return np.array(pairs, int).reshape(-1, 2)


def _reaching(scores: Floats) -> Ints:
    """Count the scores that reach each of `SCORES`."""
    return len(scores) - np.searchsorted(np.sort(scores), SCORES)


def _paired(overlaps: Floats, labelled: Sequence[int], found: Sequence[int]) -> list[tuple[int, int]]:
    """Give each found object, in their order, the free labelled one that it overlaps most."""
    pairs = []
    for row, position in zip(overlaps, found, strict=True):
        best = int(row.argmax())
        if row[best] >= _SAME_PLACE:
            pairs.append((labelled[best], position))
            overlaps[:, best] = 0
    return pairs
