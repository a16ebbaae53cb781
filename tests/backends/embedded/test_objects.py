"""What the embedded backend finds in photographs, with the weights of the package."""

import io
from collections.abc import Sequence

import pytest
from PIL import Image

from dinox_mcp.backends.base import Backend
from dinox_mcp.backends.embedded import readings
from dinox_mcp.backends.embedded.objects import MOST_OBJECTS, QUICK, THOROUGH, FoundObject, ObjectDetector
from dinox_mcp.detect.visual_prompts import VisualPrompt
from dinox_mcp.detector import Detector
from dinox_mcp.errors import UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import iou
from dinox_mcp.types.detection import DetectedObject, DetectionResult
from dinox_mcp.types.keypoints import BODY
from tests.backends.embedded.photographs import ASTRONAUT, photograph
from tests.backends.embedded.scenes import paper, picture, qr, write

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def detector(backend: Backend) -> Detector:
    return Detector(Settings.load(backend="embedded"), backends=[backend])


def astronaut() -> Image.Image:
    """Show a woman in a space suit; her head is at (225, 120), her face about 90 pixels wide."""
    return photograph().crop((0, 0, 460, 512))


def portrait() -> Picture:
    return encoded(astronaut())


def encoded(image: Image.Image) -> Picture:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return Picture.from_bytes(buffer.getvalue(), "photo.png")


def only(result: DetectionResult, label: str) -> DetectedObject:
    (found,) = [one for one in result.objects if one.label == label]
    return found


async def test_a_person_is_found_in_a_photograph(detector: Detector) -> None:
    result = await detector.detect(portrait(), "person")
    woman = only(result, "person")
    assert result.counts == {"person": 1}
    assert iou(woman.bbox, (20, 5, 430, 512)) > 0.8
    assert woman.category == "person"
    assert result.model == "NanoDet 416+608"
    assert (result.request.min_score, result.request.iou_threshold) == (0.35, 0.5)


async def test_the_label_is_the_callers_word_and_the_category_the_models_kind(detector: Detector) -> None:
    woman = only(await detector.detect(portrait(), "woman"), "woman")
    assert woman.category == "person"


async def test_what_is_searched_and_not_there_counts_zero(detector: Detector) -> None:
    result = await detector.detect(portrait(), ["person", "elephant"])
    assert result.counts == {"person": 1, "elephant": 0}


@pytest.mark.slow
async def test_a_pose_has_the_points_of_a_body_where_a_person_can_see_them(detector: Detector) -> None:
    woman = only(await detector.detect(portrait(), "person", include=["pose"]), "person")
    points = {point.name: point for point in woman.keypoints}
    assert tuple(points) == BODY
    assert points["right_eye"].x < points["nose"].x < points["left_eye"].x
    assert abs(points["nose"].x - 225) < 25
    assert points["left_shoulder"].y > points["nose"].y


@pytest.mark.slow
async def test_a_face_belongs_to_its_person(detector: Detector) -> None:
    result = await detector.detect(portrait(), ["person", "face"])
    face = only(result, "face")
    assert iou(face.bbox, (180, 70, 270, 165)) > 0.5
    assert face.part_of == only(result, "person").id
    assert face.category == "face"


async def test_a_face_alone_belongs_to_nobody_who_is_listed(detector: Detector) -> None:
    result = await detector.detect(portrait(), "face")
    assert [(one.label, one.part_of) for one in result.objects] == [("face", None)]


async def test_hands_are_searched_where_they_are_included(detector: Detector) -> None:
    result = await detector.detect(portrait(), "person", include=["hands"])
    assert "MediaPipe Hands" in result.model
    assert {one.label for one in result.objects} <= {"person", "hand"}
    assert result.counts == {"person": 1}
    assert all(len(one.keypoints) == 21 for one in result.objects if one.label == "hand")


async def test_faces_below_min_score_are_left_out(detector: Detector) -> None:
    face = only(await detector.detect(portrait(), "face"), "face")
    assert face.score is not None
    result = await detector.detect(portrait(), "face", min_score=face.score + 0.01)
    assert result.counts == {"face": 0}


async def test_one_face_is_found_in_each_of_two_photographs_side_by_side(detector: Detector) -> None:
    photo = astronaut()
    pair = Image.new("RGB", (2 * photo.width, photo.height))
    pair.paste(photo, (0, 0))
    pair.paste(photo, (photo.width, 0))
    result = await detector.detect(encoded(pair), ["person", "face"])
    assert result.counts == {"person": 2, "face": 2}
    assert sorted(one.part_of or 0 for one in result.objects if one.label == "face") == [1, 2]


@pytest.mark.slow
async def test_boxes_are_in_pixels_of_the_original_whatever_its_size(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "MAX_PIXELS", 1_000_000)
    large = astronaut().resize((2300, 2560))  # which is searched smaller
    here = only(await detector.detect(portrait(), "person"), "person")
    there = only(await detector.detect(encoded(large), "person", include=["pose"]), "person")
    assert iou([5 * edge for edge in here.bbox], there.bbox) > 0.9
    assert abs(there.keypoints[0].x - 1125) < 125


@pytest.mark.slow
async def test_without_prompts_things_and_text_and_codes_come_together(detector: Detector) -> None:
    sheet = paper(480, 280)
    sheet.paste(astronaut().resize((230, 256)), (20, 12))
    sheet.paste(qr("LOT-4711"), (320, 30))
    write(sheet, "SECTION 42", (300, 180))
    result = await detector.detect(picture(sheet))
    assert result.counts["person"] == 1
    assert ("QR code", "LOT-4711") in [(one.label, one.text) for one in result.objects]
    assert ("text", "SECTION 42") in [(one.label, one.text) for one in result.objects]


@pytest.mark.slow
async def test_words_in_quotes_are_found_in_the_text(detector: Detector) -> None:
    sheet = paper()
    write(sheet, "Cancel    Save changes", (20, 80), size=20)
    result = await detector.detect(picture(sheet), ['"save changes"', '"Delete"'])
    found = only(result, '"save changes"')
    assert result.counts == {'"save changes"': 1, '"Delete"': 0}
    assert found.bbox[0] > 60, "the words, not the full line"


async def test_poses_come_with_what_is_found_by_example(detector: Detector) -> None:
    example = VisualPrompt(bbox=(150, 30, 300, 200), label="woman")
    result = await detector.detect_by_example(portrait(), [example], include=["pose"])
    assert all(len(one.keypoints) == 17 for one in result.objects)
    assert "MoveNet Thunder" in result.model
    with pytest.raises(UnsupportedError, match="hands by examples"):
        await detector.detect_by_example(portrait(), [example], include=["hands"])


@pytest.mark.slow
async def test_a_word_that_is_not_a_kind_is_found_where_it_stands_in_the_picture(detector: Detector) -> None:
    sheet = paper()
    write(sheet, "FORKLIFT AREA", (40, 80))
    result = await detector.detect(picture(sheet), ["forklift", "person"])
    assert result.counts == {"forklift": 1, "person": 0}


async def test_the_quick_model_looks_at_one_size(detector: Detector) -> None:
    assert (await detector.detect(portrait(), "person", model="embedded")).model == "NanoDet 608"


async def test_people_are_counted(detector: Detector) -> None:
    count = await detector.count_objects(portrait(), "people")
    assert count.result.counts == {"people": 1}
    assert count.doubtful == {}


async def test_poses_of_given_boxes_are_estimated(detector: Detector) -> None:
    result = await detector.describe_regions(portrait(), [(20, 5, 430, 512)], include=["pose"])
    assert len(result.objects[0].keypoints) == 17
    assert "MoveNet Thunder" in result.model


# The network alone


@pytest.fixture(scope="module")
def network() -> ObjectDetector:
    return ObjectDetector()


def find(network: ObjectDetector, image: Image.Image, widths: Sequence[int]) -> list[FoundObject]:
    return network.detect(image, widths, min_score=0.5, iou_threshold=0.5)


def test_the_astronaut_is_the_surest_person_and_her_box_is_right(network: ObjectDetector) -> None:
    best = find(network, photograph(), THOROUGH)[0]
    assert best.kind == "person"
    assert best.score > 0.7
    assert iou(best.bbox, ASTRONAUT) > 0.9


@pytest.mark.slow
def test_a_larger_picture_has_the_same_objects_in_larger_boxes(network: ObjectDetector) -> None:
    image = photograph()
    large = image.resize((3 * image.width, 3 * image.height), Image.Resampling.BICUBIC)
    one, three = find(network, image, THOROUGH)[0], find(network, large, THOROUGH)[0]
    assert three.bbox == pytest.approx([3 * side for side in one.bbox], abs=15)


def test_a_wide_picture_is_not_distorted(network: ObjectDetector) -> None:
    wide = Image.new("RGB", (1000, 512), (120, 120, 120))
    wide.paste(photograph(), (400, 0))
    x1, y1, x2, y2 = ASTRONAUT
    assert iou(find(network, wide, QUICK)[0].bbox, (x1 + 400, y1, x2 + 400, y2)) > 0.85


def test_sure_objects_come_first_and_boxes_lie_inside_the_picture(network: ObjectDetector) -> None:
    found = network.detect(photograph(), QUICK, min_score=0.05, iou_threshold=0.5)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert all(0 <= x1 < x2 <= 512 and 0 <= y1 < y2 <= 512 for x1, y1, x2, y2 in (one.bbox for one in found))


def test_there_are_never_more_objects_than_a_caller_can_use(network: ObjectDetector) -> None:
    assert len(network.detect(photograph(), THOROUGH, min_score=0.0, iou_threshold=0.9)) == MOST_OBJECTS


@pytest.mark.parametrize("size", [(1, 1), (2, 4000), (640, 480)])
def test_nothing_is_found_in_pictures_of_nothing(network: ObjectDetector, size: tuple[int, int]) -> None:
    assert find(network, Image.new("RGB", size, (128, 128, 128)), THOROUGH) == []


def test_work_that_nobody_waits_for_ends_before_the_next_run(network: ObjectDetector) -> None:
    reported: list[float] = []

    def report(done: float) -> None:
        reported.append(done)
        if done > 0:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        network.detect(photograph(), THOROUGH, 0.5, 0.5, report)
    assert reported == [0, 0.5]
