"""Masks in torch, compared with the calls that transformers documents for SAM 2, on the same weights and pixels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pycocotools.mask as coco
import pytest
import torch
from PIL import Image

from dinox_mcp.backends.local.models.base import Interrupted
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Mask
from dinox_mcp.types.masks import decode
from tests.backends.local.parity import cancelled
from tests.backends.local.pictures import picture

Reference = Callable[[Image.Image, list[Box]], npt.NDArray[np.bool_]]

SIZES = [(90, 200), (40, 30), (600, 400)]


@pytest.fixture(scope="module")
def sam2(describer: Callable[[str], Any]) -> Any:  # noqa: ANN401
    return describer("sam2")


@pytest.fixture(scope="module")
def reference(stock: Callable[[str], Any], sam2: Any) -> Reference:  # noqa: ANN401
    """Call transformers as its processor does, which needs torchvision and is spelt out here: all boxes at once."""
    model = stock("sam2")

    def ask(image: Image.Image, boxes: list[Box]) -> npt.NDArray[np.bool_]:
        width, height = image.size
        scaled = torch.tensor(boxes).reshape(-1, 2, 2) * torch.tensor([128 / width, 128 / height])
        with torch.inference_mode():
            masks = model(
                pixel_values=torch.from_numpy(sam2.prepare(image).pixels)[None],
                input_boxes=scaled.reshape(1, -1, 4),
                multimask_output=False,
            ).pred_masks[0]
            large = torch.nn.functional.interpolate(masks, (height, width), mode="bilinear", align_corners=False)
        return (large[:, 0] > 0).numpy()

    return ask


def boxes_in(width: int, height: int) -> list[Box]:
    """Give ordinary boxes, one that is the picture, one of a pixel, one at the edge."""
    return [
        (0.1 * width, 0.2 * height, 0.6 * width, 0.9 * height),
        (0.5 * width, 0.1 * height, 0.7 * width, 0.2 * height),
        (0.0, 0.0, width, height),
        (width // 2, height // 2, width // 2 + 1, height // 2 + 1),
        (width - 3.5, 0.0, width, height),
        (0.25 * width, height - 1.0, 0.5 * width, height),
    ]


@pytest.mark.parametrize("size", SIZES)
def test_masks_are_those_of_transformers(sam2: Any, reference: Reference, size: tuple[int, int]) -> None:  # noqa: ANN401
    image = picture(*size)
    (state,) = sam2.encode([sam2.prepare(image)])
    masks = sam2.describe(state, boxes_in(*size), "masks")
    expected = reference(image, boxes_in(*size))
    assert 0 < expected.mean() < 1
    # Sums in another order: a pixel may flip where the logits cross zero.
    assert sum(np.count_nonzero(decode(mask) != bits) for mask, bits in zip(masks, expected, strict=True)) <= 2


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' own
def test_the_strings_are_those_that_pycocotools_reads(sam2: Any) -> None:  # noqa: ANN401
    image = picture(160, 120)
    (state,) = sam2.encode([sam2.prepare(image)])
    for mask in sam2.describe(state, boxes_in(160, 120), "masks"):
        assert mask.size == (120, 160)
        assert np.array_equal(coco.decode({"size": list(mask.size), "counts": mask.counts}), decode(mask))


def test_one_box_at_a_time_gives_the_same_as_all_at_once(sam2: Any) -> None:  # noqa: ANN401
    (state,) = sam2.encode([sam2.prepare(picture(160, 120))])
    boxes = boxes_in(160, 120)
    one_by_one = [sam2.describe(state, [box], "masks")[0] for box in boxes]
    assert overlap(one_by_one, sam2.describe(state, boxes, "masks")) > 0.999


def test_images_encoded_together_give_the_same(sam2: Any) -> None:  # noqa: ANN401
    images = [picture(160, 120, seed=1), picture(90, 200, seed=2)]
    together = sam2.encode([sam2.prepare(image) for image in images])
    for image, state in zip(images, together, strict=True):
        (alone,) = sam2.encode([sam2.prepare(image)])
        boxes = boxes_in(*image.size)
        assert overlap(sam2.describe(alone, boxes, "masks"), sam2.describe(state, boxes, "masks")) > 0.999
        assert state.nbytes == sum(level.nbytes for level in state.arrays)


def test_the_published_checkpoints_hold_a_model_for_videos_around_it(
    describer: Callable[[str], Any], stock: Callable[[str], Any]
) -> None:
    ours, image = describer("sam2_video"), picture(160, 120)
    pixels = torch.from_numpy(ours.prepare(image).pixels)[None]
    with torch.inference_mode():
        expected = stock("sam2_video").get_image_embeddings(pixels)
    (state,) = ours.encode([ours.prepare(image)])
    assert all(torch.equal(one, other) for one, other in zip(state.arrays, expected, strict=True))
    assert len(ours.describe(state, boxes_in(160, 120), "masks")) == 6


def test_a_cancelled_call_stops(sam2: Any) -> None:  # noqa: ANN401
    (state,) = sam2.encode([sam2.prepare(picture(160, 120))])
    with cancelled(), pytest.raises(Interrupted):
        sam2.encode([sam2.prepare(picture(160, 120))])
    with cancelled(), pytest.raises(Interrupted):
        sam2.describe(state, boxes_in(160, 120), "masks")


def overlap(masks: list[Mask], others: list[Mask]) -> float:
    """Give the least intersection over union of masks that are meant to be the same."""
    pairs = [(decode(mask), decode(other)) for mask, other in zip(masks, others, strict=True)]
    return min(np.count_nonzero(a & b) / max(1, np.count_nonzero(a | b)) for a, b in pairs if (a | b).any())
