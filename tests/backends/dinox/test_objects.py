"""Objects of replies: their boxes, masks and keypoints, and what is malformed."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dinox_mcp.backends.base import Call
from dinox_mcp.backends.dinox import models, objects
from dinox_mcp.backends.dinox.backend import DinoxBackend
from dinox_mcp.backends.dinox.models import DINO_X
from dinox_mcp.backends.dinox.request import Frames, ObjectRequest, label_by_category
from dinox_mcp.errors import ServiceError
from dinox_mcp.types import keypoints, masks
from dinox_mcp.types.detection import DetectionRequest, Output
from tests.backends.dinox.anything import anything, boxes, numbers
from tests.backends.dinox.conftest import Connect, plain
from tests.emulator import FRACTIONS, Emulator, place_of

pytestmark = pytest.mark.anyio

DOG = DetectionRequest(prompts=("dog",))
FRAMES = Frames(size=(100, 50), sent=(50, 25))
REQUEST = ObjectRequest(models.DINO_X, b"", FRAMES, label_by_category({"dog": "Dog"}), ("bbox", "mask"))
MASK = {"counts": masks.encode(np.ones((25, 50), dtype=bool)).counts, "size": [25, 50], "format": "coco_rle"}
POSES = ObjectRequest(
    DINO_X, b"", Frames((100, 50), (50, 25)), label_by_category({}), ("bbox", "pose_keypoints", "hand_keypoints")
)
BODY = [5, 6, 2, 0.5] * 17


def thing(**changes: object) -> dict[str, Any]:
    return {"category": "dog", "score": 0.5, "bbox": [5, 5, 10, 10], "mask": MASK} | changes


async def test_malformed_objects_are_left_out_and_counted(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.faults.create.append("malformed")

    found = await dinox.detect(plain(), DOG, Call())

    assert [one.label for one in found.objects] == ["dog"]
    assert found.notes == ("3 objects of the reply were malformed and left out",)


def test_the_best_come_first() -> None:
    things = [thing(score=score) for score in (0.3, 0.9, 0.6)]

    assert [one.score for one in objects.read_objects({"objects": things}, REQUEST).objects] == [0.9, 0.6, 0.3]


def test_a_category_that_not_in_the_request_comes_as_it_is() -> None:
    found = objects.read_objects({"objects": [thing(category="Sea Lion"), thing(category=" DOG ")]}, REQUEST)

    assert [one.label for one in found.objects] == ["Sea Lion", "Dog"]


@pytest.mark.parametrize(
    ("sent", "score"), [(0.5, 0.5), ("0.5", 0.5), (None, None), (1.0000001, 1.0), (-0.0000001, 0.0)]
)
def test_a_score_is_the_models_own_or_absent(sent: object, score: float | None) -> None:
    found = objects.read_objects({"objects": [thing(score=sent)]}, REQUEST)

    assert [one.score for one in found.objects] == [score]


@pytest.mark.parametrize(
    "changes",
    [
        {"score": 1.5},
        {"score": math.nan},
        {"score": "high"},
        {"bbox": [1, 2, 3]},
        {"bbox": [1, 2, 3, math.inf]},
        {"bbox": [1, 2, 3, 10**400]},
        {"bbox": "1,2,3,4"},
        {"bbox": None},
        {"bbox": [5, 5, 5, 9]},
        {"bbox": [60, 5, 70, 9]},
        {"category": None},
        {"category": ""},
        {"category": 7},
    ],
    ids=str,
)
def test_an_object_that_is_not_understood_is_left_out(changes: dict[str, object]) -> None:
    found = objects.read_objects({"objects": [thing(**changes), thing()]}, REQUEST)

    assert len(found.objects) == 1
    assert found.notes == ("1 object of the reply was malformed and left out",)


def test_boxes_are_clipped_to_the_picture_with_their_corners_in_order() -> None:
    found = objects.read_objects({"objects": [thing(bbox=[40, 20, -3, 300])]}, REQUEST)

    assert found.objects[0].bbox == (0, 40, 80, 50)


@pytest.mark.parametrize(
    "mask",
    [
        None,
        "mask",
        {},
        MASK | {"counts": "garbage"},
        MASK | {"counts": None},
        MASK | {"counts": ""},
        MASK | {"size": [25, 51]},
        MASK | {"size": [0, 0]},
        MASK | {"size": [10**9, 10**9]},
        MASK | {"size": [25]},
        MASK | {"format": "dds_rle"},
    ],
    ids=str,
)
def test_a_mask_that_cannot_be_read_costs_only_the_mask(mask: object) -> None:
    found = objects.read_objects({"objects": [thing(mask=mask), thing()]}, REQUEST)

    assert [one.mask is None for one in found.objects] == [True, False]
    assert found.notes == ("1 object came without a mask that can be read",)


@pytest.mark.parametrize("result", [{}, {"objects": None}, {"objects": {"a": 1}}, {"objects": "none"}], ids=str)
def test_a_result_without_objects_is_an_error(result: dict[str, object]) -> None:
    with pytest.raises(ServiceError, match="without a list of objects"):
        objects.read_objects(result, REQUEST)


# Keypoints


def person(**changes: object) -> dict[str, Any]:
    return {"category": "person", "score": 0.5, "bbox": [5, 5, 10, 10], "pose": BODY} | changes


def asking(*include: Output) -> DetectionRequest:
    return DetectionRequest(prompts=("person",), include=frozenset(include))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("output", "target", "names"),
    [("pose", "pose_keypoints", keypoints.BODY), ("hands", "hand_keypoints", keypoints.HAND)],
)
async def test_points_are_named_and_in_pixels_of_the_original(
    connect: Connect, emulator: Emulator, output: Output, target: str, names: tuple[str, ...]
) -> None:
    width, height = 1001, 749
    left, top, right, bottom = FRACTIONS[0]

    found = await connect(upload_max_side=160).detect(plain(width, height), asking(output), Call())

    assert emulator.last["targets"] == ["bbox", target]
    points = found.objects[0].keypoints
    assert [point.name for point in points] == list(names)
    for number, point in enumerate(points):
        x, y = place_of(number, len(names))
        assert point.x == pytest.approx((left + x * (right - left)) * width, abs=0.5)
        assert point.y == pytest.approx((top + y * (bottom - top)) * height, abs=0.5)
        assert point.visibility == number % 3
        assert point.score == pytest.approx(number / len(names))


async def test_an_object_has_its_body_and_hand_together(connect: Connect, emulator: Emulator) -> None:
    found = await connect().detect(plain(), asking("pose", "hands", "masks"), Call())

    assert emulator.last["targets"] == ["bbox", "mask", "pose_keypoints", "hand_keypoints"]
    assert [point.name for point in found.objects[0].keypoints] == [*keypoints.BODY, *keypoints.HAND]
    assert found.objects[0].mask is not None


async def test_what_has_no_body_has_no_points(connect: Connect) -> None:
    request = DetectionRequest(prompts=("person", "dog"), include=frozenset({"pose"}))

    found = await connect().detect(plain(), request, Call())

    assert [len(one.keypoints) for one in found.objects] == [17, 0]
    assert not found.notes


async def test_points_are_not_given_unasked(connect: Connect) -> None:
    found = await connect().detect(plain(), asking(), Call())

    assert found.objects[0].keypoints == ()


def body(*starts: list[float]) -> list[float]:
    """Make a body that starts with points (visibility, score); the others are seen, of different scores."""
    points = [*starts, *([2, 0.1 + n / 100] for n in range(17 - len(starts)))]
    return [value for point in points for value in (5, 6, *point)]


def first_point(pose: list[float]) -> tuple[float, float, int | None, float | None]:
    point = objects.read_objects({"objects": [person(pose=pose)]}, POSES).objects[0].keypoints[0]
    return point.x, point.y, point.visibility, point.score


@pytest.mark.parametrize(
    ("sent", "visibility", "score"),
    [
        ([2, 0.5], 2, 0.5),
        ([0.0, 1], 0, 1.0),
        ([1, 17.5], 1, None),
        ([1, -1], 1, None),
        ([3, 0], None, 0.0),
        ([0.87, 0.5], None, 0.5),
    ],
)
def test_what_visibility_and_score_cannot_be_is_absent(
    sent: list[float], visibility: int | None, score: float | None
) -> None:
    assert first_point(body(sent)) == (10, 12, visibility, score)


def test_confidences_in_place_of_visibilities_are_scores() -> None:
    pose = [value for n in range(17) for value in (5, 6, 1 - n / 20, 0)]

    assert first_point(pose) == (10, 12, None, 1.0)


@pytest.mark.parametrize("filler", [0, 1, 0.5])
def test_a_fourth_value_that_is_always_the_same_is_not_a_score(filler: float) -> None:
    assert first_point([5, 6, 2, filler] * 17) == (10, 12, 2, None)


@pytest.mark.parametrize(
    "pose",
    [
        BODY[:-1],
        BODY[:-4],
        [*BODY, 1, 2, 3, 4],
        ["5", *BODY[1:]],
        [None, *BODY[1:]],
        [math.nan, *BODY[1:]],
        [math.inf, *BODY[1:]],
        [True, *BODY[1:]],
        [10**400, *BODY[1:]],
        [BODY],
        "pose",
        {"x": 1},
        7,
    ],
    ids=lambda value: str(value)[:20],
)
def test_points_that_cannot_be_read_cost_only_the_points(pose: object) -> None:
    found = objects.read_objects({"objects": [person(pose=pose), person()]}, POSES)

    assert sorted(len(one.keypoints) for one in found.objects) == [0, 17]
    assert found.notes == ("1 object came with pose keypoints that cannot be read",)


@pytest.mark.parametrize("pose", [None, []])
def test_no_points_are_not_a_fault(pose: object) -> None:
    found = objects.read_objects({"objects": [person(pose=pose)]}, POSES)

    assert found.objects[0].keypoints == ()
    assert not found.notes


# Replies of any shape


TARGETS = ("bbox", "mask", "pose_keypoints", "hand_keypoints")
EVERYTHING = ObjectRequest(DINO_X, b"", Frames((100, 50), (50, 25)), label_by_category({}), TARGETS)
any_masks = st.fixed_dictionaries({"counts": st.text("0123oPX", max_size=6), "size": st.lists(numbers, max_size=2)})
points = st.lists(numbers, min_size=4, max_size=4).map(lambda point: point * 17)
found = st.fixed_dictionaries(
    {"category": anything | st.just("dog"), "score": anything, "bbox": boxes | anything},
    optional={"mask": any_masks | anything, "pose": points | anything, "hand": points | anything},
)


@pytest.mark.slow
@given(st.lists(found | anything, max_size=3) | anything)
def test_objects_of_any_shape_are_read_or_left_out(things: Any) -> None:  # noqa: ANN401 - that is the point
    try:
        result = objects.read_objects({"objects": things}, EVERYTHING)
    except ServiceError:
        assert not isinstance(things, list)
        return

    left_out = sum(int(note.split()[0]) for note in result.notes if "left out" in note)
    assert len(result.objects) + left_out == len(things)
