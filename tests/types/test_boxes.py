import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dinox_mcp.types.boxes import Box, area, around, best_boxes, clip, intersection, iou, ious, scale, shares, suppress
from dinox_mcp.types.detection import Detection

numbers = st.floats(-1000, 1000)
any_boxes = st.tuples(numbers, numbers, numbers, numbers)
boxes = any_boxes.map(lambda box: (*map(min, box[:2], box[2:]), *map(max, box[:2], box[2:])))


@given(any_boxes, st.floats(1, 500), st.floats(1, 500))
def test_a_clipped_box_lies_in_the_picture_with_its_corners_in_order(box: Box, width: float, height: float) -> None:
    x1, y1, x2, y2 = clip(box, width, height)
    assert 0 <= x1 <= x2 <= width
    assert 0 <= y1 <= y2 <= height
    assert clip((x1, y1, x2, y2), width, height) == (x1, y1, x2, y2), "clipping twice changes nothing"


@given(boxes, st.floats(0.1, 10), st.floats(0.1, 10))
def test_scaling_scales_the_area_by_both_factors_and_can_be_undone(box: Box, x: float, y: float) -> None:
    scaled = scale(box, x, y)
    assert scale(scaled, 1 / x, 1 / y) == pytest.approx(box)
    assert area(scaled) == pytest.approx(area(box) * x * y, abs=1e-6)


@given(boxes, boxes)
def test_intersection_is_symmetric_and_within_both_and_so_is_the_iou(a: Box, b: Box) -> None:
    shared = intersection(a, b)
    assert shared == intersection(b, a)
    assert 0 <= shared <= min(area(a), area(b)) * (1 + 1e-12)
    assert 0 <= iou(a, b) <= 1 + 1e-9
    assert iou(a, a) == pytest.approx(1 if area(a) > 0 else 0)


def test_iou_of_half_overlapping_boxes() -> None:
    assert iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert iou((0, 0, 1, 1), (1, 0, 2, 1)) == 0


def test_an_inverted_box_has_no_area() -> None:
    assert area((5, 5, 1, 9)) == 0


@given(st.lists(st.tuples(numbers, numbers), min_size=1))
def test_points_lie_in_the_box_around_them(points: list[tuple[float, float]]) -> None:
    x1, y1, x2, y2 = around(points)
    assert all(x1 <= x <= x2 and y1 <= y <= y2 for x, y in points)
    assert {x1, x2} <= {x for x, _ in points}


def found(label: str, bbox: Box, score: float | None = None) -> Detection:
    return Detection(label=label, bbox=bbox, score=score)


def test_suppression_keeps_the_best_of_each_heap() -> None:
    best, copy, far = (
        found("cat", (0, 0, 10, 10), 0.9),
        found("cat", (1, 0, 11, 10), 0.8),
        found("cat", (50, 0, 60, 10), 0.3),
    )
    assert suppress([far, copy, best], 0.5) == [best, far]


def test_suppression_leaves_other_labels_alone() -> None:
    cat, dog = found("cat", (0, 0, 10, 10), 0.9), found("dog", (0, 0, 10, 10), 0.8)
    assert suppress([cat, dog], 0.5) == [cat, dog]


def test_an_object_without_a_score_counts_as_certain() -> None:
    sure, guess = found("text", (0, 0, 10, 10)), found("text", (0, 0, 10, 10), 0.99)
    assert suppress([guess, sure], 0.5) == [sure]


@given(
    st.lists(st.builds(found, st.sampled_from(["cat", "dog"]), boxes, st.none() | st.floats(0, 1)), max_size=8),
    st.floats(0, 1),
)
@example([found("cat", (-5e-245, -1, 0, 0)), found("cat", (-1, -1, 0, 0))], 0.0)  # as thin as a float can be
def test_what_is_left_does_not_overlap_and_covers_what_is_gone(objects: list[Detection], limit: float) -> None:
    kept = suppress(objects, limit)
    for index, one in enumerate(kept):
        assert all(one.label != other.label or iou(one.bbox, other.bbox) <= limit for other in kept[:index])
    for gone in (one for one in objects if one not in kept):
        assert any(gone.label == other.label and iou(gone.bbox, other.bbox) > limit for other in kept)


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


def test_of_thousands_of_boxes_as_many_as_wanted_are_kept() -> None:
    random = np.random.default_rng(1)
    corners = random.uniform(0, 1000, (6000, 2))
    boxes = np.concatenate([corners, corners + random.uniform(5, 50, (6000, 2))], axis=1)
    assert len(best_boxes(boxes, random.uniform(size=6000), random.integers(0, 3, 6000), 0.5, 300)) == 300
