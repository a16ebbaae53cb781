import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from dinox_mcp.backends.base import Call
from dinox_mcp.backends.dinox import create, models
from dinox_mcp.backends.dinox.backend import DinoxBackend
from dinox_mcp.backends.dinox.upload import Frames
from dinox_mcp.backends.dinox.wire import objects, question
from dinox_mcp.backends.dinox.wire.question import Question
from dinox_mcp.errors import ImageError, InputError, ServiceError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types import masks
from dinox_mcp.types.detection import DetectionRequest
from tests.backends.dinox.conftest import Connect, encoded, noisy, plain
from tests.emulator import FRACTIONS, UNIVERSAL, Emulator

pytestmark = pytest.mark.anyio

DOG = DetectionRequest(prompts=("dog",))
FRAMES = Frames(size=(100, 50), sent=(50, 25))
QUESTION = Question(models.DINO_X, b"", FRAMES, question.spelled({"dog": "Dog"}), ("bbox", "mask"))
MASK = {"counts": masks.encode(np.ones((25, 50), dtype=bool)).counts, "size": [25, 50], "format": "coco_rle"}


def thing(**changes: object) -> dict[str, Any]:
    return {"category": "dog", "score": 0.5, "bbox": [5, 5, 10, 10], "mask": MASK} | changes


def test_it_does_boxes_and_masks_of_anything() -> None:
    backend = create(Settings())

    assert backend.name == "dinox"
    assert backend.capabilities().answers >= {"text prompts", "prompt-free detection"}
    assert backend.capabilities().outputs >= {"masks"}


def test_creating_it_imports_nothing_heavy() -> None:
    program = (
        "import sys; from dinox_mcp.backends.dinox import create; from dinox_mcp.settings import Settings; "
        "create(Settings()).capabilities(); print(sorted({'PIL.Image', 'numpy', 'httpx2', 'cv2'} & set(sys.modules)))"
    )

    run = [sys.executable, "-c", program]
    done = subprocess.run(run, capture_output=True, text=True, check=True)  # noqa: S603 - our own program

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("size", [(60, 40), (1999, 1001), (1500, 7)])
async def test_boxes_are_in_pixels_of_the_original(connect: Connect, size: tuple[int, int]) -> None:
    backend = connect(upload_max_side=640)

    found = await backend.detect(plain(*size), DetectionRequest(prompts=("dog", "cat")), Call())

    for one, fractions in zip(found.objects, FRACTIONS, strict=False):
        assert one.bbox == pytest.approx([f * size[i % 2] for i, f in enumerate(fractions)], abs=0.01)


async def test_a_rotated_photo_is_seen_as_a_person_sees_it(dinox: DinoxBackend) -> None:
    exif = noisy(60, 40, 9).getexif()
    exif[0x0112] = 6
    photo = encoded(noisy(60, 40, 9), "JPEG", exif=exif)

    found = await dinox.detect(photo, DOG, Call())

    assert found.objects[0].bbox == pytest.approx([0.1 * 40, 0.2 * 60, 0.5 * 40, 0.6 * 60])


async def test_masks_are_of_the_original_size_and_fit_their_boxes(connect: Connect) -> None:
    request = DetectionRequest(prompts=("dog",), include=frozenset({"masks"}))

    found = await connect(upload_max_side=200).detect(plain(1000, 600), request, Call())

    mask = found.objects[0].mask
    assert mask is not None
    rows, columns = np.nonzero(masks.decode(mask))
    around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert mask.size == (600, 1000)
    assert around == pytest.approx(found.objects[0].bbox, abs=10)
    assert masks.area(mask) == pytest.approx(math.pi / 4 * 400 * 240, rel=0.02)


async def test_without_prompts_everything_is_found(dinox: DinoxBackend, emulator: Emulator) -> None:
    found = await dinox.detect(plain(), DetectionRequest(), Call())

    assert [one.label for one in found.objects] == list(UNIVERSAL)
    assert emulator.last["prompt"] == {"type": "universal", "universal": 1}


@pytest.mark.parametrize(
    ("prompts", "sent"),
    [
        (("Red  CAR", "wolf"), "Red CAR.wolf"),
        (("U.S. flag",), "U S flag"),
        (("two\nlines\t",), "two lines"),
        (("dog", "DOG"), "dog"),
        (("Äpfel", "狗"), "Äpfel.狗"),
    ],
)
async def test_labels_come_back_as_the_caller_wrote_them(
    dinox: DinoxBackend, emulator: Emulator, prompts: tuple[str, ...], sent: str
) -> None:
    found = await dinox.detect(plain(), DetectionRequest(prompts=prompts), Call())

    assert emulator.last["prompt"] == {"type": "text", "text": sent}
    assert [one.label for one in found.objects] == list(prompts[: len(found.objects)])


@pytest.mark.parametrize("prompts", [("dog", " . "), ()])
async def test_a_prompt_without_a_word_is_refused_before_anything_is_paid(
    dinox: DinoxBackend, emulator: Emulator, prompts: tuple[str, ...]
) -> None:
    with pytest.raises(InputError, match="name what to look for"):
        await dinox.detect(plain(), DetectionRequest(prompts=prompts), Call())

    assert emulator.stats().requests == 0


async def test_thresholds_and_targets_reach_the_service(dinox: DinoxBackend, emulator: Emulator) -> None:
    request = DetectionRequest(
        prompts=("dog", "cat", "cow"), min_score=0.75, iou_threshold=0.4, include=frozenset({"masks"})
    )

    found = await dinox.detect(plain(), request, Call())

    assert [one.label for one in found.objects] == ["dog", "cat"]
    sent = {name: value for name, value in emulator.last.items() if name not in {"image", "prompt"}}
    assert sent == {
        "model": "DINO-X-1.0",
        "targets": ["bbox", "mask"],
        "mask_format": "coco_rle",
        "bbox_threshold": 0.75,
        "iou_threshold": 0.4,
    }


async def test_masks_are_neither_asked_for_nor_given_unasked(dinox: DinoxBackend, emulator: Emulator) -> None:
    found = await dinox.detect(plain(), DOG, Call())

    assert emulator.last["targets"] == ["bbox"]
    assert found.objects[0].mask is None
    assert not found.notes


async def test_a_damaged_picture_is_refused_before_anything_is_paid(dinox: DinoxBackend, emulator: Emulator) -> None:
    whole = encoded(noisy(200, 200, 60), "PNG")
    broken = Picture(whole.data[: len(whole.data) // 2], 200, 200, "PNG")

    with pytest.raises(ImageError, match="damaged"):
        await dinox.detect(broken, DOG, Call())

    assert emulator.stats().requests == 0


async def test_malformed_objects_are_left_out_and_told(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.faults.create.append("malformed")

    found = await dinox.detect(plain(), DOG, Call())

    assert [one.label for one in found.objects] == ["dog"]
    assert found.notes == ("3 objects of the reply were malformed and left out",)


async def test_a_result_that_comes_at_once_needs_no_poll(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.faults.create.append("instant")

    found = await dinox.detect(plain(), DOG, Call())

    assert len(found.objects) == 1
    assert emulator.stats().polls == 0


def test_the_best_come_first() -> None:
    things = [thing(score=score) for score in (0.3, 0.9, 0.6)]

    assert [one.score for one in objects.read({"objects": things}, QUESTION).objects] == [0.9, 0.6, 0.3]


def test_a_category_that_nobody_asked_for_comes_as_it_is() -> None:
    found = objects.read({"objects": [thing(category="Sea Lion"), thing(category=" DOG ")]}, QUESTION)

    assert [one.label for one in found.objects] == ["Sea Lion", "Dog"]


@pytest.mark.parametrize(
    ("sent", "score"), [(0.5, 0.5), ("0.5", 0.5), (None, None), (1.0000001, 1.0), (-0.0000001, 0.0)]
)
def test_a_score_is_the_models_own_or_absent(sent: object, score: float | None) -> None:
    found = objects.read({"objects": [thing(score=sent)]}, QUESTION)

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
    found = objects.read({"objects": [thing(**changes), thing()]}, QUESTION)

    assert len(found.objects) == 1
    assert found.notes == ("1 object of the reply was malformed and left out",)


def test_boxes_are_clipped_to_the_picture_with_their_corners_in_order() -> None:
    found = objects.read({"objects": [thing(bbox=[40, 20, -3, 300])]}, QUESTION)

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
    found = objects.read({"objects": [thing(mask=mask), thing()]}, QUESTION)

    assert [one.mask is None for one in found.objects] == [True, False]
    assert found.notes == ("1 object came without a mask that can be read",)


@pytest.mark.parametrize("result", [{}, {"objects": None}, {"objects": {"a": 1}}, {"objects": "none"}], ids=str)
def test_a_result_without_objects_is_an_error(result: dict[str, object]) -> None:
    with pytest.raises(ServiceError, match="without a list of objects"):
        objects.read(result, QUESTION)
