"""Markers: their dictionary and id at any size and angle, and their boxes on dark ground."""

import cv2
import numpy as np
import pytest

from dinox_mcp.backends.base import Backend
from dinox_mcp.types import boxes
from tests.backends.embedded.walls import find, hang, marker, read, wall

MARKERS = [
    (cv2.aruco.DICT_4X4_50, 7, "DICT_4X4_50 id 7"),
    (cv2.aruco.DICT_5X5_250, 240, "DICT_5X5_250 id 240"),
    (cv2.aruco.DICT_6X6_250, 23, "DICT_6X6_50 id 23"),
    (cv2.aruco.DICT_7X7_1000, 999, "DICT_7X7_1000 id 999"),
    (cv2.aruco.DICT_ARUCO_ORIGINAL, 300, "DICT_ARUCO_ORIGINAL id 300"),
    (cv2.aruco.DICT_ARUCO_MIP_36h12, 5, "DICT_ARUCO_MIP_36h12 id 5"),
    (cv2.aruco.DICT_APRILTAG_16h5, 3, "AprilTag 16h5 id 3"),
    (cv2.aruco.DICT_APRILTAG_25h9, 9, "AprilTag 25h9 id 9"),
    (cv2.aruco.DICT_APRILTAG_36h10, 2000, "AprilTag 36h10 id 2000"),
    (cv2.aruco.DICT_APRILTAG_36h11, 500, "AprilTag 36h11 id 500"),
]
LOOKS = [(24, 0, 0), (60, 33, 0.3), (200, 170, 0.1)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dictionary", "number", "text", "side", "turned", "slant"),
    [*((*one, *LOOKS[1]) for one in MARKERS), *((*MARKERS[2], *look) for look in LOOKS[::2])],
)
def test_a_marker(
    backend: Backend, dictionary: int, number: int, text: str, side: int, turned: float, slant: float
) -> None:
    scene = wall(500, 400)
    hang(scene, marker(dictionary, number, side), (250, 200), turned, slant)
    (found,) = find(backend, scene, "marker").objects
    assert (found.label, found.text) == ("marker", text)
    assert found.score is not None
    assert found.score > 0.9
    assert found.bbox == pytest.approx((250, 200, 250, 200), abs=side)


def test_a_pattern_of_two_dictionaries_is_named_after_both(backend: Backend) -> None:
    scene = wall(400, 300)
    hang(scene, marker(cv2.aruco.DICT_APRILTAG_16h5, 16), (200, 150))
    assert read(find(backend, scene, "marker")) == [("marker", "DICT_4X4_250 id 227 or AprilTag 16h5 id 16")]
    assert read(find(backend, scene, "AprilTag")) == [("AprilTag", "AprilTag 16h5 id 16")]


@pytest.mark.parametrize(
    ("dictionary", "border", "inverted"),
    [
        *((cv2.aruco.DICT_6X6_250, border, False) for border in (0, 1, 2, 3, 6, 20)),
        *((cv2.aruco.DICT_6X6_250, border, True) for border in (0, 2, 20)),
        (cv2.aruco.DICT_4X4_50, 2, False),
        (cv2.aruco.DICT_APRILTAG_36h11, 2, False),
    ],
)
@pytest.mark.slow
def test_a_marker_on_dark_ground_is_found_and_boxed_whole(
    backend: Backend, dictionary: int, border: int, *, inverted: bool
) -> None:
    code = cv2.aruco.generateImageMarker(cv2.aruco.getPredefinedDictionary(dictionary), 7, 120)
    paper = np.pad(code, border, constant_values=255)
    scene = np.full((480, 640), 60, np.uint8)
    hang(scene, 255 - paper if inverted else paper, (300, 240))
    (found,) = find(backend, scene, "marker").objects
    assert found.text is not None
    assert found.text.endswith("id 7")
    assert boxes.iou(found.bbox, (240, 180, 360, 300)) > 0.95
