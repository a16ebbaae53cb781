import math
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dinox_mcp.backends.base import Call, Describer
from dinox_mcp.backends.dinox import regions
from dinox_mcp.backends.dinox.backend import DinoxBackend
from dinox_mcp.backends.dinox.regions import RegionRequest
from dinox_mcp.errors import DeadlineError, KeyRejectedError, ServiceError
from dinox_mcp.types.detection import Detection, DetectionRequest, Output
from tests.backends.dinox.anything import anything, boxes
from tests.backends.dinox.conftest import Connect, encoded, noisy, plain
from tests.emulator import Emulator
from tests.emulator.pixels import picture_size

pytestmark = pytest.mark.anyio

ALL: frozenset[Output] = frozenset({"caption", "category", "text"})
CAPTION: frozenset[Output] = frozenset({"caption"})
BOXES = ((0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0), (40.0, 20.0, 60.0, 40.0))
OBJECTS = [Detection(label=f"thing {n}", bbox=bbox, score=0.5) for n, bbox in enumerate(BOXES)]
REQUEST = RegionRequest(b"", BOXES, {"caption": "caption", "text": "ocr"})


def reply(number: int, **changes: object) -> dict[str, Any]:
    return {"region": BOXES[number], "caption": f"caption {number}", "ocr": ""} | changes


def captions(replies: list[Any]) -> tuple[list[str | None], tuple[str, ...]]:
    described = regions.read_descriptions({"objects": replies}, REQUEST, OBJECTS)
    return [one.caption for one in described.objects], described.notes


def grid(count: int, width: int, height: int) -> list[Detection]:
    return [
        Detection(label="thing", bbox=(n % 10 * width / 10, n // 10 * height / 10, width, height)) for n in range(count)
    ]


async def test_it_is_a_describer(dinox: DinoxBackend) -> None:
    assert isinstance(dinox, Describer)


async def test_objects_are_told_of_in_their_order_and_keep_what_they_had(
    dinox: DinoxBackend, emulator: Emulator
) -> None:
    described = await dinox.describe(plain(100, 50), OBJECTS, ALL, Call())

    assert described.model == "DINO-X-1.0"
    assert [(one.label, one.bbox, one.score) for one in described.objects] == [
        (one.label, one.bbox, one.score) for one in OBJECTS
    ]
    assert [one.caption for one in described.objects] == [
        "a thing from 0% 0% to 10% 20%",
        "a thing from 20% 0% to 30% 20%",
        "a thing from 40% 40% to 60% 80%",
    ]
    assert [one.category for one in described.objects] == ["thing 0", "thing 1", "thing 2"]
    assert [one.text for one in described.objects] == [None, "No. 1", "No. 2"]
    assert emulator.last["targets"] == ["caption", "roc", "ocr"]


@pytest.mark.parametrize("count", [1, 50, 300])
async def test_all_objects_are_described_in_one_call(dinox: DinoxBackend, emulator: Emulator, count: int) -> None:
    described = await dinox.describe(plain(100, 50), grid(count, 100, 500)[:count], CAPTION, Call())

    assert len(described.objects) == count
    assert emulator.asked == ["dinox/region_vl"]


@pytest.mark.slow
async def test_regions_are_sent_in_pixels_of_the_upload(connect: Connect, emulator: Emulator) -> None:
    thing = Detection(label="thing", bbox=(250, 75, 500, 225))

    described = await connect(upload_max_side=100).describe(plain(1000, 750), [thing], CAPTION, Call())

    assert emulator.last["regions"] == [[25, 7.5, 50, 22.5]]
    assert described.objects[0].caption == "a thing from 25% 10% to 50% 30%"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("include", "sent"),
    [({"text"}, (2000, 1500)), ({"caption", "category"}, (2000, 1500)), ({"category"}, (1536, 1152))],
    ids=["text", "caption", "category alone"],
)
async def test_small_text_is_read_in_the_original(
    dinox: DinoxBackend, emulator: Emulator, include: set[Output], sent: tuple[int, int]
) -> None:
    thing = Detection(label="label", bbox=(500, 150, 1000, 450))

    described = await dinox.describe(plain(2000, 1500), [thing], frozenset(include), Call())

    assert picture_size(emulator.last["image"]) == sent
    assert emulator.last["regions"][0] == pytest.approx([edge * sent[0] / 2000 for edge in thing.bbox])
    assert described.objects[0].bbox == thing.bbox


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bbox", "sent"),
    [
        ((500, 250, 501, 251), [49.55, 24.55, 50.55, 25.55]),
        ((0, 0, 1, 750), [0, 0, 1, 75]),
        ((999, 749, 1000, 750), [99, 74, 100, 75]),
        ((990, -50, 1100, 50), [99, 0, 100, 5]),
    ],
)
async def test_a_box_that_shrinking_makes_too_thin_is_widened_to_a_pixel(
    connect: Connect, emulator: Emulator, bbox: tuple[float, float, float, float], sent: list[float]
) -> None:
    await connect(upload_max_side=100).describe(plain(1000, 750), [Detection(label="dot", bbox=bbox)], CAPTION, Call())

    assert emulator.last["regions"][0] == pytest.approx(sent)


@pytest.mark.parametrize(("objects", "include"), [([], ALL), (OBJECTS, frozenset())])
async def test_nothing_to_tell_makes_no_call(
    dinox: DinoxBackend, emulator: Emulator, objects: list[Detection], include: frozenset[Output]
) -> None:
    described = await dinox.describe(plain(), objects, include, Call())

    assert list(described.objects) == objects
    assert emulator.stats().requests == 0


async def test_the_picture_is_encoded_once_for_both_calls(dinox: DinoxBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    encodings = []
    photo = encoded(noisy(300, 200, 40))
    rgb = type(photo).rgb
    monkeypatch.setattr(type(photo), "rgb", lambda self, side=None: encodings.append(side) or rgb(self, side))

    found = await dinox.detect(photo, DetectionRequest(prompts=("dog",)), Call())
    await dinox.describe(photo, found.objects, CAPTION, Call())

    assert encodings == [1536]


async def test_a_breakdown_is_tried_again_and_paid_once(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.faults.create.extend(["500", "drop-after"])
    emulator.faults.poll.append("202001")

    described = await dinox.describe(plain(100, 50), OBJECTS, CAPTION, Call())

    assert described.objects[0].caption
    assert emulator.stats().paid == 1


@pytest.mark.slow
async def test_after_a_deadline_the_same_request_is_not_paid_twice(connect: Connect, emulator: Emulator) -> None:
    emulator.model_time = math.inf
    backend = connect(timeout_s=2)
    with pytest.raises(DeadlineError):
        await backend.describe(plain(100, 50), OBJECTS, CAPTION, Call())
    emulator.model_time = 0.0
    emulator.finish()

    await backend.describe(plain(100, 50), OBJECTS, CAPTION, Call())

    assert emulator.stats().paid == 1


async def test_a_call_that_is_cancelled_stops(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.model_time = math.inf
    with anyio.move_on_after(0.2) as scope:
        await dinox.describe(plain(100, 50), OBJECTS, CAPTION, Call())
    assert scope.cancelled_caught
    await anyio.sleep(0.1)
    polls = emulator.stats().polls

    await anyio.sleep(0.2)

    assert emulator.stats().polls == polls


async def test_without_a_key_it_says_how_to_have_one(connect: Connect) -> None:
    with pytest.raises(KeyRejectedError, match="DINOX_API_KEY"):
        await connect(api_key=None).describe(plain(), OBJECTS, CAPTION, Call())


def test_replies_in_another_order_are_matched_by_their_regions() -> None:
    described, notes = captions([reply(2), reply(0), reply(1)])

    assert described == ["caption 0", "caption 1", "caption 2"]
    assert notes == ("the service described 3 of 3 regions, or in another order: matched by region",)


@pytest.mark.parametrize(
    ("replies", "expected", "missing"),
    [
        ([reply(2)], [None, None, "caption 2"], 2),
        ([reply(0), reply(1), reply(2), reply(2)], ["caption 0", "caption 1", "caption 2"], 0),
        ([reply(1), {"caption": "of nowhere"}], [None, "caption 1", None], 2),
        ([{"caption": "of nowhere"}], [None, None, None], 3),
        ([], [None, None, None], 3),
        ([reply(0), reply(1), reply(2, region=[400, 400, 500, 500])], ["caption 0", "caption 1", None], 1),
    ],
)
def test_replies_in_another_number_are_matched_by_their_regions(
    replies: list[Any], expected: list[str | None], missing: int
) -> None:
    described, notes = captions(replies)

    assert described == expected
    assert len(notes) == 1
    assert notes[0].endswith(f"which leaves {missing} without a description" if missing else "matched by region")


@pytest.mark.parametrize("region", [None, [0.4, 0, 9, 10], "0,0,10,10", [0, 0, math.nan, 1], {"x": 1}], ids=str)
def test_regions_that_are_rounded_or_missing_go_by_their_order(region: object) -> None:
    described, notes = captions([reply(0, region=region), reply(1), reply(2)])

    assert described == ["caption 0", "caption 1", "caption 2"]
    assert not notes


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("  a dog\non grass ", "a dog on grass"),
        ("", None),
        (" ", None),
        (None, None),
        (7, None),
        (["a", "b"], None),
    ],
)
def test_a_caption_is_one_line_or_absent(sent: object, read: str | None) -> None:
    described, _ = captions([reply(0, caption=sent), reply(1), reply(2)])

    assert described[0] == read


@pytest.mark.parametrize("thing", [None, 7, "caption", ["caption"]])
def test_a_malformed_reply_costs_only_itself(thing: object) -> None:
    described, _ = captions([thing, reply(1), reply(2)])

    assert described == [None, "caption 1", "caption 2"]


def test_what_is_known_stays_where_nothing_is_reported() -> None:
    known = OBJECTS[0].model_copy(update={"text": "ISBN 3"})

    described = regions.read_descriptions(
        {"objects": [reply(0)]}, RegionRequest(b"", BOXES[:1], REQUEST.fields), [known]
    )

    assert (described.objects[0].text, described.objects[0].caption) == ("ISBN 3", "caption 0")


def test_a_result_without_objects_is_an_error() -> None:
    with pytest.raises(ServiceError, match="without a list of objects"):
        regions.read_descriptions({"objects": None}, REQUEST, OBJECTS)


TWO_BOXES = ((0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0))
REGIONS = RegionRequest(b"", TWO_BOXES, {"caption": "caption", "category": "roc", "text": "ocr"})
descriptions = st.fixed_dictionaries({}, optional=dict.fromkeys(("region", "caption", "roc", "ocr"), anything | boxes))


@pytest.mark.slow
@given(st.lists(descriptions | anything, max_size=5) | anything)
def test_descriptions_of_any_shape_keep_the_objects(things: Any) -> None:  # noqa: ANN401 - that is the point
    try:
        described = regions.read_descriptions(
            {"objects": things}, REGIONS, [Detection(label="thing", bbox=bbox) for bbox in TWO_BOXES]
        )
    except ServiceError:
        assert not isinstance(things, list)
        return

    assert [one.bbox for one in described.objects] == list(TWO_BOXES)
    assert all(one.caption is None or one.caption.strip() for one in described.objects)
