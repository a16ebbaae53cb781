"""Requests by prompts: what the service gets, and what comes back for them."""

import math

import numpy as np
import pytest

from dinox_mcp.backends.base import Call
from dinox_mcp.backends.dinox.backend import DinoxBackend
from dinox_mcp.errors import ImageError, InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types import masks
from dinox_mcp.types.detection import DetectionRequest
from tests.backends.dinox.conftest import Connect, encoded, noisy, plain
from tests.emulator import FRACTIONS, UNIVERSAL, Emulator

pytestmark = pytest.mark.anyio

DOG = DetectionRequest(prompts=("dog",))


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
    complete = encoded(noisy(200, 200, 60), "PNG")
    broken = Picture(complete.data[: len(complete.data) // 2], 200, 200, "PNG")

    with pytest.raises(ImageError, match="damaged"):
        await dinox.detect(broken, DOG, Call())

    assert emulator.stats().requests == 0


async def test_a_result_that_comes_at_once_needs_no_poll(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.faults.create.append("instant")

    found = await dinox.detect(plain(), DOG, Call())

    assert len(found.objects) == 1
    assert emulator.stats().polls == 0
