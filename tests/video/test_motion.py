"""How boxes move between key frames, what they look like, and which belong together."""

from itertools import permutations

import cv2
import numpy as np
import pytest

from dinox_mcp.types.boxes import iou
from dinox_mcp.video.motion import Motion, appearance_distances, appearances, assign, distance_ious, flow_size, follow
from tests.video.scenes import Scene, Thing, line
from tests.video.tracks import box


def test_motion_is_estimated_from_boxes() -> None:
    motion = Motion(0.0, box(0))
    for step in range(1, 6):
        motion.update(step * 0.5, box(30.0 * step))
    assert motion.velocity == pytest.approx((60, 0), abs=2)
    assert iou(motion.box(3.0), box(180)) > 0.9


def test_appearances_are_the_colours_in_a_box() -> None:
    pixels = np.full((100, 300, 3), (200, 30, 30), np.uint8)
    pixels[:, 150:] = (30, 30, 200)
    red, also_red, blue, both, outside = appearances(
        pixels, [(10, 10, 60, 60), (90, 20, 140, 90), (200, 10, 250, 60), (100, 0, 200, 100), (-50, -50, 0, 0)]
    )[:, None]
    assert appearance_distances(red, also_red) == pytest.approx(0)
    assert appearance_distances(red, blue) == pytest.approx(1)
    assert 0.3 < appearance_distances(both, blue)[0, 0] < 0.7
    assert appearance_distances(outside, red) == pytest.approx(0)


def test_a_box_is_followed_in_the_pixels_and_given_up_where_it_is_lost() -> None:
    scene = Scene([Thing("car", line(50, 60, 60), (40, 40)), Thing("car", line(200, 130, 0), (40, 40), last=0.15)])
    times = [number / 10 for number in range(6)]
    grays = [np.asarray(cv2.cvtColor(scene.draw(time), cv2.COLOR_RGB2GRAY), np.uint8) for time in times]
    moved, lost, unknown = follow(times, grays, [scene.things[0].box(0), scene.things[1].box(0), None], scene.size)
    assert moved is not None
    assert [time for time, _ in moved] == times[1:]
    assert moved[-1][1] == pytest.approx(scene.things[0].box(0.5), abs=2)
    assert lost is None
    assert unknown is None


def test_large_videos_are_followed_in_small_frames() -> None:
    assert flow_size((1920, 1080)) == (480, 270)
    assert flow_size((320, 180)) == (320, 180)


def test_pairs_have_the_least_total_cost_and_none_is_above_the_limit() -> None:
    costs = np.array([[1.0, 2.0, 9.0], [1.0, 9.0, 9.0], [9.0, 9.0, 9.0]])
    assert assign(costs, limit=5) == [(0, 1), (1, 0)]
    assert assign(costs.T, limit=5) == [(0, 1), (1, 0)]
    assert assign(np.zeros((0, 3)), limit=5) == []
    assert assign(np.full((2, 3), np.inf), limit=5) == []


def test_a_good_pair_is_not_given_up_for_two_poor_ones() -> None:
    assert assign(np.array([[0.1, 0.9], [0.9, 9.0]]), limit=1) == [(0, 0)]


def test_no_other_pairs_cost_less() -> None:
    chance, limit = np.random.default_rng(0), 2.0
    for _ in range(100):
        costs = chance.random(chance.integers(1, 5, 2)) * 3
        costs[chance.random(costs.shape) < 0.3] = np.inf
        saved = sum(limit - costs[pair] for pair in assign(costs, limit))
        rows, columns = costs.shape
        padded = np.full((rows, columns + rows), limit)  # a row may also stay without a pair
        padded[:, :columns] = np.minimum(costs, limit)
        least = min(sum(padded[range(rows), list(one)]) for one in permutations(range(columns + rows), rows))
        assert saved == pytest.approx(rows * limit - least)


def test_distance_iou_goes_on_where_overlap_ends() -> None:
    near, far = distance_ious([box(0)], [box(50), box(120)])[0]
    assert 0 > near > far > -1
    assert distance_ious([box(0)], [box(0)]) == pytest.approx(1)
