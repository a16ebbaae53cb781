"""Hands: their points, which hand it is, and whose."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from dinox_mcp.backends.embedded.networks.bodies import Body
from dinox_mcp.backends.embedded.networks.hands import HandFinder
from dinox_mcp.types.keypoints import BODY, HAND
from tests.backends.embedded.networks.scenes import FINGERTIPS, left_hand, photograph

TIPS = [HAND.index(name) for name in HAND if name.endswith("_tip")]


@pytest.fixture(scope="module")
def finder() -> HandFinder:
    return HandFinder()


def arm(elbow: tuple[float, float], wrist: tuple[float, float]) -> Body:
    """Make a body of which only the left forearm shows."""
    points = np.zeros((17, 3))
    points[BODY.index("left_elbow")] = (*elbow, 0.9)
    points[BODY.index("left_wrist")] = (*wrist, 0.9)
    return Body((0.0, 0.0, 480.0, 480.0), points)


def test_the_fingertips_are_where_they_were_drawn(finder: HandFinder) -> None:
    (hand,) = finder.find(left_hand(), [])
    assert hand.score > 0.8
    assert np.abs(hand.points[TIPS] - FINGERTIPS).max() < 25
    x1, y1, x2, y2 = hand.bbox
    assert all(x1 < x < x2 and y1 < y < y2 for x, y in hand.points.tolist())


def test_which_hand_it_is_does_not_assume_a_mirrored_picture(finder: HandFinder) -> None:
    (left,), (right,) = finder.find(left_hand(), []), finder.find(ImageOps.mirror(left_hand()), [])
    assert (left.side, right.side) == ("left", "right")


def test_a_turned_hand_is_found_as_well(finder: HandFinder) -> None:
    (hand,) = finder.find(left_hand().rotate(-90), [])  # its fingers point to the right
    turned = [(480 - y, x) for x, y in FINGERTIPS]
    assert np.abs(hand.points[TIPS] - turned).max() < 30


def test_a_hand_seen_three_times_is_found_once_and_belongs_to_the_arm(finder: HandFinder) -> None:
    reported: list[float] = []
    away = arm((470, 10), (440, 20))
    (hand,) = finder.find(left_hand(), [away, arm((245, 700), (240, 440))], reported.append)
    assert hand.person == 1
    assert reported == pytest.approx([0, 1 / 3, 2 / 3])


def test_a_hand_far_from_every_wrist_belongs_to_nobody(finder: HandFinder) -> None:
    (hand,) = finder.find(left_hand(), [arm((1000, 1000), (900, 900))])
    assert hand.person is None


def test_a_small_hand_is_found_at_the_end_of_a_forearm(finder: HandFinder) -> None:
    image = Image.new("RGB", (1600, 1200), (90, 110, 130))
    image.paste(left_hand().resize((40, 40)), (900, 700))
    assert finder.find(image, []) == []
    (hand,) = finder.find(image, [arm((920, 770), (920, 735))])
    assert hand.person == 0
    assert 900 < hand.bbox[0] < hand.bbox[2] < 940


def test_one_person_has_no_two_left_hands(finder: HandFinder) -> None:
    image = Image.new("RGB", (960, 480), (90, 110, 130))
    image.paste(left_hand(), (0, 0))
    image.paste(left_hand(), (480, 0))
    points = arm((240, 700), (240, 440)).points
    points[BODY.index("right_elbow")], points[BODY.index("right_wrist")] = (720, 700, 0.9), (720, 440, 0.9)
    hands = finder.find(image, [Body((0.0, 0.0, 960.0, 480.0), points)])
    assert sorted(hand.side for hand in hands) == ["left", "right"]


def test_no_hand_is_seen_where_there_is_none(finder: HandFinder) -> None:
    assert finder.find(photograph(), []) == []
