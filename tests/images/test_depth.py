"""Samples of more than 8 bits are shown by the range that they use."""

import struct

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from dinox_mcp.images.picture import Picture
from tests.images.samples import RED, encode, field, near, png_chunk, quadrants, raw_png

NODATA_TAG = 42113
SHADES = np.full((60, 80), 0.1, np.float32)
SHADES[:, 40:] = 0.9
SHADES[:, 20:40] = np.linspace(0.1, 0.9, 20)


def scene(low: int, high: int) -> np.ndarray:
    """A picture of three shades, `low` on the left and `high` on the right."""
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


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("low", "high"), [(0, 1023), (0, 4095), (100, 16383), (7300, 7420), (64000, 64200)])
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


def test_colours_keep_their_balance_when_they_are_stretched() -> None:
    samples = np.asarray(field()).astype(np.uint16)[..., ::-1] * 16  # 12 bits, in OpenCV's order
    image = Picture.from_bytes(by_opencv(samples, ".png")).rgb()
    assert near(quadrants(image), quadrants(field()))


def test_one_hot_pixel_does_not_darken_the_picture() -> None:
    samples = scene(1000, 1200)
    samples[5, 5] = 65535
    assert edges(Picture.from_bytes(by_opencv(samples, ".tif"))) == pytest.approx((0, 255), abs=2)


def significant(bits: int, samples: np.ndarray) -> bytes:
    """A grey PNG of 16 bits whose chunk sBIT says how many carry the picture."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return raw_png(80, 60, 16, 0, rows, png_chunk(b"sBIT", bytes([bits])))


def test_the_bits_that_a_png_names_are_its_range() -> None:
    picture = Picture.from_bytes(significant(12, scene(1000, 3500)))
    assert edges(picture) == pytest.approx((1000 * 255 / 4095, 3500 * 255 / 4095), abs=1)
    assert picture.notes == ("its samples have 12 bits and were stretched",)


def test_bits_that_were_scaled_up_already_are_not_stretched_again() -> None:
    assert not Picture.from_bytes(significant(12, scene(0, 65535))).notes


def test_a_tiff_of_12_packed_bits() -> None:
    samples = scene(500, 4000)
    bits = int("".join(f"{value:012b}" for value in samples.ravel()), 2).to_bytes(80 * 60 * 12 // 8)
    tags = [(256, 80), (257, 60), (258, 12), (259, 1), (262, 1), (273, 122), (277, 1), (278, 60), (279, len(bits))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    picture = Picture.from_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + bits)
    assert edges(picture) == pytest.approx((500 * 255 / 4095, 4000 * 255 / 4095), abs=1)
    assert picture.notes == ("its samples have 12 bits and were stretched",)


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
    assert "the picture is blank" in picture.notes[-1]
