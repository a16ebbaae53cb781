"""Square crops of an image, and the pose of a person in a photograph."""

import math

import numpy as np
import pytest
from PIL import Image

from dinox_mcp.backends.embedded.bodies import Crop, PoseEstimator
from dinox_mcp.types.keypoints import BODY
from tests.backends.embedded.photographs import ASTRONAUT, LEFT_EYE, NOSE, RIGHT_EYE, photograph

WHITE = Image.new("RGB", (100, 60), "white")


def test_a_crop_is_black_beyond_the_picture() -> None:
    beyond_the_corner = Crop(x=100, y=60, half=20).pixels(WHITE, 40)
    assert beyond_the_corner[:20, :20].min() == 255
    assert beyond_the_corner[20:].max() == beyond_the_corner[:, 20:].max() == 0
    assert Crop(x=500, y=500, half=20).pixels(WHITE, 40).max() == 0


def test_a_box_is_shown_in_the_middle_of_a_square() -> None:
    assert Crop.around((10, 20, 50, 40), 1.5) == Crop(x=30, y=30, half=30)


def test_the_whole_picture_lies_at_the_upper_left() -> None:
    shown = Crop.of_image(WHITE).pixels(WHITE, 50)
    assert shown[:29].min() == 255
    assert shown[31:].max() == 0


def test_points_of_a_turned_crop_lie_where_its_pixels_come_from() -> None:
    image = Image.new("RGB", (200, 200))
    image.paste("white", (140, 96, 148, 104))
    crop = Crop(x=100, y=100, half=64, angle=math.radians(90))  # what is at the right in the picture is on top
    row, column = np.argwhere(crop.pixels(image, 128)[..., 0] > 128).mean(axis=0) + 0.5
    assert (column, row) == pytest.approx((64, 20), abs=1)
    assert crop.to_image(np.array([column / 128, row / 128])).tolist() == pytest.approx([144, 100], abs=1)


def test_fine_patterns_become_their_mean_when_a_large_crop_is_made_small() -> None:
    stripes = Image.fromarray(np.tile(np.array([[0], [255]], np.uint8), (400, 800))).convert("RGB")
    shown = Crop.of_image(stripes).pixels(stripes, 100)
    assert (int(shown.min()), int(shown.max())) == pytest.approx((127, 128), abs=2)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_pictures_of_any_shape_can_be_cut(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "white")
    for crop in (Crop.of_image(image), Crop(0, 0, 0), Crop(0.5, 0.5, 3, 1.0), Crop.around((0, 0, *size), 1.15)):
        assert crop.pixels(image, 16).shape == (16, 16, 3)


@pytest.fixture(scope="module")
def estimator() -> PoseEstimator:
    return PoseEstimator()


def test_the_nose_is_between_the_eyes_and_left_is_her_left(estimator: PoseEstimator) -> None:
    (body,) = estimator.estimate(photograph(), [ASTRONAUT])
    points = dict(zip(BODY, body.points.tolist(), strict=True))
    for name, place in (("left_eye", LEFT_EYE), ("right_eye", RIGHT_EYE), ("nose", NOSE)):
        assert points[name][:2] == pytest.approx(place, abs=6)
        assert points[name][2] > 0.5


def test_what_the_picture_does_not_show_has_a_low_score(estimator: PoseEstimator) -> None:
    (body,) = estimator.estimate(photograph(), [ASTRONAUT])
    scores = dict(zip(BODY, body.points[:, 2].tolist(), strict=True))
    assert max(scores["left_ankle"], scores["right_ankle"]) < 0.3 < scores["left_shoulder"]


def test_bodies_come_in_the_order_of_the_boxes(estimator: PoseEstimator) -> None:
    reported: list[float] = []
    empty = (400.0, 0.0, 500.0, 100.0)
    invisible, astronaut = estimator.estimate(photograph(), [empty, ASTRONAUT], reported.append)
    assert (invisible.bbox, astronaut.bbox) == (empty, ASTRONAUT)
    assert invisible.points[0, 2] < astronaut.points[0, 2]
    assert reported == [0, 0.5]


def test_without_persons_there_are_no_bodies(estimator: PoseEstimator) -> None:
    assert estimator.estimate(photograph(), []) == []


def test_a_box_without_size_is_answered_too(estimator: PoseEstimator) -> None:
    (body,) = estimator.estimate(photograph(), [(50.0, 50.0, 50.0, 50.0)])
    assert np.isfinite(body.points).all()
