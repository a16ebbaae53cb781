# ruff: noqa: ANN401 - adapters
"""Masks without torch, compared with transformers on the same weights and pixels."""

from collections.abc import Callable
from pathlib import Path
from threading import Event, Timer
from typing import Any

import numpy as np
import pytest
import torch

from dinox_mcp.backends.local.models.base import Interrupted, interruptible
from dinox_mcp.backends.local.models.sam2 import enlarge
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.masks import decode
from tests.backends.local.parity import cancelled, load_model
from tests.backends.local.pictures import picture

BOXES: list[Box] = [(10, 10, 80, 90), (0, 0, 160, 120), (70, 40, 71, 41), (100, 0, 160, 50), (-20, 100, 30, 140)]


@pytest.fixture(scope="module", params=["sam2", "sam2_video"])
def family(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("size", [(90, 200), (600, 400)])
def test_logits_equal_those_of_transformers(
    family: str, graph: Any, stock: Callable[[str], Any], size: tuple[int, int]
) -> None:
    model = stock(family)
    prepared = graph.prepare(picture(*size))
    (features,) = graph.encode([prepared])
    prompts = np.array(BOXES, np.float32) * np.array([128 / size[0], 128 / size[1]] * 2, np.float32)
    with torch.inference_mode():
        stock = model(
            pixel_values=torch.from_numpy(prepared.pixels)[None],
            input_boxes=torch.from_numpy(prompts)[None],
            multimask_output=False,
        )
    expected = stock.pred_masks[0, :, 0].numpy()
    logits = graph._logits(features, prompts)
    assert np.abs(logits - expected).max() < 1e-3 * np.abs(expected).max()
    for mask, one in zip(graph.describe(features, BOXES, "masks"), torch.from_numpy(expected), strict=True):
        large = torch.nn.functional.interpolate(one[None, None], size[::-1], mode="bilinear")[0, 0].numpy() > 0
        assert np.mean(decode(mask).astype(bool) == large) >= 0.999


def test_where_the_single_mask_is_unstable_the_best_of_three_is_given(
    family: str, checkpoint: Callable[[str], Path], graph: Any
) -> None:
    model = load_model(checkpoint(family))
    pixels = torch.from_numpy(graph.prepare(picture(160, 120)).pixels)[None]
    boxes = torch.tensor(BOXES)[None]
    model.mask_decoder.dynamic_multimask_via_stability = False
    with torch.inference_mode():
        single = model(pixel_values=pixels, input_boxes=boxes, multimask_output=False).pred_masks[0, :, 0].numpy()
    (features,) = graph.encode([graph.prepare(picture(160, 120))])
    chosen = graph._logits(features, np.array(BOXES, np.float32))
    assert not np.allclose(single, chosen, atol=1e-3)  # at least one box has another mask


def test_a_box_has_the_same_mask_alone_as_among_others(graph: Any) -> None:
    (features,) = graph.encode([graph.prepare(picture(160, 120))])
    together = graph.describe(features, BOXES, "masks")
    assert [graph.describe(features, [box], "masks")[0] for box in BOXES] == together
    assert features.nbytes == sum(one.nbytes for one in features.arrays)


def test_images_of_a_batch_have_features_of_their_own(graph: Any) -> None:
    images = [picture(160, 120), picture(160, 120, seed=1)]
    first, second = graph.encode([graph.prepare(image) for image in images])
    (alone,) = graph.encode([graph.prepare(images[1])])
    assert all(np.array_equal(one, other) for one, other in zip(second.arrays, alone.arrays, strict=True))
    assert not np.allclose(first.arrays[-1], second.arrays[-1])


def test_a_cancelled_call_stops(graph: Any) -> None:
    prepared = graph.prepare(picture(160, 120))
    (features,) = graph.encode([prepared])
    with cancelled(), pytest.raises(Interrupted):
        graph.encode([prepared])
    event = Event()
    with interruptible(event):
        Timer(0.2, event.set).start()
        with pytest.raises(Interrupted):
            graph.describe(features, BOXES * 2000, "masks")  # takes seconds, if nothing stops it


@pytest.mark.parametrize(
    ("size", "place"),
    [
        *(((256, 256), place) for place in ("inside", "corner", "everywhere", "nowhere", "one")),
        *((size, "inside") for size in ((1, 1), (7, 300), (333, 20), (1000, 900))),
    ],
)
def test_only_the_window_of_a_mask_is_enlarged(size: tuple[int, int], place: str) -> None:
    logits = np.random.default_rng(0).normal(-3, 0.5, (64, 64)).astype(np.float32)
    window = {"inside": np.s_[20:30, 5:40], "corner": np.s_[60:, :9], "everywhere": np.s_[:], "one": np.s_[33, 0]}
    if place in window:
        logits[window[place]] += 4
    left, top, bits = enlarge(logits, size)
    whole = np.zeros(size[::-1], dtype=np.bool_)
    whole[top : top + bits.shape[0], left : left + bits.shape[1]] = bits
    large = torch.nn.functional.interpolate(torch.from_numpy(logits)[None, None], size[::-1], mode="bilinear")
    assert np.count_nonzero(whole != (large[0, 0] > 0).numpy()) <= 1
    if place == "one" and size == (1000, 900):
        assert bits.size < 1500
