import cv2
import numpy as np
import pytest

from dinox_mcp.compare.regions import Differences, find_differences
from dinox_mcp.compare.registration import Registration, register
from dinox_mcp.types.boxes import Box, iou
from tests.compare.scenes import Pixels, box_after, picture, put, relit, room, take

BOX: Box = (200.0, 140.0, 270.0, 200.0)


@pytest.fixture(scope="module")
def parcel() -> Differences:
    """What differs where a parcel was put into a scene."""
    return differences(room(), put(room(), BOX))


def differences(before: Pixels, after: Pixels) -> Differences:
    return find_differences(before, after, register(before, after))


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    return np.asarray(picture(pixels, quality).rgb())


def test_what_was_put_into_a_scene_is_one_region(parcel: Differences) -> None:
    (region,) = parcel.regions([])
    assert iou(region, BOX) > 0.85


def test_a_moved_camera_other_light_and_compression_are_no_difference() -> None:
    assert not differences(room(), jpeg(relit(take(room())), 60)).regions([])


def test_a_difference_is_found_through_all_of_them() -> None:
    (region,) = differences(room(), jpeg(relit(take(put(room(), BOX))), 60)).regions([])
    assert iou(region, box_after(BOX)) > 0.7


def test_a_misalignment_within_the_tolerance_is_no_difference() -> None:
    shifted = np.roll(room(), 1, axis=1)
    found = find_differences(room(), shifted, Registration("homography", np.eye(3), 1.0, 2))
    assert not found.regions([])


def test_a_speck_is_not_a_region() -> None:
    assert not differences(room(), put(room(), (200, 140, 204, 144))).regions([])


def test_a_region_is_explained_by_a_change_in_a_good_part_of_it(parcel: Differences) -> None:
    assert not parcel.regions([(210, 150, 260, 190)])
    assert parcel.regions([(210, 150, 225, 160)])


def test_parts_that_one_image_does_not_show_do_not_differ() -> None:
    found = differences(room(), take(room()))
    corner = (0.0, 340.0, 10.0, 360.0)
    assert found.visible(corner) < 0.5
    assert found.visible(BOX) == 1
    assert found.share(corner) == 0


def test_a_text_reads_differently_if_one_letter_does() -> None:
    signs = []
    for text in ("GATE 13", "GATE 15"):
        sign = np.full((60, 240, 3), 240, np.uint8)
        cv2.putText(sign, text, (20, 42), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (10, 10, 10), 3, cv2.LINE_AA)
        signs.append(sign)
    box = (16.0, 10.0, 190.0, 50.0)
    unmoved = Registration("identity", np.eye(3), 1.0, 1)
    assert find_differences(*signs, unmoved).reads_differently(box)
    assert not find_differences(signs[0], jpeg(signs[0], 40), unmoved).reads_differently(box)
