import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import transformers as hf
from PIL import Image

from dinox_mcp.backends.local.checkpoints.preprocess import Preprocessor
from dinox_mcp.errors import UnsupportedError
from tests.backends.local.pictures import picture

SIZES = [(200, 120), (120, 200), (96, 96), (640, 427), (33, 500), (1500, 20), (1, 1)]
PROCESSORS = {
    "stretch": hf.OwlViTImageProcessorPil(size={"height": 96, "width": 80}),
    "range": hf.GroundingDinoImageProcessorPil(size={"shortest_edge": 128, "longest_edge": 213}),
    "unscaled": hf.DetrImageProcessorPil(
        size={"height": 64, "width": 64}, do_rescale=False, image_mean=[123.675, 116.28, 103.53], image_std=[58.0] * 3
    ),
    "raw": hf.OwlViTImageProcessorPil(size={"height": 32, "width": 32}, do_normalize=False),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PROCESSORS)
def test_equals_the_processor_of_transformers(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    theirs = PROCESSORS[name]
    theirs.save_pretrained(tmp_path)
    image = picture(*size)
    if name == "range" and max(size) / min(size) > 60:
        pytest.skip("transformers asks Pillow for a picture without rows")
    expected = theirs(image, return_tensors="np")["pixel_values"][0]
    pixels = Preprocessor.from_folder(tmp_path)(image)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, expected, atol=2e-6)


@pytest.mark.parametrize("size", [(200, 120), (120, 200), (96, 96), (640, 427), (33, 50)])
def test_a_square_frame_is_close_to_the_processor_that_needs_scipy(size: tuple[int, int]) -> None:
    image = picture(*size)
    pixels = Preprocessor(height=96, width=96, square=True, mean=(0.48,) * 3, std=(0.27,) * 3)(image)
    difference = np.abs(pixels - owlv2_by_the_book(image, 96))
    assert difference.mean() < 0.005
    assert np.quantile(difference, 0.95) < 0.02


def owlv2_by_the_book(image: Image.Image, side: int) -> npt.NDArray[np.float32]:
    """Pad, blur and interpolate, as Owlv2ImageProcessorPil does with scipy.ndimage."""
    longest = max(image.size)
    padded = np.zeros((longest, longest, 3))
    padded[: image.height, : image.width] = np.asarray(image) / 255
    factor = longest / side
    sigma = max(0.0, (factor - 1) / 2)
    reach = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
    bell = np.exp(-0.5 * (reach / sigma) ** 2) if sigma else np.ones(1)
    at = (np.arange(side) + 0.5) * factor - 0.5
    low = np.floor(at).astype(int)
    mixing = np.zeros((side, longest))
    for row, (first, part) in enumerate(zip(low, at - low, strict=True)):
        for tap, weight in zip(reach, bell / bell.sum(), strict=True):
            for offset, share in ((0, 1 - part), (1, part)):
                mirrored = abs(first + tap + offset)
                mirrored = mirrored if mirrored < longest else 2 * (longest - 1) - mirrored
                mixing[row, mirrored] += weight * share
    small = np.einsum("yh,hwc,xw->cyx", mixing, padded, mixing, optimize=True)
    return ((small - 0.48) / 0.27).astype(np.float32)


def test_a_square_frame_is_black_beyond_the_image() -> None:
    pixels = Preprocessor(height=40, width=40, square=True, mean=(0.5,) * 3, std=(0.5,) * 3)(picture(100, 50))
    assert pixels.shape == (3, 40, 40)
    assert (pixels[:, 20:] == -1).all()
    assert (pixels[:, :20].std(axis=(1, 2)) > 0.1).all()


def test_a_square_frame_keeps_what_is_where() -> None:
    half = Preprocessor(height=60, width=60, square=True)(picture(120, 80))[:, :40]
    whole = np.asarray(picture(120, 80), np.float32).transpose(2, 0, 1) / 255
    assert np.abs(half - whole.reshape(3, 40, 2, 60, 2).mean((2, 4))).mean() < 0.01


@pytest.mark.parametrize("side", [960, 1008, 768])
def test_a_square_frame_fits_images_of_any_width(side: int) -> None:
    preprocess = Preprocessor(height=side, width=side, square=True)
    for width in range(side // 2, 2 * side, 7):  # in floating point, 612 / (612 / 960) is more than 960
        assert preprocess(Image.new("RGB", (width, 2))).shape == (3, side, side)
    assert preprocess(Image.new("RGB", (612, 408))).shape == (3, side, side)


def test_the_thinnest_image_keeps_a_row() -> None:
    assert Preprocessor(shortest=800, longest=1333)(picture(5000, 1)).shape == (3, 1, 1333)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ([48, 32], (3, 48, 32)),
        (40, (3, 40, 40)),
        ({"shortest_edge": 20}, (3, 20, 40)),
        ({"shortest_edge": 20, "longest_edge": 30}, (3, 15, 30)),
    ],
)
def test_reads_sizes_as_checkpoints_old_and_new_have_them(tmp_path: Path, size: object, shape: tuple[int, ...]) -> None:
    config = {"size": size, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    assert Preprocessor.from_folder(tmp_path)(picture(100, 50)).shape == shape
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": config | {"size": 7}}))
    assert Preprocessor.from_folder(tmp_path)(picture(100, 50)).shape == (3, 7, 7)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (None, "has no preprocessor_config.json"),
        ({"size": {"radius": 3}, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}, "radius"),
        ({"size": 7, "image_mean": [0.5], "image_std": [1, 1, 1]}, r"\[0.5\]"),
        ({"size": 7}, "image_mean"),
    ],
)
def test_says_what_is_missing(tmp_path: Path, config: object, named: str) -> None:
    if config is not None:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedError, match=named):
        Preprocessor.from_folder(tmp_path)
