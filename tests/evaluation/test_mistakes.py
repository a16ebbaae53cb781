"""What is right, wrong, missed and confused is what is counted by hand."""

import numpy as np
import pytest

from dinox_mcp.evaluation.labelled import Found, Truth
from dinox_mcp.evaluation.mistakes import SCORES, Mistakes
from dinox_mcp.evaluation.precision import COCO, evaluate

CAT, DOG, COW = 0, 1, 2
HERE, THERE, FAR = [10, 10, 50, 50], [100, 100, 40, 40], [300, 300, 20, 20]
LABELLED = [(0, CAT, HERE), (0, DOG, THERE), (1, CAT, HERE), (2, COW, FAR)]
FOUND = [
    (0, CAT, HERE, 0.9),  # right
    (0, CAT, THERE, 0.8),  # a dog
    (0, COW, FAR, 0.7),  # nothing
    (1, CAT, HERE, 0.3),  # right, if that is enough
]


@pytest.fixture
def mistakes() -> Mistakes:
    image, category, bbox = zip(*LABELLED, strict=True)
    empty = np.zeros((0, 2), int)
    boxes = np.array(image), np.array(category), np.array(bbox, float)
    truth = Truth(*boxes, 3, 3, np.full(4, 2000.0), np.zeros(4, bool), empty, empty)
    image, category, bbox, score = zip(*FOUND, strict=True)
    found = Found(np.array(image), np.array(category), np.array(bbox, float), np.array(score), np.full(4, 2000.0))
    return Mistakes(truth, found, evaluate(truth, found, COCO).matches, 0.5)


def test_a_threshold_decides_what_is_right_wrong_and_missed(mistakes: Mistakes) -> None:
    assert mistakes.right.tolist() == [0]
    assert sorted(mistakes.wrong.tolist()) == [1, 2]
    assert mistakes.missed.tolist() == [1, 2, 3]


def test_precision_and_recall_follow_the_threshold(mistakes: Mistakes) -> None:
    curves = mistakes.by_score()
    low, high, none = (int(np.searchsorted(SCORES, score)) for score in (0.2, 0.85, 0.95))
    assert (curves["precision"][low], curves["recall"][low], curves["F1"][low]) == (0.5, 0.5, 0.5)
    assert (curves["precision"][high], curves["recall"][high]) == (1, 0.25)
    assert np.isnan(curves["precision"][none])


def test_an_object_found_under_another_name_at_the_same_place_is_a_confusion(mistakes: Mistakes) -> None:
    confusion = mistakes.confusion(2)
    assert confusion.categories.tolist() == [CAT, COW], "with most mistakes; the dog is among the others"
    assert confusion.table.tolist() == [
        [1, 0, 0, 1],  # cat: one right, one not found
        [0, 0, 0, 1],  # cow: not found
        [1, 0, 0, 0],  # others: the dog, found as a cat
        [0, 1, 0, 0],  # nothing, found as a cow
    ]


def test_the_image_with_most_mistakes_comes_first(mistakes: Mistakes) -> None:
    worst = mistakes.worst(2)
    assert [(one.image, len(one.wrong), len(one.missed)) for one in worst] == [(0, 2, 1), (1, 0, 1)]
    assert (worst[0].right.tolist(), worst[0].missed.tolist()) == ([0], [1])
