"""Objects in a photograph, found by the network that ships."""

from collections.abc import Sequence

import pytest
from PIL import Image

from dinox_mcp.backends.embedded.networks.objects import MOST_OBJECTS, QUICK, THOROUGH, FoundObject, ObjectDetector
from dinox_mcp.types.boxes import iou
from tests.backends.embedded.networks.scenes import ASTRONAUT, photograph


@pytest.fixture(scope="module")
def detector() -> ObjectDetector:
    return ObjectDetector()


def find(detector: ObjectDetector, image: Image.Image, widths: Sequence[int]) -> list[FoundObject]:
    return detector.detect(image, widths, min_score=0.5, iou_threshold=0.5)


def test_the_astronaut_is_the_surest_person_and_her_box_is_right(detector: ObjectDetector) -> None:
    best = find(detector, photograph(), THOROUGH)[0]
    assert best.kind == "person"
    assert best.score > 0.7
    assert iou(best.bbox, ASTRONAUT) > 0.9


@pytest.mark.slow
def test_a_larger_picture_has_the_same_objects_in_larger_boxes(detector: ObjectDetector) -> None:
    image = photograph()
    large = image.resize((3 * image.width, 3 * image.height), Image.Resampling.BICUBIC)
    one, three = find(detector, image, THOROUGH)[0], find(detector, large, THOROUGH)[0]
    assert three.bbox == pytest.approx([3 * side for side in one.bbox], abs=15)


def test_a_wide_picture_is_not_distorted(detector: ObjectDetector) -> None:
    wide = Image.new("RGB", (1000, 512), (120, 120, 120))
    wide.paste(photograph(), (400, 0))
    x1, y1, x2, y2 = ASTRONAUT
    assert iou(find(detector, wide, QUICK)[0].bbox, (x1 + 400, y1, x2 + 400, y2)) > 0.85


def test_sure_objects_come_first_and_boxes_lie_inside_the_picture(detector: ObjectDetector) -> None:
    found = detector.detect(photograph(), QUICK, min_score=0.05, iou_threshold=0.5)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert all(0 <= x1 < x2 <= 512 and 0 <= y1 < y2 <= 512 for x1, y1, x2, y2 in (one.bbox for one in found))


def test_there_are_never_more_objects_than_a_caller_can_use(detector: ObjectDetector) -> None:
    assert len(detector.detect(photograph(), THOROUGH, min_score=0.0, iou_threshold=0.9)) == MOST_OBJECTS


@pytest.mark.parametrize("size", [(1, 1), (2, 4000), (640, 480)])
def test_nothing_is_found_in_pictures_of_nothing(detector: ObjectDetector, size: tuple[int, int]) -> None:
    assert find(detector, Image.new("RGB", size, (128, 128, 128)), THOROUGH) == []


def test_work_that_nobody_waits_for_ends_before_the_next_run(detector: ObjectDetector) -> None:
    reported: list[float] = []

    def report(done: float) -> None:
        reported.append(done)
        if done > 0:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        detector.detect(photograph(), THOROUGH, 0.5, 0.5, report)
    assert reported == [0, 0.5]
