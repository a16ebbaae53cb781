import cv2
import numpy as np
import pytest

from dinox_mcp.compare.registration import map_points, register
from dinox_mcp.errors import InputError
from tests.compare.scenes import MOVED, SIZE, put, relit, room, take


def test_two_screenshots_need_no_registration() -> None:
    found = register(room(), put(room(), (100, 100, 220, 200)))
    assert found.method == "identity"
    assert np.array_equal(found.matrix, np.eye(3))


def test_a_camera_that_moved_is_found_to_a_pixel() -> None:
    found = register(room(), relit(take(room())))
    assert found.method == "homography"
    points = np.array([(60.0, 60.0), (400.0, 80.0), (240.0, 300.0)])
    assert np.abs(map_points(points, found.matrix) - map_points(points, MOVED)).max() < 1
    assert np.abs(map_points(map_points(points, found.matrix), np.linalg.inv(found.matrix)) - points).max() < 1e-6


def test_images_of_different_sizes_are_registered() -> None:
    large = np.asarray(cv2.resize(room(), (960, 720), interpolation=cv2.INTER_CUBIC), np.uint8)
    found = register(large, room())
    assert found.method == "homography"
    assert found.scale == pytest.approx(0.5, abs=0.01)


def test_other_light_alone_is_not_a_movement() -> None:
    assert register(room(), relit(room(), 0.6)).method == "identity"


@pytest.mark.parametrize("other", [room(1), room()[:, ::-1].copy()])
def test_images_of_different_scenes_are_refused(other: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"cannot be registered, as .*; pass two images of one scene"):
        register(room(), other)


def test_an_empty_page_and_a_full_one_fit_as_they_are() -> None:
    page = np.full((SIZE[1], SIZE[0], 3), 250, np.uint8)
    assert register(page, put(page, (100, 100, 180, 160))).method == "identity"


def test_an_empty_page_of_another_size_is_refused() -> None:
    page = np.full((300, 300, 3), 250, np.uint8)
    with pytest.raises(InputError, match="only 0 details that can be matched"):
        register(page, room())
