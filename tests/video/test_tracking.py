import numpy as np
import pytest

from dinox_mcp.types.boxes import Box, iou
from dinox_mcp.types.detection import Detection
from dinox_mcp.video.track import Motion, looks, unlikeness
from dinox_mcp.video.tracking import Tracker, assign, closeness


def box(x: float, y: float = 100, size: float = 40) -> Box:
    return x, y, x + size, y + size


def seen(x: float, label: str = "car", score: float | None = 0.9) -> Detection:
    return Detection(label=label, bbox=box(x), score=score)


def alike(boxes: object) -> np.ndarray:  # type: ignore[type-arg]
    return np.ones((len(boxes), 1))  # type: ignore[arg-type]


def track(*keys: list[Detection], every_s: float = 0.5) -> Tracker:
    tracker = Tracker(every_s)
    for number, found in enumerate(keys):
        tracker.step(number * every_s, found, alike)
    tracker.settle(len(keys))
    return tracker


def ids(tracker: Tracker) -> dict[int | None, list[float]]:
    return {trail.id: [sighting.found.bbox[0] for sighting in trail.sightings] for trail in tracker.trails()}


def test_things_that_meet_and_go_on_keep_their_identities() -> None:
    tracker = track(*([seen(60 * key), seen(400 - 60 * key)] for key in range(7)))
    assert ids(tracker) == {1: [60.0 * key for key in range(7)], 2: [400 - 60.0 * key for key in range(7)]}


def test_the_order_in_which_a_backend_lists_things_does_not_matter() -> None:
    tracker = track([seen(0), seen(200)], [seen(210), seen(10)], [seen(20), seen(220)])
    assert sorted(ids(tracker).values()) == [[0, 10, 20], [200, 210, 220]]


def test_labels_are_tracked_apart() -> None:
    tracker = track([seen(0, "car"), seen(5, "truck")], [seen(0, "truck"), seen(5, "car")])
    assert [(trail.label, len(trail.sightings)) for trail in tracker.trails()] == [("car", 2), ("truck", 2)]


def test_a_thing_that_is_hidden_for_less_than_two_seconds_is_the_same_afterwards() -> None:
    tracker = track([seen(0)], [seen(30)], [seen(60)], [], [], [], [seen(180)], every_s=0.5)
    (trail,) = tracker.trails()
    assert trail.box(2.25, 0.25) == pytest.approx(box(135))


def test_a_thing_that_is_hidden_for_longer_is_another_one() -> None:
    tracker = track([seen(0)], [seen(0)], [], [], [], [], [], [seen(0)], [seen(0)])
    assert list(ids(tracker)) == [1, 2]


def test_a_weak_sighting_at_a_single_key_frame_is_a_mistake() -> None:
    tracker = track([seen(0), seen(300, score=0.3)], [seen(5)], [seen(10)], [], [], [], [], [])
    assert (list(ids(tracker)), tracker.dropped) == ([1], 1)


@pytest.mark.parametrize("score", [0.5, None])
def test_a_sure_sighting_at_a_single_key_frame_counts(score: float | None) -> None:
    assert len(track([seen(300, score=score)], [], [], [], [], [], []).trails()) == 1


def test_at_a_single_key_frame_everything_counts() -> None:
    tracker = Tracker(1.0, single=True)
    tracker.step(0.0, [seen(0, score=0.3)], alike)
    assert len(tracker.trails()) == 1


def test_two_mistakes_far_apart_do_not_make_a_track() -> None:
    assert track([seen(0, score=0.3)], [seen(90, score=0.3)], [], [], [], [], [], []).trails() == []


def test_the_second_box_on_a_thing_is_no_second_thing() -> None:
    assert list(ids(track([seen(0), seen(2)], [seen(4), seen(5)]))) == [1]


def test_numbers_follow_the_order_of_appearance() -> None:
    tracker = track([seen(0, "car")], [seen(0, "car"), seen(300, "person")], [seen(300, "person"), seen(150, "bus")])
    assert {trail.id: trail.label for trail in tracker.trails()} == {1: "car", 2: "person", 3: "bus"}


def test_things_are_where_the_pixels_led_between_key_frames() -> None:
    tracker = Tracker(1.0)
    tracker.step(0.0, [seen(0)], alike)
    up_and_back = [(0.25, box(10, 80)), (0.5, box(20, 60)), (0.75, box(30, 80)), (1.0, box(40))]
    tracker.step(1.0, [seen(44)], alike, [up_and_back])
    (trail,) = tracker.trails()
    assert trail.box(0.5, 0.5) == pytest.approx(box(22, 60))


def test_a_track_forgets_the_way_but_not_its_sightings() -> None:
    tracker = track([seen(0)], [seen(30)], [seen(60)])
    (trail,) = tracker.trails()
    trail.points.insert(1, (0.25, box(99)))
    trail.forget(0.5)
    assert trail.box(0.25, 0.25) == pytest.approx(box(15))


def test_looks_tell_things_apart_that_cross() -> None:
    red, blue = np.eye(2)
    tracker = Tracker(0.5)
    tracker.step(0.0, [seen(290), seen(310)], lambda boxes: np.array([red, blue][: len(boxes)]))
    tracker.step(0.5, [seen(290), seen(310)], lambda boxes: np.array([blue, red][: len(boxes)]))
    tracker.settle(1)
    assert ids(tracker) == {1: [290, 310], 2: [310, 290]}


def test_looks_are_the_colours_in_a_box() -> None:
    pixels = np.full((100, 300, 3), (200, 30, 30), np.uint8)
    pixels[:, 150:] = (30, 30, 200)
    red, also_red, blue, both, outside = looks(
        pixels, [(10, 10, 60, 60), (90, 20, 140, 90), (200, 10, 250, 60), (100, 0, 200, 100), (-50, -50, 0, 0)]
    )[:, None]
    assert unlikeness(red, also_red) == pytest.approx(0)
    assert unlikeness(red, blue) == pytest.approx(1)
    assert 0.3 < unlikeness(both, blue)[0, 0] < 0.7
    assert unlikeness(outside, red) == pytest.approx(0)


def test_pairs_are_chosen_for_the_least_sum_and_none_is_too_dear() -> None:
    costs = np.array([[1.0, 2.0, 9.0], [1.0, 9.0, 9.0], [9.0, 9.0, 9.0]])
    assert assign(costs, limit=5) == [(0, 1), (1, 0)]
    assert assign(costs.T, limit=5) == [(0, 1), (1, 0)]
    assert assign(np.zeros((0, 3)), limit=5) == []


def test_a_good_pair_is_not_given_up_for_two_poor_ones() -> None:
    assert assign(np.array([[0.1, 0.9], [0.9, 9.0]]), limit=1) == [(0, 0)]


def test_closeness_goes_on_where_overlap_ends() -> None:
    near, far = closeness([box(0)], [box(50), box(120)])[0]
    assert 0 > near > far > -1
    assert closeness([box(0)], [box(0)]) == pytest.approx(1)


def test_motion_is_learnt_from_what_is_seen() -> None:
    motion = Motion.at(0.0, box(0))
    for step in range(1, 6):
        motion.see(step * 0.5, box(30.0 * step))
    assert motion.velocity == pytest.approx((60, 0), abs=2)
    assert iou(motion.box(3.0), box(180)) > 0.9
