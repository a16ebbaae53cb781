# ruff: noqa: ANN401 - adapters with what only their family can do
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from safetensors.torch import load_file, save_file

from dinox_mcp.backends.local.families import family_of
from dinox_mcp.backends.local.families.base import Interrupted
from dinox_mcp.masks import decode
from tests.backends.local.parity import as_expected, ask, assert_same, cancelled, load_adapter, load_model
from tests.backends.local.pictures import picture

Call = Callable[[Image.Image, str], dict[str, Any]]


@pytest.fixture(scope="module")
def folder(checkpoint: Callable[[str], Path]) -> Path:
    return checkpoint("sam3")


@pytest.fixture(scope="module")
def adapter(folder: Path) -> Any:
    return load_adapter(folder)


@pytest.fixture(scope="module")
def call(folder: Path, adapter: Any) -> Call:
    """Ask transformers as its processor does, which needs torchvision and is spelt out here."""
    tokenizer, model = hf.AutoTokenizer.from_pretrained(folder), load_model(folder)

    def ask_model(image: Image.Image, label: str) -> dict[str, Any]:
        text = tokenizer([label], padding="max_length", max_length=32, return_tensors="pt")
        with torch.inference_mode():
            outputs = model(pixel_values=torch.from_numpy(adapter.prepare(image).pixels)[None], **text)
        width, height = image.size
        masks = torch.nn.functional.interpolate(
            outputs.pred_masks.sigmoid(), size=(height, width), mode="bilinear", align_corners=False
        )
        return {
            "scores": (outputs.pred_logits.sigmoid() * outputs.presence_logits.sigmoid())[0],
            "labels": torch.zeros(20, dtype=torch.long),
            "boxes": outputs.pred_boxes[0] * torch.tensor([width, height] * 2),
            "masks": (masks[0] > 0.5).numpy(),
        }

    return ask_model


@pytest.mark.parametrize("size", [(200, 120), (112, 112), (75, 311), (900, 3)])
@pytest.mark.parametrize("label", ["dog", "a red car"])
def test_equals_the_documented_call(call: Call, adapter: Any, size: tuple[int, int], label: str) -> None:
    image = picture(*size)
    found, expected = ask(adapter, image, [label]), call(image, label)
    assert_same(found, expected, pixels=1e-3, score=1e-6)
    for item in found:
        (partner,) = np.flatnonzero(np.abs(expected["scores"].numpy() - item.score) < 1e-7)
        assert item.mask is not None
        assert item.mask.size == image.size[::-1]
        assert (decode(item.mask) != expected["masks"][partner]).mean() < 1e-3


def test_asks_for_one_label_at_a_time(adapter: Any) -> None:
    labels = ["dog", "red car", "tree"]
    assert adapter.chunks(labels) == [[0], [1], [2]]
    together = ask(adapter, picture(200, 120), labels)
    assert len(together) == 60
    for index, label in enumerate(labels):
        alone = ask(adapter, picture(200, 120), [label])
        assert [(item.score, item.bbox) for item in together if item.label == index] == [
            (item.score, item.bbox) for item in alone
        ]


def test_finds_the_same_in_a_batch_as_alone(adapter: Any) -> None:
    images = [picture(200, 120), picture(90, 160, seed=1)]
    states = adapter.encode([adapter.prepare(image) for image in images])
    for image, state in zip(images, states, strict=True):
        found = adapter.find(state, ["dog"], None, 0.0)
        assert_same(found, as_expected(ask(adapter, image, ["dog"])), pixels=1e-2, score=1e-5)


def test_keeps_what_scores_enough(adapter: Any) -> None:
    everything = ask(adapter, picture(200, 120), ["dog"])
    assert ask(adapter, picture(200, 120), ["dog"], everything[4].score) == everything[:5]


def test_a_state_knows_its_size(adapter: Any) -> None:
    (state,) = adapter.encode([adapter.prepare(picture(200, 120))])
    assert state.nbytes == 4 * 32 * (32 * 32 + 16 * 16 + 8 * 8 + 8 * 8)


def test_stops_when_its_call_is_cancelled(adapter: Any) -> None:
    prepared = adapter.prepare(picture(200, 120))
    (state,) = adapter.encode([prepared])
    with cancelled(), pytest.raises(Interrupted):
        adapter.encode([prepared])
    with cancelled(), pytest.raises(Interrupted):
        adapter.find(state, ["dog"], None, 0.0)


def test_half_precision_stays_close(folder: Path, adapter: Any) -> None:
    half = family_of("sam3").adapt(load_model(folder), folder, torch.bfloat16)
    best, exact = ask(half, picture(200, 120), ["dog"])[0], ask(adapter, picture(200, 120), ["dog"])[0]
    assert best.score == pytest.approx(exact.score, abs=0.05)


def test_loads_from_a_checkpoint_that_tracks_too(folder: Path, adapter: Any, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    both = {"model_type": "sam3_video", "detector_config": config}
    weights = {f"detector_model.{name}": weight for name, weight in load_file(folder / "model.safetensors").items()}
    save_file(weights | {"tracker_model.x": torch.zeros(1)}, tmp_path / "model.safetensors", {"format": "pt"})
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(both))
    assert ask(load_adapter(tmp_path), picture(200, 120), ["dog"]) == ask(adapter, picture(200, 120), ["dog"])
