"""Samples of more than 8 bits are shown by the range that they use."""

import struct
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from dinox_mcp.errors import ImageError
from dinox_mcp.images import opencv
from dinox_mcp.images.picture import Picture
from tests.images.samples import RED, encode, field, near, png_chunk, quadrants, raw_png, raw_tiff

NODATA_TAG = 42113
SHADES = np.full((60, 80), 0.1, np.float32)
SHADES[:, 40:] = 0.9
SHADES[:, 20:40] = np.linspace(0.1, 0.9, 20)


def scene(low: int, high: int) -> np.ndarray:
    """An image of three shades, `low` on the left and `high` on the right."""
    samples = np.full((60, 80), low, np.uint16)
    samples[:, 26:54] = (low + high) // 2
    samples[:, 54:] = high
    return samples


def by_opencv(samples: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, samples)[1].tobytes()


def tiff(samples: np.ndarray, nodata: str | None = None) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    if nodata is not None:
        tags[NODATA_TAG] = nodata
        tags.tagtype[NODATA_TAG] = 2
    return encode(Image.fromarray(samples), "TIFF", tiffinfo=tags)


def edges(picture: Picture) -> tuple[float, float]:
    """The mean shade of the left and the right quarter."""
    grey = np.asarray(picture.rgb().convert("L")).astype(float)
    quarter = grey.shape[1] // 4
    return grey[:, :quarter].mean(), grey[:, -quarter:].mean()


@pytest.mark.parametrize(
    ("low", "high", "channels", "suffix"),
    [
        *((low, high, 1, ".png") for low, high in ((0, 1023), (0, 4095), (100, 16383), (64000, 64200))),
        *((7300, 7420, channels, suffix) for channels in (1, 3, 4) for suffix in (".png", ".tif")),
    ],
)
def test_a_narrow_band_of_16_bits_is_stretched(low: int, high: int, channels: int, suffix: str) -> None:
    samples = scene(low, high)
    if channels > 1:
        samples = np.dstack([samples] * 3)
    if channels == 4:
        samples = np.dstack([samples, np.full_like(samples[..., 0], 65535)])
    picture = Picture.from_bytes(by_opencv(samples, suffix))
    assert edges(picture) == (0, 255)
    assert picture.notes == (
        f"its samples lie between {low} and {high} of 65,535 and were stretched from black to white",
    )


def test_16_bits_that_are_used_are_shown_as_they_are() -> None:
    picture = Picture.from_bytes(by_opencv(scene(8000, 60000), ".png"))
    assert edges(picture) == pytest.approx((8000 / 257, 60000 / 257), abs=1)
    assert not picture.notes


def test_of_very_large_pictures_the_upper_bits_are_shown_and_a_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opencv, "_MOST_DEEP", 100)
    samples = np.zeros((20, 30, 3), np.uint16)
    samples[10:] = 200 << 8
    picture = Picture.from_bytes(by_opencv(samples, ".png"))
    assert [picture.rgb().getpixel((5, row)) for row in (2, 15)] == [(0, 0, 0), (200, 200, 200)]
    assert "only the upper 8 of its 16 bits" in picture.notes[0]


def test_colours_keep_their_balance_when_they_are_stretched() -> None:
    samples = np.asarray(field()).astype(np.uint16)[..., ::-1] * 16  # 12 bits, in OpenCV's order
    image = Picture.from_bytes(by_opencv(samples, ".png")).rgb()
    assert near(quadrants(image), quadrants(field()))


def test_one_hot_pixel_does_not_darken_the_picture() -> None:
    samples = scene(1000, 1200)
    samples[5, 5] = 65535
    assert edges(Picture.from_bytes(by_opencv(samples, ".tif"))) == pytest.approx((0, 255), abs=2)


def significant(bits: int, samples: np.ndarray) -> bytes:
    """A grey PNG of 16 bits whose chunk sBIT says how many carry the image."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return raw_png(80, 60, 16, 0, rows, png_chunk(b"sBIT", bytes([bits])))


def test_the_bits_that_a_png_names_are_its_range() -> None:
    picture = Picture.from_bytes(significant(12, scene(1000, 3500)))
    assert edges(picture) == pytest.approx((1000 * 255 / 4095, 3500 * 255 / 4095), abs=1)
    assert picture.notes == ("its samples have 12 bits and were stretched",)


def test_bits_that_were_scaled_up_already_are_not_stretched_again() -> None:
    assert not Picture.from_bytes(significant(12, scene(0, 65535))).notes


@pytest.mark.parametrize(
    ("bands", "bits", "width"), [(1, 10, 80), (1, 12, 80), (1, 14, 80), (1, 12, 81), (3, 10, 80), (3, 12, 81)]
)
def test_a_tiff_of_packed_bits(bands: int, bits: int, width: int) -> None:
    top = (1 << bits) - 1
    samples = np.resize(scene(top // 8, top), (60, 80))[:, [*range(80), 79][:width]]
    picture = Picture.from_bytes(raw_tiff(np.dstack([samples] * 3) if bands == 3 else samples, bits))
    assert edges(picture) == pytest.approx((255 / 8, 255), abs=1)
    assert picture.notes == (f"its samples have {bits} bits and were stretched",)


def test_a_tiff_of_packed_bits_whose_0_is_white() -> None:
    picture = Picture.from_bytes(raw_tiff(scene(500, 4000), 12, photometric=0))
    assert edges(picture) == pytest.approx((255 - 500 * 255 / 4095, 255 - 4000 * 255 / 4095), abs=1)


@pytest.mark.parametrize("dtype", ["f4", "f8", "u4", "i2", "i4"])
def test_a_tiff_of_colours_in_floats_and_long_numbers(dtype: str) -> None:
    colours = np.asarray(field(), np.float64)
    samples = (colours * 2**23 if dtype == "u4" else colours).astype(f"<{dtype}")
    data = raw_tiff(samples, 8 * int(dtype[1]), kind="?uif".index(dtype[0]))
    assert near(quadrants(Picture.from_bytes(data).rgb()), quadrants(field()))


def test_whole_numbers_of_32_bits_are_not_taken_for_negative_ones() -> None:
    samples = scene(1, 4).astype("<u4") * 1_000_000_000
    assert edges(Picture.from_bytes(raw_tiff(samples, 32))) == (0, 255)


def test_signed_bytes_are_not_taken_for_large_ones() -> None:
    samples = (scene(0, 200).astype(np.int16) - 100).astype(np.int8)
    assert edges(Picture.from_bytes(raw_tiff(samples, 8, kind=2))) == (0, 255)


def test_floats_in_colour_without_data_are_left_out() -> None:
    samples = np.dstack([SHADES] * 3)
    samples[:10, :10] = np.nan
    picture = Picture.from_bytes(raw_tiff(samples, 32, kind=3))
    assert picture.rgb().getpixel((79, 59)) == (255, 255, 255)
    assert picture.notes[0] == "pixels without data were left out"


@pytest.mark.parametrize(("dtype", "kind"), [("u1", 1), ("u2", 1), ("f4", 3)])
def test_a_fourth_band_that_is_infrared_is_no_alpha(dtype: str, kind: int) -> None:
    samples = np.dstack([np.asarray(field()), np.zeros((48, 64))]).astype(dtype)
    samples[:24, :, 3] = 128
    data = raw_tiff(samples * (257 if dtype == "u2" else 1), 8 * int(dtype[1]), kind=kind, extra=1)
    assert near(quadrants(Picture.from_bytes(data).rgb()), quadrants(field()))


@pytest.mark.parametrize(
    ("bands", "dtype", "layout", "what"),
    [
        (5, "u2", {"extra": 4}, "5 bands of 16-bit samples"),
        (5, "u2", {"extra": 2}, "5 bands of 16-bit samples"),
        (5, "u2", {"extra": 4, "apart": True}, "5 bands of 16-bit samples, stored band after band"),
        (10, "f4", {"extra": 9}, "10 bands of 32-bit floats"),
        (8, "u1", {"extra": 5}, "8 bands of 8-bit samples"),
        (3, "u2", {"apart": True}, "3 bands of 16-bit samples, stored band after band"),
        (1, "f2", {}, "one band of 16-bit floats"),
        (1, "u8", {}, "one band of 64-bit samples"),
    ],
)
def test_a_tiff_that_cannot_be_shown_is_refused_with_the_remedy(
    bands: int, dtype: str, layout: dict[str, Any], what: str
) -> None:
    samples = np.zeros((60, 80, bands), dtype) if bands > 1 else np.zeros((60, 80), dtype)
    data = raw_tiff(samples, 8 * int(dtype[1]), kind=3 if dtype[0] == "f" else 1, **layout)
    said = f"field.tif is a TIFF with {what}, which cannot be read; save it as RGB with 8 or 16 bits"
    with pytest.raises(ImageError, match=f"^{said}$"):
        Picture.from_bytes(data, "field.tif")


def test_a_few_bytes_of_tiff_do_not_unpack_to_gigabytes() -> None:
    data = raw_tiff(np.zeros((1, 1, 3), "<f8"), 64, kind=3)
    for tag in (256, 257):
        data = data.replace(struct.pack("<HHII", tag, 4, 1, 1), struct.pack("<HHII", tag, 4, 1, 9000))
    with pytest.raises(ImageError, match=r"1,944,000,000 bytes of them and more than .*; save it as RGB with 8 bits"):
        Picture.from_bytes(data)


def test_a_tiff_of_floats_that_is_cut_off_is_damaged() -> None:
    data = raw_tiff(np.asarray(field(), "<f4"), 32, kind=3)
    with pytest.raises(ImageError, match="is damaged and cannot be decoded"):
        Picture.from_bytes(data[: len(data) // 2]).rgb()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_of_16_bit_colour_stands_upright(orientation: int) -> None:
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.get(orientation)
    lying = field() if undo is None else field().transpose(Image.Transpose(undo))
    data = by_opencv(np.asarray(lying).astype(np.uint16)[..., ::-1] * 16, ".tif")
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    entries = data[start + 2 : start + 2 + 12 * count] + struct.pack("<HHII", 274, 3, 1, orientation)
    turned = data + struct.pack("<H", count + 1) + entries + bytes(4)
    image = Picture.from_bytes(turned[:4] + struct.pack("<I", len(data)) + turned[8:]).rgb()
    assert near(quadrants(image), quadrants(field()))
    assert quadrants(image)[0] == RED


# Pixels without data


@pytest.mark.parametrize("empty", [-9999.0, -32768.0, -3.4028235e38, float("nan"), float("inf"), float("-inf"), -1e30])
def test_pixels_without_data_are_left_out(empty: float) -> None:
    samples = SHADES.copy()
    samples[:10, :10] = empty  # the first pixel, and 2 % of all
    picture = Picture.from_bytes(tiff(samples))
    assert edges(picture)[1] - edges(picture)[0] > 200
    assert picture.notes[0] == "pixels without data were left out"
    assert "lie between 0.1 and 0.9 and were stretched" in picture.notes[1]


@pytest.mark.parametrize(("tag", "empty"), [("-1", -1.0), ("0.5", 0.5), ("-3.4028234663852886e+38", -3.4028235e38)])
def test_the_file_says_what_is_no_data(tag: str, empty: float) -> None:
    samples = SHADES.copy()
    samples[:10, :10] = empty
    picture = Picture.from_bytes(tiff(samples, nodata=tag))
    assert "pixels without data were left out" in picture.notes
    assert any("between 0.1 and 0.9" in note for note in picture.notes)


@pytest.mark.parametrize("empty", [-(2**31), -9999, 2**31 - 1])
def test_whole_numbers_without_data(empty: int) -> None:
    samples = (SHADES * 1000).round().astype(np.int32)
    samples[:10, :10] = empty
    picture = Picture.from_bytes(tiff(samples))
    assert any("between 100 and 900" in note for note in picture.notes)


def test_a_hot_pixel_of_a_million() -> None:
    samples = SHADES.copy()
    samples[30, 30] = 1e6
    assert edges(Picture.from_bytes(tiff(samples)))[1] == pytest.approx(255, abs=2)


def test_minus_9999_among_numbers_like_it_is_data() -> None:
    samples = np.linspace(-10_500, -9_500, 4800).reshape(60, 80).astype(np.int32)
    samples[0, 0] = -9999
    assert "pixels without data were left out" not in Picture.from_bytes(tiff(samples)).notes


def test_nothing_but_pixels_without_data_is_a_blank_picture() -> None:
    picture = Picture.from_bytes(tiff(np.full((60, 80), np.nan, np.float32)))
    assert "the image is blank" in picture.notes[-1]
