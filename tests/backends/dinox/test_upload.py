import base64
import io

import pytest
from PIL import Image

from dinox_mcp.backends.base import Call
from dinox_mcp.backends.dinox.upload import Upload, Uploads, shrink
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.detection import DetectionRequest
from tests.backends.dinox.conftest import Connect, encoded, noisy, plain
from tests.emulator import Emulator

CAMERA = 0x0110


def sent_bytes(upload: Upload) -> bytes:
    header, _, data = upload.uri.partition(",")
    assert header == "data:image/jpeg;base64"
    return base64.b64decode(data)


def sent_image(upload: Upload) -> Image.Image:
    return Image.open(io.BytesIO(sent_bytes(upload)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "sent"), [((4000, 3000), (1536, 1152)), ((100, 50), (100, 50)), ((5000, 2), (1536, 1))]
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
