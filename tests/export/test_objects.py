import numpy as np
import pytest
from PIL import Image

from dinox_mcp.export.objects import crop, cutout, frame_of
from dinox_mcp.types import masks
from dinox_mcp.types.boxes import Box
from tests.export.conftest import BITS, OBJECTS

CAT, TEXT, CAR = OBJECTS


@pytest.mark.parametrize(
    ("bbox", "padding", "frame"),
    [
        ((60.4, 20.5, 90, 70), 0.0, (60, 20, 90, 70)),
        ((60, 20, 90, 70), 0.1, (57, 15, 93, 75)),
        ((0, 0, 30, 10), 1.0, (0, 0, 60, 20)),
        ((99.5, 79.5, 120, 90), 0.0, (99, 79, 100, 80)),
        ((100, 80, 120, 90), 0.0, None),
    ],
)
def test_a_box_becomes_full_pixels_of_the_image(bbox: Box, padding: float, frame: tuple[int, ...] | None) -> None:
    assert frame_of(bbox, (100, 80), padding) == frame


def test_a_crop_has_the_pixels_of_the_image(colorful: Image.Image) -> None:
    assert (np.asarray(crop(colorful, CAR, 0.0)) == np.asarray(colorful)[20:70, 60:90]).all()


def test_a_cutout_shows_the_mask_and_nothing_of_the_background(colorful: Image.Image) -> None:
    pixels = np.asarray(cutout(colorful, CAT))
    window = BITS[15:46, 15:46]
    assert pixels.shape == (31, 31, 4)
    assert (pixels[..., 3] == window * 255).all()
    assert (pixels[window][:, :3] == np.asarray(colorful)[15:46, 15:46][window]).all()
    assert not pixels[~window].any(), "the background is gone, not only transparent"


def test_a_cutout_without_a_mask_is_the_box(colorful: Image.Image) -> None:
    pixels = np.asarray(cutout(colorful, TEXT))
    assert pixels.shape == (10, 30, 4)
    assert (pixels[..., 3] == 255).all()


def test_what_is_outside_or_empty_is_one_transparent_or_black_pixel(colorful: Image.Image) -> None:
    nothing = CAT.model_copy(update={"mask": masks.encode(np.zeros((80, 100), np.bool_))})
    outside = CAR.model_copy(update={"bbox": (100.0, 80.0, 110.0, 90.0)})
    assert cutout(colorful, nothing).getpixel((0, 0)) == (0, 0, 0, 0)
    assert crop(colorful, outside, 0.0).getcolors() == [(1, (0, 0, 0))]
