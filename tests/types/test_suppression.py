"""Many boxes at once: overlaps, and which of them are kept."""

import time

import numpy as np
import pytest

from dinox_mcp.types.boxes import best_boxes, ious, shares

BOX = np.array([0.0, 0.0, 10.0, 10.0])
SAME, HALF, CORNER, APART = [0, 0, 10, 10], [0, 0, 5, 10], [5, 5, 15, 15], [20, 20, 30, 30]
BOXES = np.array([SAME, HALF, CORNER, APART], float)


def kept(boxes: list[list[float]], scores: list[float], classes: list[int], most: int = 100) -> list[int]:
    return best_boxes(np.array(boxes, float), np.array(scores), np.array(classes), 0.5, most).tolist()


def test_overlaps_are_told_over_the_union_and_over_the_smaller() -> None:
    assert ious(BOX, BOXES).tolist() == pytest.approx([1, 0.5, 25 / 175, 0])
    assert shares(BOX, BOXES).tolist() == pytest.approx([1, 1, 0.25, 0])


def test_of_boxes_at_one_place_the_best_is_kept() -> None:
    assert kept([SAME, SAME, APART], [0.4, 0.9, 0.5], [7, 7, 7]) == [1, 2]


def test_boxes_of_different_classes_never_suppress_each_other() -> None:
    assert kept([SAME, SAME], [0.4, 0.9], [1, 2]) == [1, 0]


def test_a_suppressed_box_suppresses_no_other() -> None:
    chain = [[0, 0, 10, 10], [0, 3, 10, 13], [0, 6, 10, 16]]
    assert kept(chain, [0.9, 0.8, 0.7], [0, 0, 0]) == [0, 2]


def test_no_more_than_wanted_are_kept_and_none_of_none() -> None:
    assert kept([SAME, APART, CORNER], [0.1, 0.2, 0.3], [0, 0, 0], most=2) == [2, 1]
    assert best_boxes(np.empty((0, 4)), np.empty(0), np.empty(0, int), 0.5, 10).tolist() == []


def test_thousands_of_boxes_take_no_second() -> None:
    random = np.random.default_rng(1)
    corners = random.uniform(0, 1000, (6000, 2))
    boxes = np.concatenate([corners, corners + random.uniform(5, 50, (6000, 2))], axis=1)
    start = time.process_time()
    assert len(best_boxes(boxes, random.uniform(size=6000), random.integers(0, 3, 6000), 0.5, 300)) == 300
    assert time.process_time() - start < 1
