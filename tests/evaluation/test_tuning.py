"""Thresholds for counting are the best ones, and their gain is that on images that they were not tuned on."""

import numpy as np
import pytest

from dinox_mcp.evaluation.labelled import Found
from dinox_mcp.evaluation.tuning import CountErrorsByThreshold

Counts = dict[tuple[int, int], int]
CAT, DOG = 0, 1
NAMES = ["cat", "dog"]


def found_of(*rows: tuple[int, int, float]) -> Found:
    """Make found objects of image, category and score."""
    image, category, score = (np.array(column) for column in zip(*rows, strict=True))
    return Found(image, category, np.zeros((len(rows), 4)), score, np.zeros(len(rows)))


def scene(images: int = 20) -> tuple[Counts, Found]:
    """Two cats above 0.8 and a wrong one at 0.6 in each image; five dogs above 0.4 and a wrong one at 0.2."""
    labelled: Counts = {}
    rows = []
    for image in range(images):
        labelled |= {(image, CAT): 2, (image, DOG): 5}
        rows += [(image, CAT, score) for score in (0.85, 0.9, 0.6)]
        rows += [(image, DOG, score) for score in (0.45, 0.5, 0.55, 0.7, 0.8, 0.2)]
    return labelled, found_of(*rows)


def test_each_label_has_the_threshold_that_counts_it_best() -> None:
    errors = CountErrorsByThreshold(*scene(), images=20, categories=2, least=0.01)
    assert 0.6 < errors.labels[CAT] <= 0.85
    assert 0.2 < errors.labels[DOG] <= 0.45
    assert 0.2 < errors.tuned(0.5, NAMES).min_score <= 0.45, "a wrong cat costs less than the dogs"


def test_the_errors_are_those_that_are_counted_by_hand() -> None:
    errors = CountErrorsByThreshold(*scene(), images=20, categories=2, least=0.01)
    at = dict(zip(errors.thresholds.round(2).tolist(), errors.curve.tolist(), strict=True))
    assert [at[threshold] for threshold in (0.1, 0.2, 0.21, 0.45, 0.46, 0.6, 0.61, 0.99)] == [2, 2, 1, 1, 2, 4, 3, 7]


def test_the_gain_is_measured_on_other_images() -> None:
    gain = CountErrorsByThreshold(*scene(), images=20, categories=2, least=0.01).tuned(0.5, NAMES)
    assert gain.own == pytest.approx(2), "a cat too many and a dog too few"
    assert gain.one == pytest.approx(1)
    assert gain.by_label == gain.fitted == pytest.approx(0)


def test_what_only_chance_explains_gains_nothing_on_other_images() -> None:
    random = np.random.default_rng(3)
    rows = [(image, CAT, float(random.random())) for image in range(30) for _ in range(4)]
    labelled = {(image, CAT): int(random.integers(0, 5)) for image in range(30)}
    gain = CountErrorsByThreshold(labelled, found_of(*rows), 30, 1, 0.01).tuned(0.5, NAMES)
    assert gain.fitted < gain.own
    assert gain.by_label > gain.fitted


def test_a_label_with_few_objects_follows_the_others() -> None:
    labelled, found = scene()
    labelled |= {(0, 2): 1}
    rows = zip(found.image.tolist(), found.category.tolist(), found.score.tolist(), strict=True)
    errors = CountErrorsByThreshold(labelled, found_of(*rows, (0, 2, 0.95), (0, 2, 0.9)), 20, 3, 0.01)
    assert errors.labels[2] == errors.tuned(0.5, [*NAMES, "cow"]).min_score


def test_nothing_is_known_below_the_lowest_score_that_was_searched_for() -> None:
    assert CountErrorsByThreshold(*scene(), images=20, categories=2, least=0.35).thresholds[0] == pytest.approx(0.35)
