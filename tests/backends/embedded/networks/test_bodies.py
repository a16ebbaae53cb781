"""The pose of a person in a photograph."""

import numpy as np
import pytest

from dinox_mcp.backends.embedded.networks.bodies import PoseEstimator
from dinox_mcp.types.keypoints import BODY
from tests.backends.embedded.networks.scenes import ASTRONAUT, LEFT_EYE, NOSE, RIGHT_EYE, photograph


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
