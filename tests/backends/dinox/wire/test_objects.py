import math
from typing import Any

import pytest

from dinox_mcp.backends.base import Call
from dinox_mcp.backends.dinox.models import DINO_X
from dinox_mcp.backends.dinox.upload import Frames
from dinox_mcp.backends.dinox.wire import objects, question
from dinox_mcp.backends.dinox.wire.question import Question
from dinox_mcp.types import keypoints
from dinox_mcp.types.detection import DetectionRequest, Output
from tests.backends.dinox.conftest import Connect, plain
from tests.emulator import FRACTIONS, Emulator, place_of

pytestmark = pytest.mark.anyio

QUESTION = Question(
    DINO_X, b"", Frames((100, 50), (50, 25)), question.spelled({}), ("bbox", "pose_keypoints", "hand_keypoints")
)
BODY = [5, 6, 2, 0.5] * 17


def person(**changes: object) -> dict[str, Any]:
    return {"category": "person", "score": 0.5, "bbox": [5, 5, 10, 10], "pose": BODY} | changes


def asking(*include: Output) -> DetectionRequest:
    return DetectionRequest(prompts=("person",), include=frozenset(include))


@pytest.mark.parametrize(
    ("output", "target", "names"),
    [("pose", "pose_keypoints", keypoints.BODY), ("hands", "hand_keypoints", keypoints.HAND)],
)
async def test_points_are_named_and_in_pixels_of_the_original(
    connect: Connect, emulator: Emulator, output: Output, target: str, names: tuple[str, ...]
) -> None:
    width, height = 4001, 2999
    left, top, right, bottom = FRACTIONS[0]

    found = await connect(upload_max_side=640).detect(plain(width, height), asking(output), Call())

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
    point = objects.read({"objects": [person(pose=pose)]}, QUESTION).objects[0].keypoints[0]
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
def test_a_fourth_value_that_is_always_the_same_is_no_score(filler: float) -> None:
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
    found = objects.read({"objects": [person(pose=pose), person()]}, QUESTION)

    assert sorted(len(one.keypoints) for one in found.objects) == [0, 17]
    assert found.notes == ("1 object came with pose keypoints that cannot be read",)


@pytest.mark.parametrize("pose", [None, []])
def test_no_points_are_no_fault(pose: object) -> None:
    found = objects.read({"objects": [person(pose=pose)]}, QUESTION)

    assert found.objects[0].keypoints == ()
    assert not found.notes
