"""Poses, compared with transformers' own processor where SciPy is installed, which that needs, and with definitions."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import transformers as hf
from PIL import Image

from dinox_mcp.backends.local.checkpoints import device
from dinox_mcp.backends.local.checkpoints import torch_loading as checkpoints
from dinox_mcp.backends.local.models.base import Interrupted
from dinox_mcp.backends.local.models.regions import Crop, decode
from dinox_mcp.errors import UnsupportedError
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Keypoint
from dinox_mcp.types.keypoints import BODY
from tests.backends.local.parity import cancelled
from tests.backends.local.pictures import picture

SIZES = [(160, 120), (90, 200), (30, 40), (1000, 700)]


@pytest.fixture(scope="module")
def vitpose(describer: Callable[[str], Any]) -> Any:  # noqa: ANN401
    return describer("vitpose")


def boxes_in(width: int, height: int) -> list[Box]:
    """Give a tall box, a wide one, one that is the picture, one of a pixel, one at the edge."""
    return [
        (0.3 * width, 0.1 * height, 0.5 * width, 0.9 * height),
        (0.1 * width, 0.4 * height, 0.9 * width, 0.6 * height),
        (0.0, 0.0, width, height),
        (width // 2, height // 2, width // 2 + 1, height // 2 + 1),
        (width - 3.5, 0.25 * height, width, height),
    ]


def ask(model: Any, image: Image.Image, boxes: list[Box]) -> list[tuple[Keypoint, ...]]:  # noqa: ANN401
    (state,) = model.encode([model.prepare(image)])
    poses: list[tuple[Keypoint, ...]] = model.describe(state, boxes, "pose")
    return poses


@pytest.mark.skipif(not find_spec("scipy"), reason="transformers' processor needs SciPy")
@pytest.mark.parametrize("size", SIZES)
def test_poses_are_those_of_transformers(
    vitpose: Any,  # noqa: ANN401
    checkpoint: Callable[[str], Path],
    stock: Callable[[str], Any],
    size: tuple[int, int],
) -> None:
    image, boxes = picture(*size), boxes_in(*size)
    processor = hf.VitPoseImageProcessorPil.from_pretrained(checkpoint("vitpose"))
    others = [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in boxes]
    seen = processor(image, boxes=[others], return_tensors="pt")["pixel_values"]
    cut = torch.stack([vitpose._seen(np.asarray(image), Crop.around(box, 48 / 64)) for box in boxes])
    assert (cut - seen).abs().max() < 0.02  # one level in 255
    assert (cut - seen).abs().mean() < 1e-4
    with torch.inference_mode():
        outputs = stock("vitpose")(seen)
    (poses,) = processor.post_process_pose_estimation(outputs, boxes=[others])
    size_of_a_map = outputs.heatmaps.shape[3], outputs.heatmaps.shape[2]
    compared = 0
    for box, pose, expected, maps in zip(boxes, ask(vitpose, image, boxes), poses, outputs.heatmaps, strict=True):
        crop = Crop.around(box, 48 / 64)
        cell = crop.size / (np.array(size_of_a_map) - 1)
        for point in pose:
            place = BODY.index(point.name)
            assert point.score == pytest.approx(min(1.0, float(expected["scores"][place])), abs=0.02)
            x, y = int(maps[place].argmax()) % size_of_a_map[0], int(maps[place].argmax()) // size_of_a_map[0]
            peak = crop.to_image(np.array([x, y], dtype=np.float32), *size_of_a_map)
            theirs = expected["keypoints"][place].numpy()
            ours = np.array([point.x, point.y]) - 0.5  # the edges of pixels, not their centres, are at whole numbers
            astray = np.abs((theirs - peak) / cell).max() > 2  # noise has peaks that no parabola fits
            assert np.abs((ours - (peak if astray else theirs)) / cell).max() < 0.15
            compared += not astray
    assert compared > 0.6 * len(boxes) * len(BODY)


def test_each_person_has_named_points_with_scores_in_the_image_s_pixels(vitpose: Any) -> None:  # noqa: ANN401
    pose, *_ = ask(vitpose, picture(160, 120), boxes_in(160, 120))
    assert {point.name for point in pose} <= set(BODY)
    assert len(pose) > 5
    crop = Crop.around(boxes_in(160, 120)[0], 48 / 64)
    for point in pose:
        assert point.visibility is None
        assert point.score is not None
        assert 0 < point.score <= 1
        assert abs(np.array([point.x, point.y]) - crop.centre).max() < 0.8 * crop.size.max()


def test_people_together_get_what_one_gets_alone(vitpose: Any) -> None:  # noqa: ANN401
    image, boxes = picture(160, 120), boxes_in(160, 120)
    for box, pose in zip(boxes, ask(vitpose, image, boxes), strict=True):
        (alone,) = ask(vitpose, image, [box])
        assert [point.name for point in alone] == [point.name for point in pose]
        assert np.allclose([(point.x, point.y) for point in alone], [(point.x, point.y) for point in pose], atol=0.01)


def test_a_mixture_of_experts_uses_the_one_for_coco(
    describer: Callable[[str], Any], stock: Callable[[str], Any]
) -> None:
    ours, model = describer("vitpose-plus"), stock("vitpose-plus")
    pixels = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 64, 48)).astype(np.float32))
    maps = []
    for expert in (0, 1):
        with torch.inference_mode():
            maps.append(model(pixels, dataset_index=torch.full((2,), expert)).heatmaps)
    assert not torch.allclose(maps[0], maps[1])
    heard: list[torch.Tensor] = []
    hook = ours._model.register_forward_hook(lambda *call: heard.append(call[2]["dataset_index"]), with_kwargs=True)
    ask(ours, picture(160, 120), boxes_in(160, 120)[:2])
    hook.remove()
    assert [index.tolist() for index in heard] == [[0, 0]]


def test_a_model_of_other_points_is_refused(checkpoint: Callable[[str], Path]) -> None:
    with pytest.raises(UnsupportedError, match=r"133 points a person, not the 17 of COCO; .*DINOX_MCP_POSE_MODEL"):
        checkpoints.load(checkpoint("vitpose-wholebody"), device.choose("cpu"), "pose")


def test_a_cancelled_call_stops(vitpose: Any) -> None:  # noqa: ANN401
    with cancelled(), pytest.raises(Interrupted):
        ask(vitpose, picture(160, 120), boxes_in(160, 120))


def peak(x: float, y: float, height: float = 0.8) -> npt.NDArray[np.float32]:
    """Draw a heatmap (64, 48) as the model learns them: a Gaussian of two cells around a point."""
    rows, columns = np.mgrid[:64, :48]
    bell = height * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
    return bell.astype(np.float32)


@pytest.mark.parametrize(("x", "y"), [(20, 30), (20.25, 30.4), (11.5, 7.7), (0.0, 0.0), (47, 63), (46.8, 1.3)])
def test_a_peak_is_found_between_the_cells(x: float, y: float) -> None:
    places, heights = decode(peak(x, y)[None, None])
    assert places.shape == (1, 1, 2)
    edge = x < 2 or y < 2 or x > 45 or y > 61  # half of the bell is missing
    assert np.abs(places[0, 0] - (x, y)).max() < (0.75 if edge else 0.05)
    assert heights[0, 0] == pytest.approx(0.8, abs=0.05)


def test_a_map_without_a_peak_gives_a_place_in_it() -> None:
    rng = np.random.default_rng(0)
    maps = np.stack([np.zeros((64, 48)), np.full((64, 48), -1), rng.normal(size=(64, 48)), np.full((64, 48), 1e30)])
    places, heights = decode(maps[None].astype(np.float32))
    assert np.isfinite(places).all()
    assert (places > -3).all()
    assert (places < (51, 67)).all()
    assert heights[0].tolist() == [0, -1, pytest.approx(maps[2].max()), pytest.approx(1e30)]


def test_a_crop_has_the_model_s_shape_and_a_margin() -> None:
    crop = Crop.around((10, 20, 30, 100), 48 / 64)
    assert crop.centre.tolist() == [20, 60]
    assert crop.size.tolist() == [75, 100]
    assert Crop.around((0, 0, 60, 20), 48 / 64).size.tolist() == [75, 100]


def test_a_crop_is_sampled_bilinearly_and_black_beyond_the_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    crop = Crop(np.array([30, 20], dtype=np.float32), np.array([33.5, 47.0], dtype=np.float32))
    sampled = crop.of(pixels, 48, 64)
    for row, column in [(0, 0), (10, 5), (31, 17), (40, 38), (63, 3), (20, 47)]:
        x, y = 30 - 33.5 / 2 + 33.5 * column / 47, 20 - 47 / 2 + 47 * row / 63
        left, top = int(np.floor(x)), int(np.floor(y))
        if not (0 <= x <= 39 and 0 <= y <= 49):
            assert sampled[row, column].tolist() == [0, 0, 0]
            continue
        near = pixels[top : top + 2, left : left + 2].astype(float)
        upper, lower = (near[side, 0] * (1 - (x - left)) + near[side, -1] * (x - left) for side in (0, -1))
        assert np.abs(sampled[row, column] - (upper * (1 - (y - top)) + lower * (y - top))).max() <= 0.51


def test_points_of_a_crop_map_back_to_where_they_were_sampled() -> None:
    crop = Crop.around((100, 50, 300, 450), 48 / 64)
    corners = crop.to_image(np.array([[0, 0], [11, 15]], dtype=np.float32), 12, 16)
    assert np.allclose(corners, [crop.centre - crop.size / 2, crop.centre + crop.size / 2])
