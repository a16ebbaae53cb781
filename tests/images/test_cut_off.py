"""A JPEG without its end is shown as far as it goes."""

import numpy as np
import pytest
from PIL import Image

from dinox_mcp.errors import ImageError
from dinox_mcp.images.picture import Picture
from tests.images.samples import encode

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8))
PROGRESSIVE = pytest.mark.parametrize("progressive", [False, True])
ENDS_EARLY = "the file ends early; all rows of the image could be read, perhaps in less detail"


def jpeg(*, progressive: bool) -> bytes:
    return encode(NOISE, "JPEG", progressive=progressive)


def pixels(picture: Picture) -> np.ndarray:
    return np.asarray(picture.rgb()).astype(int)


@PROGRESSIVE
@pytest.mark.parametrize("lost", [1, 2, 4])
def test_a_jpeg_without_its_last_bytes_is_whole(lost: int, *, progressive: bool) -> None:
    data = jpeg(progressive=progressive)
    picture = Picture.from_bytes(data[:-lost])
    assert np.abs(pixels(picture) - pixels(Picture.from_bytes(data))).mean() < 1
    assert picture.notes == (ENDS_EARLY,)


@PROGRESSIVE
def test_a_jpeg_whose_end_is_zeros(*, progressive: bool) -> None:
    picture = Picture.from_bytes(jpeg(progressive=progressive)[:-2] + bytes(2))
    assert picture.notes == (ENDS_EARLY,)


@pytest.mark.parametrize("max_side", [None, 75])
def test_a_jpeg_cut_in_the_middle_shows_its_upper_half(max_side: int | None) -> None:
    data = jpeg(progressive=False)
    picture = Picture.from_bytes(data[: len(data) // 2])
    whole, cut = (np.asarray(one.rgb(max_side)).astype(int) for one in (Picture.from_bytes(data), picture))
    third = len(whole) // 3
    assert np.abs(whole[:third] - cut[:third]).mean() < 1
    assert (cut[-third:] == 128).all()
    assert "only the first 5" in picture.notes[0]
    assert picture.notes[0].endswith("% of the image could be read, and the rest is grey")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_progressive_jpeg_cut_in_the_middle_shows_less_detail(share: float) -> None:
    data = jpeg(progressive=True)
    picture = Picture.from_bytes(data[: int(len(data) * share)])
    assert picture.rgb().size == (300, 200)
    assert picture.notes


@pytest.mark.parametrize("marker", [b"\xff\xc4", b"\xff\xda"])
def test_a_progressive_jpeg_cut_within_a_table_shows_the_scans_before(marker: bytes) -> None:
    data = jpeg(progressive=True)
    picture = Picture.from_bytes(data[: data.rfind(marker) + 6])
    assert np.abs(pixels(picture) - pixels(Picture.from_bytes(data))).mean() < 20


def test_a_jpeg_of_which_there_is_nearly_nothing_is_an_error() -> None:
    data = jpeg(progressive=False)
    picture = Picture.from_bytes(data[: data.find(b"\xff\xda") + 200], "cat.jpg")
    with pytest.raises(ImageError, match=r"cat\.jpg is cut off near its beginning .*; pass an intact file"):
        picture.rgb()
