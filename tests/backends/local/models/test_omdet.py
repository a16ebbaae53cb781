# ruff: noqa: ANN401 - adapters with what only their family can do
import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from transformers.image_transforms import center_to_corners_format

from dinox_mcp.backends.local.models.base import Interrupted
from dinox_mcp.backends.local.models.omdet import OmDet
from dinox_mcp.errors import UnsupportedError
from tests.backends.local.parity import LABELS, as_expected, ask, assert_same, cancelled, load_model
from tests.backends.local.pictures import picture


@pytest.fixture(scope="module")
def family() -> str:
    return "omdet-turbo"


@pytest.fixture(scope="module")
def call(folder: Path, stock: Callable[[str], Any], adapter: Any) -> Callable[[Image.Image, list[str]], dict[str, Any]]:
    """Ask transformers as its processor does, which needs torchvision and is spelt out here, short of NMS."""
    tokenizer, model = hf.AutoTokenizer.from_pretrained(folder), stock("omdet-turbo")
    padding = {"padding": "max_length", "truncation": True, "max_length": 77, "return_tensors": "pt"}

    def ask_model(image: Image.Image, labels: list[str]) -> dict[str, Any]:
        tasks, classes = tokenizer([f"Detect {', '.join(labels)}."], **padding), tokenizer(labels, **padding)
        with torch.inference_mode():
            outputs = model(
                pixel_values=torch.from_numpy(adapter.prepare(image).pixels)[None],
                classes_structure=torch.tensor([len(labels)]),
                **{f"classes_{key}": classes[key] for key in ("input_ids", "attention_mask")},
                **{f"tasks_{key}": tasks[key] for key in ("input_ids", "attention_mask")},
            )
        scores, pairs = outputs.decoder_class_logits[0].sigmoid().flatten().topk(50)
        width, height = image.size
        boxes = center_to_corners_format(outputs.decoder_coord_logits[0]) * torch.tensor([width, height] * 2)
        return {"scores": scores, "labels": pairs % len(labels), "boxes": boxes[pairs // len(labels)]}

    return ask_model


@pytest.mark.parametrize(("size", "count"), [((200, 120), 3), ((75, 311), 8), ((1000, 2), 1)])
def test_equals_the_documented_call(
    call: Callable[[Image.Image, list[str]], dict[str, Any]], adapter: Any, size: tuple[int, int], count: int
) -> None:
    image, labels = picture(*size), list(LABELS[:count])
    assert_same(ask(adapter, image, labels), call(image, labels), pixels=1e-2, score=1e-5)


def test_a_task_longer_than_the_text_window_is_cut_as_the_reference_does(
    call: Callable[[Image.Image, list[str]], dict[str, Any]], adapter: Any
) -> None:
    image, labels = picture(200, 120), [f"red dog {index}" for index in range(100)]
    assert adapter.chunks(labels) == [list(range(100))]
    assert_same(ask(adapter, image, labels), call(image, labels), pixels=1e-2, score=1e-5)


def test_finds_the_same_in_a_batch_as_alone(adapter: Any) -> None:
    images = [picture(200, 120), picture(90, 160, seed=1)]
    states = adapter.encode([adapter.prepare(image) for image in images])
    for image, state in zip(images, states, strict=True):
        found = adapter.find(state, LABELS, adapter.embed(LABELS), 0.0)
        assert_same(found, as_expected(ask(adapter, image, LABELS)), pixels=1e-2, score=1e-5)


def test_keeps_what_scores_enough(adapter: Any) -> None:
    everything = ask(adapter, picture(200, 120), LABELS)
    assert ask(adapter, picture(200, 120), LABELS, everything[9].score) == everything[:10]


def test_a_label_has_one_embedding_in_any_company(adapter: Any) -> None:
    alone = np.concatenate([adapter.embed([label]) for label in LABELS])
    many = adapter.embed([*LABELS] * 20)[-len(LABELS) :]
    np.testing.assert_allclose(alone, many, atol=1e-5)


def test_is_deterministic(adapter: Any) -> None:
    assert ask(adapter, picture(200, 120), LABELS) == ask(adapter, picture(200, 120), LABELS)


def test_a_state_knows_its_size(adapter: Any) -> None:
    (state,) = adapter.encode([adapter.prepare(picture(200, 120))])
    assert state.nbytes == 4 * 32 * (28 * 28 + 14 * 14 + 7 * 7)


def test_stops_when_its_call_is_cancelled(adapter: Any) -> None:
    prepared = adapter.prepare(picture(200, 120))
    (state,) = adapter.encode([prepared])
    embeddings = adapter.embed(["dog"])
    with cancelled(), pytest.raises(Interrupted):
        adapter.encode([prepared])
    with cancelled(), pytest.raises(Interrupted):
        adapter.embed(["dog"])
    with cancelled(), pytest.raises(Interrupted):
        adapter.find(state, ["dog"], embeddings, 0.0)
    assert adapter.find(state, ["dog"], embeddings, 0.0) == ask(adapter, picture(200, 120), ["dog"])


def test_leaves_memory_when_it_is_no_longer_used(folder: Path) -> None:
    model = load_model(folder)
    adapter = OmDet(model, folder)
    ask(adapter, picture(200, 120), ["dog"])
    decoder = weakref.ref(model.decoder)
    del model, adapter
    gc.collect()
    assert decoder() is None


def test_half_precision_stays_close(folder: Path, adapter: Any) -> None:
    half = OmDet(load_model(folder), folder, torch.bfloat16)
    best, exact = ask(half, picture(200, 120), LABELS)[0], ask(adapter, picture(200, 120), LABELS)[0]
    assert best.score == pytest.approx(exact.score, abs=0.05)


@pytest.mark.parametrize(
    "config",
    [{"backbone_config": None, "use_timm_backbone": True}, {"backbone_config": {"model_type": "timm_backbone"}}],
)
def test_says_when_its_backbone_needs_timm(monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]) -> None:
    monkeypatch.setattr("dinox_mcp.backends.local.models.omdet.find_spec", lambda _name: None)
    with pytest.raises(UnsupportedError, match="pip install timm"):
        OmDet.architecture(config)
