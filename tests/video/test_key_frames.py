"""Which frames the backend is asked about, and how boxes are followed between them."""

import cv2
import numpy as np
import pytest

from dinox_mcp.errors import InputError
from dinox_mcp.video.key_frames import flow_size, follow, plan_key_frames
from tests.video.scenes import Scene, Thing, line

TIMES = [number / 10 for number in range(41)]


@pytest.mark.parametrize(
    ("every_s", "most", "keys"),
    [
        (1.0, 60, (0, 10, 20, 30, 40)),
        (3.0, 60, (0, 20, 40)),
        (0.5, 3, (0, 20, 40)),
        (1.0, 1, (20,)),
    ],
)
def test_key_frames_are_even_and_include_the_first_and_the_last(
    every_s: float, most: int, keys: tuple[int, ...]
) -> None:
    plan = plan_key_frames(TIMES, every_s, most)
    assert plan.keys == keys
    assert plan.every_s == pytest.approx(2.0 if len(keys) == 3 else 1.0 if len(keys) == 5 else 4.0)


def test_more_key_frames_than_frames_are_all_frames() -> None:
    assert plan_key_frames(TIMES[:3], 0.001, 60).keys == (0, 1, 2)
    assert plan_key_frames([0.0], 0.5, 60).keys == (0,)


@pytest.mark.parametrize("every_s", [0, -1, float("nan")])
def test_a_time_that_is_not_positive_is_refused(every_s: float) -> None:
    with pytest.raises(InputError, match="choose the seconds from one key frame to the next"):
        plan_key_frames(TIMES, every_s, 60)


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
