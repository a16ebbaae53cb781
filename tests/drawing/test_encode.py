import io

import numpy as np
import pytest
from PIL import Image

from dinox_mcp.drawing.encode import encode_jpeg, encode_png, fit_bytes, mask_png
from dinox_mcp.types import masks
from dinox_mcp.types.detection import Mask

NOISE = Image.fromarray(np.random.default_rng(7).integers(0, 256, (300, 400, 3), dtype=np.uint8))


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_png_is_lossless() -> None:
    assert opened(encode_png(NOISE)).convert("RGB") == NOISE


def test_jpeg_is_baseline() -> None:
    image = opened(encode_jpeg(NOISE))
    assert image.format == "JPEG"
    assert "progressive" not in image.info


@pytest.mark.parametrize("budget", [200_000, 60_000, 20_000, 3_000, 1_000])
def test_a_picture_fits_its_budget(budget: int) -> None:
    data, mime, size = fit_bytes(NOISE, budget)
    assert len(data) <= budget
    assert mime == "image/jpeg"
    assert opened(data).size == size


def test_quality_goes_before_size() -> None:
    best = len(encode_jpeg(NOISE))
    assert fit_bytes(NOISE, best) == (encode_jpeg(NOISE), "image/jpeg", (400, 300))
    data, _, size = fit_bytes(NOISE, best - 1)
    assert len(data) < best
    assert size == (400, 300)


def test_the_budget_is_used() -> None:
    data, _, _ = fit_bytes(NOISE, 20_000)
    assert len(data) > 12_000


def test_the_long_side_is_limited() -> None:
    assert fit_bytes(NOISE, 10**6, max_side=100)[2] == (100, 75)
    assert fit_bytes(NOISE, 10**6, max_side=400)[2] == (400, 300)


@pytest.mark.parametrize("size", [(1, 1), (3000, 1)])
def test_an_impossible_budget_ends_with_a_small_picture(size: tuple[int, int]) -> None:
    data, _, _ = fit_bytes(Image.new("RGB", size), 10)
    assert max(opened(data).size) <= 16


def test_a_mask_becomes_a_picture_of_one_bit() -> None:
    bits = np.zeros((7, 13), dtype=np.bool_)
    bits[2:5, 3:9] = True
    image = opened(mask_png(masks.encode(bits)))
    assert image.mode == "1"
    assert (np.asarray(image) == bits).all()


def test_a_broken_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="not a COCO RLE of 4x4 pixels"):
        mask_png(Mask(size=(4, 4), counts="zz"))
