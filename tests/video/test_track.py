"""One track: its motion, its appearance and its boxes between detections."""

import numpy as np
import pytest

from dinox_mcp.types.boxes import Box, iou
from dinox_mcp.types.detection import Detection
from dinox_mcp.video.track import Motion, TrackHistory, appearance_distances, appearances
from tests.video.tracks import box


def start(bbox: Box) -> TrackHistory:
    return TrackHistory.start(0.0, Detection(label="car", bbox=bbox), np.ones(1), first_key=0, margin_s=0.25)


def test_motion_is_estimated_from_boxes() -> None:
    motion = Motion.at(0.0, box(0))
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


def test_the_path_in_the_pixels_is_bent_to_end_at_the_next_detection() -> None:
    track = start(box(0))
    track.followed = [(0.25, box(10, 80)), (0.5, box(20, 60)), (0.75, box(30, 80)), (1.0, box(40))]
    track.extend(1.0, Detection(label="car", bbox=box(44)), np.ones(1))
    assert track.box(0.5) == pytest.approx(box(22, 60))


def test_a_single_detection_is_in_the_video_for_a_margin_around_it() -> None:
    track = start(box(0))
    assert track.box(0.2) == box(0)
    assert track.box(0.3) is None


def test_followed_boxes_are_dropped_and_detected_ones_kept() -> None:
    track = start(box(0))
    track.followed = [(0.25, box(99)), (0.5, box(30))]
    track.extend(0.5, Detection(label="car", bbox=box(30)), np.ones(1))
    assert track.box(0.25) == pytest.approx(box(99))
    track.drop_followed_boxes(0.5)
    assert track.box(0.25) == pytest.approx(box(15))
