"""Detections of key frames become tracks: by position, appearance and what was read exactly."""

import numpy as np
import pytest

from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detection
from dinox_mcp.video import summary
from dinox_mcp.video.tracking import TimedDetection, Tracker, TrackHistory
from tests.video.tracks import SIZE, alike, box, code, track


def timed(time: float, bbox: Box) -> TimedDetection:
    return TimedDetection(time, Detection(label="car", bbox=bbox), np.ones(1))


def start(bbox: Box) -> TrackHistory:
    return TrackHistory(timed(0.0, bbox), first_key=0, margin_s=0.25)


def car(x: float, label: str = "car", score: float | None = 0.9) -> Detection:
    return Detection(label=label, bbox=box(x), score=score)


def marker(number: int, x: float = 0) -> Detection:
    return Detection(label="marker", bbox=box(x), score=0.95, text=f"DICT_4X4_50 id {number}")


def lefts(tracker: Tracker) -> dict[int | None, list[float]]:
    """Give the left edges of the detections of each track, by numbers."""
    return {one.id: [timed.detection.bbox[0] for timed in one.detections] for one in tracker.confirmed()}


def texts(tracker: Tracker) -> list[tuple[str | None, float, float]]:
    """Give the text, the first and the last time of each track."""
    tracks = summary.describe_tracks(tracker.confirmed(), [number / 10 for number in range(200)], SIZE)
    return [(one.text, one.first_s, one.last_s) for one in tracks]


def test_objects_that_meet_and_go_on_keep_their_numbers() -> None:
    tracker = track(*([car(60 * key), car(400 - 60 * key)] for key in range(7)))
    assert lefts(tracker) == {1: [60.0 * key for key in range(7)], 2: [400 - 60.0 * key for key in range(7)]}


def test_the_order_in_which_a_backend_lists_objects_does_not_matter() -> None:
    tracker = track([car(0), car(200)], [car(210), car(10)], [car(20), car(220)])
    assert sorted(lefts(tracker).values()) == [[0, 10, 20], [200, 210, 220]]


def test_labels_are_tracked_apart() -> None:
    tracker = track([car(0, "car"), car(5, "truck")], [car(0, "truck"), car(5, "car")])
    assert [(one.label, len(one.detections)) for one in tracker.confirmed()] == [("car", 2), ("truck", 2)]


def test_an_object_that_is_hidden_for_less_than_two_seconds_is_the_same_afterwards() -> None:
    (one,) = track([car(0)], [car(30)], [car(60)], [], [], [], [car(180)]).confirmed()
    assert one.box(2.25) == pytest.approx(box(135))


def test_an_object_that_is_hidden_for_longer_is_another_one() -> None:
    assert list(lefts(track([car(0)], [car(0)], [], [], [], [], [], [car(0)], [car(0)]))) == [1, 2]


def test_a_weak_detection_at_a_single_key_frame_is_a_mistake() -> None:
    tracker = track([car(0), car(300, score=0.3)], [car(5)], [car(10)], [], [], [], [], [])
    assert (list(lefts(tracker)), tracker.dropped) == ([1], 1)


@pytest.mark.parametrize("score", [0.5, None])
def test_a_sure_detection_at_a_single_key_frame_counts(score: float | None) -> None:
    assert len(track([car(300, score=score)], [], [], [], [], [], []).confirmed()) == 1


def test_at_a_single_key_frame_everything_counts() -> None:
    tracker = Tracker(1.0, single=True)
    tracker.update(0.0, [car(0, score=0.3)], alike)
    assert len(tracker.confirmed()) == 1


def test_two_mistakes_far_apart_do_not_make_a_track() -> None:
    assert track([car(0, score=0.3)], [car(90, score=0.3)], [], [], [], [], [], []).confirmed() == []


def test_the_second_box_on_an_object_is_not_a_second_object() -> None:
    assert list(lefts(track([car(0), car(2)], [car(4), car(5)]))) == [1]


def test_numbers_follow_the_order_of_appearance() -> None:
    tracker = track([car(0, "car")], [car(0, "car"), car(300, "person")], [car(300, "person"), car(150, "bus")])
    assert {one.id: one.label for one in tracker.confirmed()} == {1: "car", 2: "person", 3: "bus"}


def test_appearance_tells_objects_apart_that_cross() -> None:
    red, blue = np.eye(2)
    tracker = Tracker(0.5)
    tracker.update(0.0, [car(290), car(310)], lambda boxes: np.array([red, blue][: len(boxes)]))
    tracker.update(0.5, [car(290), car(310)], lambda boxes: np.array([blue, red][: len(boxes)]))
    tracker.number(1)
    assert lefts(tracker) == {1: [290, 310], 2: [310, 290]}


@pytest.mark.parametrize(("first", "second"), [(code("A"), code("B")), (marker(1), marker(2))])
def test_two_contents_at_one_position_are_two_tracks(first: Detection, second: Detection) -> None:
    assert texts(track([first], [first], [second], [second])) == [(first.text, 0.0, 0.5), (second.text, 1.0, 1.5)]


def test_contents_that_swap_positions_between_key_frames_keep_their_tracks() -> None:
    tracker = track([code("A", 0), code("B", 60)], [code("A", 60), code("B", 0)])
    assert texts(tracker) == [("A", 0.0, 0.5), ("B", 0.0, 0.5)]


@pytest.mark.parametrize("away", [2, 10])
def test_a_content_that_comes_back_elsewhere_is_the_same_object(away: int) -> None:
    tracker = track([code("A")], *[[]] * away, [code("A", 700)], [code("A", 710)])
    assert texts(tracker) == [("A", 0.0, (away + 2) * 0.5)]


def test_equal_contents_side_by_side_are_as_many_objects() -> None:
    assert texts(track(*[[code("A", 0), code("A", 300)]] * 3)) == [("A", 0.0, 1.0), ("A", 0.0, 1.0)]


def test_a_track_has_the_content_that_was_read_later() -> None:
    assert texts(track([code(None)], [code(None, 5)], [code("A", 10)], [code(None, 15)])) == [("A", 0.0, 1.5)]


def test_a_code_that_comes_back_unread_and_is_read_then_is_one_track() -> None:
    tracker = track([code("A")], *[[]] * 10, [code(None, 300)], [code(None, 305)], [code("A", 310)])
    assert texts(tracker) == [("A", 0.0, 6.5)]


def test_a_number_that_was_given_before_the_content_was_read_is_known() -> None:
    tracker = track([code("A")], *[[]] * 10, *[[code(None, 300)]] * 8, [code("A", 300)])
    assert texts(tracker) == [("A", 0.0, 9.5)]
    assert tracker.renumbered == [(2, 1)]


def test_recognized_text_identifies_nothing() -> None:
    lines = [
        Detection(label="text", bbox=box(0), score=score, text=text) for score, text in [(0.7, "EXlT"), (0.9, "EXIT")]
    ]
    assert texts(track([lines[0]], [lines[1]], [lines[0]])) == [("EXIT", 0.0, 1.0)]


def test_the_path_in_the_pixels_is_bent_to_end_at_the_next_detection() -> None:
    track = start(box(0))
    track.followed = [(0.25, box(10, 80)), (0.5, box(20, 60)), (0.75, box(30, 80)), (1.0, box(40))]
    track.extend(timed(1.0, box(44)))
    assert track.box(0.5) == pytest.approx(box(22, 60))


def test_a_single_detection_is_in_the_video_for_a_margin_around_it() -> None:
    track = start(box(0))
    assert track.box(0.2) == box(0)
    assert track.box(0.3) is None


def test_followed_boxes_are_dropped_and_detected_ones_kept() -> None:
    track = start(box(0))
    track.followed = [(0.25, box(99)), (0.5, box(30))]
    track.extend(timed(0.5, box(30)))
    assert track.box(0.25) == pytest.approx(box(99))
    track.drop_followed_boxes(0.5)
    assert track.box(0.25) == pytest.approx(box(15))
