"""Masks over frames, compared with transformers' own session, which keeps all, on the same weights and pixels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import transformers as hf
from PIL import Image
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from dinox_mcp.backends.local.checkpoints import device
from dinox_mcp.backends.local.checkpoints import torch_loading as checkpoints
from dinox_mcp.backends.local.models.base import Interrupted
from dinox_mcp.errors import UnsupportedError
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Mask
from dinox_mcp.types.masks import decode
from tests.backends.local.parity import cancelled
from tests.backends.local.pictures import picture

SIZE = (160, 120)
BOXES: list[Box] = [(10, 20, 90, 100), (60, 5, 150, 70), (0, 0, 160, 120)]
Clip = list[Image.Image]


@pytest.fixture(scope="module")
def model(checkpoint: Callable[[str], Path]) -> Any:  # noqa: ANN401
    return checkpoints.load(checkpoint("sam2_video"), device.choose("cpu"), "masks", follows=True)


@pytest.fixture(scope="module")
def clip() -> Clip:
    """More frames than the model remembers, of a scene that moves."""
    large = picture(240, 180)
    return [large.crop((3 * n, 2 * n, 3 * n + SIZE[0], 2 * n + SIZE[1])) for n in range(20)]


@pytest.fixture(scope="module")
def expected(checkpoint: Callable[[str], Path], model: Any, clip: Clip) -> npt.NDArray[np.bool_]:  # noqa: ANN401
    """Give transformers' masks, of shape (frames, things, height, width): the whole video at once, all of it kept."""
    stock = hf.Sam2VideoModel.from_pretrained(checkpoint("sam2_video"), local_files_only=True).eval()
    pixels = torch.stack([torch.from_numpy(model.prepare(frame).pixels) for frame in clip])
    session = Sam2VideoInferenceSession(video=pixels, video_height=SIZE[1], video_width=SIZE[0], dtype=torch.float32)
    factors = torch.tensor([128 / SIZE[0], 128 / SIZE[1]])
    for thing, box in enumerate(BOXES):
        points = (torch.tensor(box).view(2, 2) * factors).view(1, 1, 2, 2)
        labels = torch.tensor([[[2, 3]]], dtype=torch.int32)
        session.add_point_inputs(session.obj_id_to_idx(thing), 0, {"point_coords": points, "point_labels": labels})
    session.obj_with_new_inputs = [0, 1, 2]
    with torch.inference_mode():
        stock(inference_session=session, frame_idx=0)
        masks = {out.frame_idx: out.pred_masks for out in stock.propagate_in_video_iterator(session)}
    large = [torch.nn.functional.interpolate(masks[n], SIZE[::-1], mode="bilinear") for n in range(len(clip))]
    return (torch.stack(large)[:, :, 0] > 0).numpy()


def followed(model: Any, clip: Clip, boxes: list[Box]) -> list[list[Mask | None]]:  # noqa: ANN401
    memory = model.remember(boxes, SIZE)
    return [model.follow(model.encode([model.prepare(frame)])[0], memory) for frame in clip]


def bits(mask: Mask | None) -> npt.NDArray[np.bool_]:
    return decode(mask) if mask else np.zeros(SIZE[::-1], dtype=np.bool_)


@pytest.fixture(scope="module")
def found(model: Any, clip: Clip) -> list[list[Mask | None]]:  # noqa: ANN401
    return followed(model, clip, BOXES)


def test_masks_are_those_of_transformers(found: list[list[Mask | None]], expected: npt.NDArray[np.bool_]) -> None:
    ours = np.array([[bits(mask) for mask in masks] for masks in found])
    assert 0 < expected.mean() < 1
    assert (expected[0] != expected[-1]).any()  # or any frame would do for all
    # Sums in another order: a pixel may flip where the logits cross zero.
    assert np.count_nonzero(ours != expected) <= 1e-4 * expected.size


def test_things_followed_apart_are_those_followed_together(
    model: Any,  # noqa: ANN401
    clip: Clip,
    found: list[list[Mask | None]],
) -> None:
    for place, box in enumerate(BOXES):
        alone = followed(model, clip[:4], [box])
        flips = sum(
            np.count_nonzero(bits(one) != bits(other[place])) for (one,), other in zip(alone, found[:4], strict=True)
        )
        assert flips <= 8


def test_frames_encoded_together_give_the_same(model: Any, clip: Clip) -> None:  # noqa: ANN401
    together = model.encode([model.prepare(frame) for frame in clip[:2]])
    alone = [model.encode([model.prepare(frame)])[0] for frame in clip[:2]]
    for one, other in zip(together, alone, strict=True):
        assert one.nbytes == other.nbytes == sum(level.nbytes for level in one.arrays)
        for a, b in zip(one.arrays, other.arrays, strict=True):
            assert torch.allclose(a, b, atol=1e-4)


def test_a_long_video_takes_no_more_memory_than_a_short_one(model: Any, clip: Clip) -> None:  # noqa: ANN401
    memory = model.remember(BOXES, SIZE)
    sizes = []
    for frame in [*clip, *clip[:6]]:
        model.follow(model.encode([model.prepare(frame)])[0], memory)
        sizes.append(_nbytes(vars(memory.session)))
    assert sizes[0] < sizes[10]
    assert sizes[20] == sizes[25]


def test_what_is_not_visible_has_no_mask(found: list[list[Mask | None]], expected: npt.NDArray[np.bool_]) -> None:
    seen = expected.any(axis=(2, 3))
    assert not seen.all()
    assert [[mask is not None for mask in masks] for masks in found] == seen.tolist()


def test_a_cancelled_call_stops(model: Any, clip: Clip) -> None:  # noqa: ANN401
    memory = model.remember(BOXES, SIZE)
    state = model.encode([model.prepare(clip[0])])[0]
    with cancelled(), pytest.raises(Interrupted):
        model.encode([model.prepare(clip[0])])
    with cancelled(), pytest.raises(Interrupted):
        model.follow(state, memory)


def test_a_model_without_a_memory_is_refused(checkpoint: Callable[[str], Path]) -> None:
    with pytest.raises(
        UnsupportedError, match=r"'sam2' remember nothing .* choose one of type sam2_video, such as sam2.1"
    ):
        checkpoints.load(checkpoint("sam2"), device.choose("cpu"), "masks", follows=True)


def _nbytes(value: object) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(map(_nbytes, value.values()))
    return sum(map(_nbytes, value)) if isinstance(value, list | tuple) else 0
