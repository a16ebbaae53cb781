# ruff: noqa: ANN401 - adapters with what only their family can do
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from dinox_mcp.backends.local.families import family_of
from dinox_mcp.backends.local.families.base import Interrupted
from tests.backends.local.parity import LABELS, as_expected, ask, assert_same, cancelled, load_adapter, load_model
from tests.backends.local.pictures import picture

KINDS = ("owlvit", "owlv2")


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, checkpoint: Callable[[str], Path]) -> Path:
    return checkpoint(request.param)


@pytest.fixture(scope="module")
def adapter(folder: Path) -> Any:
    return load_adapter(folder)


@pytest.fixture(scope="module")
def reference(folder: Path) -> tuple[Any, Any]:
    return hf.AutoProcessor.from_pretrained(folder), load_model(folder)


@pytest.mark.parametrize("size", [(200, 120), (96, 96), (75, 311), (1000, 17)])
@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_equals_the_documented_call(
    reference: tuple[Any, Any], adapter: Any, size: tuple[int, int], count: int, threshold: float
) -> None:
    (processor, model), image, labels = reference, picture(*size), list(LABELS[:count])
    text = processor.tokenizer(labels, padding="max_length", truncation=True, return_tensors="pt")
    pixels = torch.from_numpy(adapter.prepare(image).pixels)[None]
    with torch.inference_mode():
        outputs = model(**text, pixel_values=pixels)
    (expected,) = processor.post_process_grounded_object_detection(
        outputs, threshold=threshold, target_sizes=[image.size[::-1]]
    )
    assert_same(ask(adapter, image, labels, threshold), expected, pixels=1e-3, score=1e-6)


def test_finds_the_same_in_a_batch_as_alone(adapter: Any) -> None:
    images = [picture(200, 120), picture(90, 160, seed=1)]
    states = adapter.encode([adapter.prepare(image) for image in images])
    for image, state in zip(images, states, strict=True):
        found = adapter.find(state, LABELS, adapter.embed(LABELS), 0.0)
        assert_same(found, as_expected(ask(adapter, image, LABELS)), pixels=1e-3, score=1e-6)


def test_a_label_has_one_embedding_in_any_company(adapter: Any) -> None:
    alone = torch.cat([adapter.embed([label]) for label in LABELS])
    many = adapter.embed([*LABELS] * 20)[-len(LABELS) :]
    torch.testing.assert_close(alone, many, atol=1e-6, rtol=0)


def test_labels_beyond_the_text_window_are_read_to_its_end(adapter: Any) -> None:
    long = "person " * 60
    assert torch.equal(adapter.embed([long]), adapter.embed([long + "dog"]))


def test_all_labels_fit_one_question(adapter: Any) -> None:
    assert adapter.chunks(["dog"] * 1200) == [list(range(1200))]


def test_is_deterministic(adapter: Any) -> None:
    assert ask(adapter, picture(200, 120), LABELS) == ask(adapter, picture(200, 120), LABELS)


def test_a_state_knows_its_size(adapter: Any) -> None:
    pair = [adapter.prepare(picture(200, 120)) for _ in range(2)]
    patches, width = 36, 32
    assert [state.nbytes for state in adapter.encode(pair)] == [patches * (width + 1 + 1 + 4 + 1) * 4] * 2


@pytest.mark.parametrize("work", ["encode", "embed"])
def test_stops_when_its_call_is_cancelled(adapter: Any, work: str) -> None:
    prepared = adapter.prepare(picture(200, 120))
    with cancelled(), pytest.raises(Interrupted):
        adapter.encode([prepared]) if work == "encode" else adapter.embed(["dog"])
    assert ask(adapter, picture(200, 120), ["dog"])


def test_half_precision_stays_close(folder: Path, adapter: Any) -> None:
    model = load_model(folder)
    half = family_of(model.config.model_type).adapt(model, folder, torch.bfloat16)
    best, exact = ask(half, picture(200, 120), LABELS)[0], ask(adapter, picture(200, 120), LABELS)[0]
    assert best.score == pytest.approx(exact.score, abs=0.05)
