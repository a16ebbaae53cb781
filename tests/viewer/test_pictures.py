"""The pictures that the page asks for stay within what hosts carry."""

import io

import pytest
from PIL import Image

from dinox_mcp.errors import InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.viewer.page import preview, region
from tests.fakes import picture
from tests.viewer.scenes import photo


def test_a_preview_is_bounded_in_pixels_and_bytes() -> None:
    data = preview(Picture.from_bytes(photo(600, 400)), 300, 9_000)
    assert len(data) <= 9_000
    assert max(Image.open(io.BytesIO(data)).size) <= 300


def test_a_small_picture_stays_as_it_is() -> None:
    assert Image.open(io.BytesIO(preview(picture(60, 40), 1568, 500_000))).size == (60, 40)


def test_a_region_is_exactly_what_was_asked_for() -> None:
    halves = Image.new("RGB", (200, 100), "red")
    halves.paste("blue", (100, 0, 200, 100))
    buffer = io.BytesIO()
    halves.save(buffer, "PNG")
    shown = Image.open(io.BytesIO(region(Picture.from_bytes(buffer.getvalue()), "100_10_180_60", 1568, 500_000)))
    assert shown.size == (80, 50)
    red, _, blue = shown.convert("RGB").getpixel((40, 25))  # type: ignore[misc]
    assert (red < 20, blue > 230) == (True, True)


@pytest.mark.parametrize("box", ["0_0_0_10", "50_0_40_10", "0_0_101_10", "0_90_10_101"])
def test_a_region_outside_the_picture_is_refused(box: str) -> None:
    with pytest.raises(InputError, match=f"the region {box} is not a part of the 100x100 image"):
        region(picture(), box, 1568, 500_000)


@pytest.mark.parametrize("text", ["", "1_2_3", "1_2_3_4_5", "-1_2_3_4", "a_b_c_d", "1.5_2_3_4", "1_2_3_12345678"])
def test_what_is_no_region_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a region; give x_min_y_min_x_max_y_max"):
        region(picture(), text, 1568, 500_000)
