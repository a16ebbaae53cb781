"""Faces and hands: each once, what they show, and whose they are."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from dinox_mcp.backends.embedded.bodies import Body, PoseEstimator
from dinox_mcp.backends.embedded.parts import FaceFinder, HandFinder
from dinox_mcp.types.boxes import area, intersection
from dinox_mcp.types.keypoints import BODY, HAND
from tests.backends.embedded.photographs import ASTRONAUT, FINGERTIPS, HEAD, left_hand, photograph


@pytest.fixture(scope="module")
def faces() -> FaceFinder:
    return FaceFinder()


@pytest.fixture(scope="module")
def estimator() -> PoseEstimator:
    return PoseEstimator()


def test_one_face_is_inside_the_head_and_belongs_to_nobody_known(faces: FaceFinder) -> None:
    (face,) = faces.find(photograph(), [])
    assert intersection(face.bbox, HEAD) / area(face.bbox) > 0.9
    assert face.score > 0.8
    assert face.person is None


def test_a_face_seen_in_the_picture_and_in_a_crop_is_found_once(faces: FaceFinder, estimator: PoseEstimator) -> None:
    reported: list[float] = []
    (face,) = faces.find(photograph(), estimator.estimate(photograph(), [ASTRONAUT]), reported.append)
    assert face.person == 0
    assert reported == [0, 0.5]


def test_a_face_belongs_to_the_nearest_head(faces: FaceFinder, estimator: PoseEstimator) -> None:
    bystander, astronaut = estimator.estimate(photograph(), [(400, 20, 512, 300), ASTRONAUT])
    (face,) = faces.find(photograph(), [bystander, astronaut])
    assert face.person == 1


def far_away() -> tuple[Image.Image, list[Body]]:
    """Show the astronaut small in a large picture, where her face is 20 pixels high."""
    image = Image.new("RGB", (1600, 1200), (120, 120, 120))
    image.paste(photograph().resize((100, 100)), (900, 700))
    return image, PoseEstimator().estimate(image, [(900, 700, 975, 800)])


def test_the_face_of_somebody_far_away_is_found_around_the_head_only(faces: FaceFinder) -> None:
    image, bodies = far_away()
    assert faces.find(image, []) == []
    (face,) = faces.find(image, bodies)
    assert face.person == 0
    assert 930 < face.bbox[0] < face.bbox[2] < 965
    assert 705 < face.bbox[1] < face.bbox[3] < 740


def test_two_people_have_their_own_faces(faces: FaceFinder, estimator: PoseEstimator) -> None:
    image = Image.new("RGB", (800, 512), (120, 120, 120))
    person = photograph().crop((0, 0, 370, 512))
    image.paste(person, (0, 0))
    image.paste(person, (400, 0))
    bodies = estimator.estimate(image, [(420.0, 15.0, 765.0, 512.0), ASTRONAUT])
    found = faces.find(image, bodies)
    assert {face.person: face.bbox[0] > 400 for face in found} == {0: True, 1: False}


TIPS = [HAND.index(name) for name in HAND if name.endswith("_tip")]


@pytest.fixture(scope="module")
def hands() -> HandFinder:
    return HandFinder()


def arm(elbow: tuple[float, float], wrist: tuple[float, float]) -> Body:
    """Make a body of which only the left forearm shows."""
    points = np.zeros((17, 3))
    points[BODY.index("left_elbow")] = (*elbow, 0.9)
    points[BODY.index("left_wrist")] = (*wrist, 0.9)
    return Body((0.0, 0.0, 480.0, 480.0), points)


def test_the_fingertips_are_where_they_were_drawn(hands: HandFinder) -> None:
    (hand,) = hands.find(left_hand(), [])
    assert hand.score > 0.8
    assert np.abs(hand.points[TIPS] - FINGERTIPS).max() < 25
    x1, y1, x2, y2 = hand.bbox
    assert all(x1 < x < x2 and y1 < y < y2 for x, y in hand.points.tolist())


def test_which_hand_it_is_does_not_assume_a_mirrored_picture(hands: HandFinder) -> None:
    (left,), (right,) = hands.find(left_hand(), []), hands.find(ImageOps.mirror(left_hand()), [])
    assert (left.side, right.side) == ("left", "right")


def test_a_turned_hand_is_found_as_well(hands: HandFinder) -> None:
    (hand,) = hands.find(left_hand().rotate(-90), [])  # its fingers point to the right
    turned = [(480 - y, x) for x, y in FINGERTIPS]
    assert np.abs(hand.points[TIPS] - turned).max() < 30


def test_a_hand_seen_three_times_is_found_once_and_belongs_to_the_arm(hands: HandFinder) -> None:
    reported: list[float] = []
    away = arm((470, 10), (440, 20))
    (hand,) = hands.find(left_hand(), [away, arm((245, 700), (240, 440))], reported.append)
    assert hand.person == 1
    assert reported == pytest.approx([0, 1 / 3, 2 / 3])


def test_a_hand_far_from_every_wrist_belongs_to_nobody(hands: HandFinder) -> None:
    (hand,) = hands.find(left_hand(), [arm((1000, 1000), (900, 900))])
    assert hand.person is None


def test_a_small_hand_is_found_at_the_end_of_a_forearm(hands: HandFinder) -> None:
    image = Image.new("RGB", (1600, 1200), (90, 110, 130))
    image.paste(left_hand().resize((40, 40)), (900, 700))
    assert hands.find(image, []) == []
    (hand,) = hands.find(image, [arm((920, 770), (920, 735))])
    assert hand.person == 0
    assert 900 < hand.bbox[0] < hand.bbox[2] < 940


def test_one_person_has_no_two_left_hands(hands: HandFinder) -> None:
    image = Image.new("RGB", (960, 480), (90, 110, 130))
    image.paste(left_hand(), (0, 0))
    image.paste(left_hand(), (480, 0))
    points = arm((240, 700), (240, 440)).points
    points[BODY.index("right_elbow")], points[BODY.index("right_wrist")] = (720, 700, 0.9), (720, 440, 0.9)
    found = hands.find(image, [Body((0.0, 0.0, 960.0, 480.0), points)])
    assert sorted(hand.side for hand in found) == ["left", "right"]


def test_no_hand_is_seen_where_there_is_none(hands: HandFinder) -> None:
    assert hands.find(photograph(), []) == []
