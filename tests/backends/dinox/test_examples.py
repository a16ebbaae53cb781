import math
from collections import Counter

import anyio
import pytest
from PIL import Image, ImageDraw

from dinox_mcp.backends.base import Call, Embedder
from dinox_mcp.backends.dinox import examples, objects
from dinox_mcp.backends.dinox.backend import DinoxBackend
from dinox_mcp.backends.dinox.models import T_REX
from dinox_mcp.backends.dinox.request import Frames, ObjectRequest
from dinox_mcp.errors import InputError, QuotaError, ServiceError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import iou
from dinox_mcp.types.detection import BBox, DetectionRequest, Embedding, Example
from tests.backends.dinox.conftest import Connect, encoded
from tests.emulator import Emulator
from tests.emulator.embeddings import embedding_of

pytestmark = pytest.mark.anyio

RED: tuple[BBox, ...] = ((100, 100, 300, 260), (700, 500, 900, 700))
BLUE: tuple[BBox, ...] = ((500, 80, 640, 300),)


def squares(width: int, height: int, **boxes: tuple[BBox, ...]) -> Picture:
    """Draw boxes of colours on white."""
    image = Image.new("RGB", (width, height), "white")
    for colour, places in boxes.items():
        for x1, y1, x2, y2 in places:
            ImageDraw.Draw(image).rectangle((x1, y1, x2 - 1, y2 - 1), colour)
    return encoded(image)


SCENE = squares(1000, 800, red=RED, blue=BLUE)
ELSEWHERE = squares(1500, 1000, red=((1000, 750, 1200, 950),), blue=((0, 0, 150, 150),))
OTHERS = {ELSEWHERE.digest: ELSEWHERE}


async def find(backend: DinoxBackend, *shown: Example, pictures: dict[str, Picture] = OTHERS) -> dict[str, list[BBox]]:
    """Search the scene; give the boxes of each label, from the left."""
    found = await backend.detect(SCENE, DetectionRequest(examples=shown), Call(pictures=pictures))
    return {
        label: sorted(one.bbox for one in found.objects if one.label == label)
        for label in {one.label for one in found.objects}
    }


def assert_same(found: list[BBox], expected: tuple[BBox, ...]) -> None:
    assert len(found) == len(expected)
    assert all(iou(one, other) > 0.95 for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    "example",
    [
        Example(bbox=(150, 120, 250, 220)),
        Example(point=(800, 600)),
        Example(bbox=(150, 120, 250, 220), image=SCENE.digest),
        Example(bbox=(1025, 775, 1175, 925), image=ELSEWHERE.digest),
        Example(point=(1050, 800), image=ELSEWHERE.digest),
    ],
    ids=["box", "point", "same image by digest", "box elsewhere", "point elsewhere"],
)
@pytest.mark.slow
async def test_what_looks_like_the_example_is_found(dinox: DinoxBackend, example: Example) -> None:
    found = await find(dinox, example)

    assert found.keys() == {"object"}
    assert_same(found["object"], RED)


async def test_coordinates_are_of_the_upload_of_their_own_picture(connect: Connect, emulator: Emulator) -> None:
    here, there = Example(bbox=(100, 100, 300, 260)), Example(point=(1050, 800), image=ELSEWHERE.digest)

    found = await find(connect(upload_max_side=500), here, there)

    first, second = emulator.last["prompt"]["visual_images"]
    assert first["interactions"] == [{"type": "rect", "category_id": 1, "rect": [50, 50, 150, 130]}]
    assert second["interactions"][0]["point"] == pytest.approx([350, 800 * 333 / 1000])
    assert first["image"] == emulator.last["image"]
    assert_same(found["object"], RED)


async def test_pictures_are_shrunk_to_what_the_model_looks_at(dinox: DinoxBackend, emulator: Emulator) -> None:
    await find(dinox, Example(bbox=(1050, 800, 1350, 1000), image=ELSEWHERE.digest))

    (shown,) = emulator.last["prompt"]["visual_images"]
    assert shown["interactions"][0]["rect"] == pytest.approx([f * 1333 / 1500 for f in (1050, 800, 1350, 1000)], abs=1)


async def test_examples_are_grouped_by_their_pictures(dinox: DinoxBackend, emulator: Emulator) -> None:
    await find(
        dinox,
        Example(bbox=(150, 120, 250, 220)),
        Example(point=(1050, 800), image=ELSEWHERE.digest),
        Example(point=(800, 600)),
    )

    shown = emulator.last["prompt"]["visual_images"]
    assert [[one["type"] for one in picture["interactions"]] for picture in shown] == [["rect", "point"], ["point"]]
    assert emulator.asked == ["trex/detection"]


async def test_several_labels_come_back_as_the_caller_wrote_them(dinox: DinoxBackend, emulator: Emulator) -> None:
    found = await find(
        dinox,
        Example(label="Red one", point=(110, 110)),
        Example(label="blau", point=(100, 100), image=ELSEWHERE.digest),
        Example(label="Red one", point=(800, 600)),
    )

    assert_same(found["Red one"], RED)
    assert_same(found["blau"], BLUE)
    assert emulator.stats().paid == 1


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (Example(label="cup", bbox=(1000, 0, 1100, 50)), r"the bbox \[1000.0, 0.0, 1100.0, 50.0\].*'cup'.*1000x800"),
        (Example(bbox=(10, 10, 10, 50)), "the bbox"),
        (Example(point=(-1, 5)), "the point"),
        (Example(point=(1499, 1001), image=ELSEWHERE.digest), "the point .*1500x1000"),
        (Example(point=(5, 5), image="abc"), "the image abc of an example for 'object' is not given"),
    ],
)
async def test_an_example_of_nothing_is_refused_before_anything_is_paid(
    dinox: DinoxBackend, emulator: Emulator, example: Example, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        await find(dinox, example)

    assert emulator.stats().requests == 0


async def test_examples_are_asked_without_thresholds_and_filtered_here(dinox: DinoxBackend, emulator: Emulator) -> None:
    request = DetectionRequest(examples=(Example(label="Red one", point=(110, 110)),), min_score=0.99)

    found = await dinox.detect(SCENE, request, Call())

    assert not {"bbox_threshold", "iou_threshold"} & emulator.last.keys()
    assert all(one.score is None or one.score >= 0.99 for one in found.objects)


def embedded(red: float, green: float = 0, blue: float = 0) -> Embedding:
    return Embedding(backend="dinox", model="T-Rex-2.0", data=embedding_of([[red, green, blue]]))


async def save(backend: DinoxBackend, *shown: Example) -> Embedding:
    return await backend.embed(SCENE, DetectionRequest(examples=shown), Call(pictures=OTHERS))


@pytest.mark.slow
async def test_a_saved_prompt_finds_what_its_examples_found(dinox: DinoxBackend, emulator: Emulator) -> None:
    assert isinstance(dinox, Embedder)

    saved = await save(dinox, Example(point=(110, 110)), Example(point=(100, 100), image=ELSEWHERE.digest))

    assert (saved.backend, saved.model) == ("dinox", "T-Rex-2.0")
    assert emulator.last["targets"] == ["bbox", "embedding"]
    found = await find(dinox, Example(label="anything", embedding=saved))
    assert_same(found["anything"], tuple(sorted((*RED, *BLUE))))
    assert emulator.last["prompt"] == {"type": "embedding", "embedding": saved.data}


@pytest.mark.parametrize(
    ("shown", "calls"),
    [
        ((), 1),
        ((Example(point=(1, 1)), Example(bbox=(0, 0, 9, 9))), 1),
        ((Example(embedding=embedded(1)), Example(embedding=embedded(2))), 2),
        ((Example(embedding=embedded(1)), Example(embedding=embedded(1)), Example(point=(1, 1))), 2),
    ],
)
async def test_it_says_how_many_calls_a_request_takes(
    dinox: DinoxBackend, shown: tuple[Example, ...], calls: int
) -> None:
    assert dinox.calls(DetectionRequest(examples=shown)) == calls


@pytest.mark.slow
async def test_saved_prompts_and_boxes_are_asked_in_a_call_each_and_merged(
    dinox: DinoxBackend, emulator: Emulator
) -> None:
    red, blue = await save(dinox, Example(point=(110, 110))), await save(dinox, Example(point=(550, 100)))
    before = emulator.stats().paid

    found = await dinox.detect(
        SCENE,
        DetectionRequest(
            examples=(
                Example(label="red", embedding=red),
                Example(label="blue", embedding=blue),
                Example(label="red", embedding=red),
                Example(label="red", point=(110, 110)),
            )
        ),
        Call(),
    )

    assert emulator.stats().paid - before == 3
    assert Counter(one.label for one in found.objects) == {"red": 2, "blue": 1}
    assert found.notes == ("T-Rex-2.0 took 3 calls, one for each saved prompt and one for all drawn examples",)
    scores = [one.score for one in found.objects]
    assert scores == sorted(scores, reverse=True)


async def test_no_more_than_a_few_calls_run_at_once(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.model_time = math.inf
    shown = tuple(Example(embedding=embedded(colour)) for colour in range(8))

    async with anyio.create_task_group() as group:
        group.start_soon(find, dinox, *shown)
        with anyio.fail_after(20):
            while emulator.stats().creates < 4:  # noqa: ASYNC110 - the emulator runs in a thread without events for it
                await anyio.sleep(0.02)
        await anyio.sleep(0.2)  # in which a fifth one would come
        group.cancel_scope.cancel()

    assert emulator.stats().creates == 4


async def test_one_saved_prompt_under_two_names_is_paid_once(dinox: DinoxBackend, emulator: Emulator) -> None:
    saved = embedded(255, 0, 0)

    found = await find(dinox, Example(label="red", embedding=saved), Example(label="rot", embedding=saved))

    assert found["red"] == found["rot"]
    assert emulator.stats().paid == 1


async def test_one_call_that_fails_is_the_error_of_all(dinox: DinoxBackend, emulator: Emulator) -> None:
    saved = await save(dinox, Example(point=(110, 110)))
    emulator.faults.create.append("quota")

    with pytest.raises(QuotaError):
        await find(dinox, Example(label="a", embedding=saved), Example(label="b", point=(110, 110)))


@pytest.mark.parametrize(
    ("backend", "model"), [("local", "google/owlv2-base-patch16"), ("dinox", "T-Rex-3.0"), ("dinox", "DINO-X-1.0")]
)
async def test_a_saved_prompt_of_another_model_is_refused_with_the_remedy(
    dinox: DinoxBackend, emulator: Emulator, backend: str, model: str
) -> None:
    saved = Embedding(backend=backend, model=model, data="AAAA")

    with pytest.raises(UnsupportedError, match=f"'cup' is of {model} .backend {backend}.*save the prompt again"):
        await find(dinox, Example(label="cup", embedding=saved))

    assert emulator.stats().requests == 0


async def test_a_saved_prompt_that_the_service_does_not_know_is_reported(dinox: DinoxBackend) -> None:
    saved = Embedding(backend="dinox", model="T-Rex-2.0", data="AAAA")

    with pytest.raises(ServiceError, match=r"refuses the request .*not an embedding"):
        await find(dinox, Example(embedding=saved))


async def test_a_saved_prompt_is_not_saved_again(dinox: DinoxBackend, emulator: Emulator) -> None:
    saved = Embedding(backend="dinox", model="T-Rex-2.0", data="AAAA")

    with pytest.raises(UnsupportedError, match="cannot be saved again"):
        await save(dinox, Example(embedding=saved))
    with pytest.raises(InputError, match="no example to save"):
        await save(dinox)

    assert emulator.stats().requests == 0


@pytest.mark.parametrize("result", [{}, {"embedding": None}, {"embedding": ""}, {"embedding": [1, 2]}], ids=str)
def test_a_result_without_an_embedding_is_an_error(result: dict[str, object]) -> None:
    with pytest.raises(ServiceError, match="without an embedding"):
        examples.read_embedding(result)


async def test_an_interrupted_search_by_example_is_picked_up(connect: Connect, emulator: Emulator) -> None:
    backend = connect()
    emulator.model_time = math.inf
    async with anyio.create_task_group() as group:
        group.start_soon(find, backend, Example(point=(110, 110)))
        while not emulator.stats().polls:  # noqa: ASYNC110 - the emulator runs in a thread without events for it
            await anyio.sleep(0.005)
        group.cancel_scope.cancel()
    emulator.model_time = 0.0
    emulator.finish()

    await find(backend, Example(point=(110, 110)))

    assert emulator.stats().paid == 1


def reading(*labels: str) -> ObjectRequest:
    return ObjectRequest(T_REX, b"", Frames((100, 100), (100, 100)), examples._by_number(labels), min_score=0.3)


@pytest.mark.parametrize("number", [3, 0, "1", None])
def test_an_object_of_a_category_not_in_the_request_is_left_out(number: object) -> None:
    things = [{"category_id": 1, "score": 0.9, "bbox": [1, 1, 9, 9]}]
    things += [{"category_id": number, "score": 0.9, "bbox": [1, 1, 9, 9]}]

    found = objects.read_objects({"objects": things}, reading("cup", "plate"))

    assert [one.label for one in found.objects] == ["cup"]
    assert found.notes == ("1 object of the reply was malformed and left out",)


def test_where_one_label_was_asked_for_every_object_has_it() -> None:
    found = objects.read_objects({"objects": [{"score": 0.9, "bbox": [1, 1, 9, 9]}]}, reading("cup"))

    assert [one.label for one in found.objects] == ["cup"]


def test_what_scores_less_than_was_asked_for_is_left_out() -> None:
    things = [{"category_id": 1, "score": score, "bbox": [1, 1, 9, 9]} for score in (0.2, 0.4, None)]

    found = objects.read_objects({"objects": things}, reading("cup"))

    assert [one.score for one in found.objects] == [None, 0.4]


def test_boxes_that_overlap_by_more_than_was_requested_are_one() -> None:
    things = [{"score": edge / 100, "bbox": [0, 0, 100, edge]} for edge in (70, 100)]

    found = objects.read_results([{"objects": things}], [reading("cup")], 0.5)

    assert [one.bbox for one in found.objects] == [(0, 0, 100, 100)]
