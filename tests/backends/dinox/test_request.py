"""Requests by prompts: the image that is sent, what the service gets, and what comes back for it."""

import base64
import io
import math

import numpy as np
import pytest
from PIL import Image

from dinox_mcp.backends.base import Call
from dinox_mcp.backends.dinox.backend import DinoxBackend
from dinox_mcp.backends.dinox.request import Upload, Uploads, shrink
from dinox_mcp.errors import ImageError, InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types import masks
from dinox_mcp.types.detection import DetectionRequest
from tests.backends.dinox.conftest import Connect, encoded, noisy, plain
from tests.emulator import FRACTIONS, UNIVERSAL, Emulator

CAMERA = 0x0110


def sent_bytes(upload: Upload) -> bytes:
    header, _, data = upload.uri.partition(",")
    assert header == "data:image/jpeg;base64"
    return base64.b64decode(data)


def sent_image(upload: Upload) -> Image.Image:
    return Image.open(io.BytesIO(sent_bytes(upload)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "sent"), [((2000, 1500), (1536, 1152)), ((100, 50), (100, 50)), ((5000, 2), (1536, 1))]
)
def test_the_long_side_is_shrunk_and_never_enlarged(size: tuple[int, int], sent: tuple[int, int]) -> None:
    upload = shrink(plain(*size), 1536, 85)

    assert (upload.width, upload.height) == sent_image(upload).size == sent


def test_a_noisy_photo_stays_below_half_a_megabyte() -> None:
    upload = shrink(encoded(noisy(1536, 1152, 25), "JPEG", quality=95), 1536, 85)

    assert 300_000 < len(upload.uri) < 500_000


def test_quality_does_not_fall_below_60() -> None:
    noise = noisy(1536, 1152, 90)
    lowest = encoded(noise, "JPEG", quality=60).data

    assert len(sent_bytes(shrink(encoded(noise, "BMP"), 1536, 85))) == len(lowest)


@pytest.mark.slow
@pytest.mark.anyio
async def test_the_whole_request_for_a_large_photo_is_below_half_a_megabyte(
    connect: Connect, emulator: Emulator
) -> None:
    photo = encoded(noisy(4000, 3000, 60), "JPEG", quality=90)
    prompts = tuple(f"thing number {n}" for n in range(50))

    await connect().detect(photo, DetectionRequest(prompts=prompts), Call())

    assert len(photo.data) > 5_000_000
    assert emulator.stats().upload_bytes < 500_000


def test_a_small_jpeg_goes_as_it_is() -> None:
    picture = encoded(noisy(200, 100, 20), "JPEG", quality=50)

    assert sent_bytes(shrink(picture, 1536, 85)) == picture.data


def camera() -> Image.Exif:
    exif = Image.Exif()
    exif[CAMERA] = "my camera"
    return exif


@pytest.mark.parametrize(
    "options",
    [{"exif": camera()}, {"comment": b"at home"}, {"xmp": b"<x:xmpmeta/>"}, {"icc_profile": b"profile"}],
    ids=lambda options: next(iter(options)),
)
def test_what_a_camera_wrote_beside_the_pixels_is_not_sent(options: dict[str, object]) -> None:
    picture = encoded(noisy(200, 100, 20), "JPEG", quality=50, **options)

    sent = sent_image(shrink(picture, 1536, 85))

    assert not sent.getexif()
    assert not {"comment", "xmp", "icc_profile"} & set(sent.info)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_jpeg_of_other_colours_is_sent_as_rgb(mode: str) -> None:
    picture = encoded(noisy(200, 100, 20).convert(mode), "JPEG", quality=50)

    assert sent_image(shrink(picture, 1536, 85)).mode == "RGB"


def test_a_picture_that_is_no_jpeg_is_sent_as_one() -> None:
    assert sent_image(shrink(plain(), 1536, 85)).format == "JPEG"


def test_a_picture_is_encoded_once_for_each_size_and_quality() -> None:
    uploads = Uploads()
    picture = encoded(noisy(200, 100, 20))

    first = uploads.get(picture, 150, 85)

    assert uploads.get(Picture.from_bytes(picture.data), 150, 85) is first
    assert uploads.get(picture, 100, 85).width == 100
    assert len(uploads.get(picture, 150, 60).uri) < len(first.uri)


@pytest.mark.parametrize("max_bytes", [0, 30_000])
def test_the_memory_of_uploads_is_bounded(max_bytes: int) -> None:
    uploads = Uploads(max_bytes)
    pictures = [encoded(noisy(200 + n, 100, 20)) for n in range(5)]

    first = [uploads.get(picture, 1536, 85) for picture in pictures]
    again = [uploads.get(picture, 1536, 85) for picture in reversed(pictures)]

    kept = [one for one, other in zip(first, reversed(again), strict=True) if one is other]
    assert sum(len(one.uri) for one in kept) <= max_bytes
    assert bool(kept) == bool(max_bytes)


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
    with pytest.raises(InputError, match="name what to find"):
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
