# ruff: noqa: ANN401 - adapters with what only their family can do
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from PIL import Image
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_transforms import center_to_corners_format
from transformers.utils import ModelOutput

from dinox_mcp.backends.local.models.base import Interrupted
from dinox_mcp.backends.local.models.grounding_torch import GroundingDino
from dinox_mcp.errors import InputError
from tests.backends.local.parity import LABELS, as_expected, ask, assert_same, cancelled, load_model
from tests.backends.local.pictures import picture

Call = Callable[[Image.Image, Sequence[str]], tuple[ModelOutput, BatchFeature]]


@pytest.fixture(scope="module", params=("grounding-dino", "mm-grounding-dino"))
def family(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def processor(folder: Path) -> Any:
    return hf.AutoProcessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def model(family: str, stock: Callable[[str], Any]) -> Any:
    return stock(family)


@pytest.fixture(scope="module")
def call(processor: Any, model: Any, adapter: Any) -> Call:
    """Call transformers as it documents it, with the adapter's pixels; give its outputs and its text."""

    def ask_model(image: Image.Image, labels: Sequence[str]) -> tuple[ModelOutput, BatchFeature]:
        text = processor(text=[list(labels)], return_tensors="pt")
        with torch.inference_mode():
            return model(pixel_values=torch.from_numpy(adapter.prepare(image).pixels)[None], **text), text

    return ask_model


def by_span(outputs: ModelOutput, text: BatchFeature, image: Image.Image) -> dict[str, Any]:
    """Score labels over their own tokens, which lie between the stops."""
    ids = text["input_ids"][0].tolist()
    stops = [0] + [index for index, token in enumerate(ids) if token == 1012]
    tokens = outputs.logits[0].sigmoid()
    scores = torch.stack([tokens[:, a + 1 : b].mean(-1) for a, b in pairwise(stops)], -1)
    best, labels = scores.max(-1)
    width, height = image.size
    boxes = center_to_corners_format(outputs.pred_boxes[0]) * torch.tensor([width, height, width, height])
    return {"scores": best, "labels": labels, "boxes": boxes}


@pytest.mark.parametrize(("size", "count"), [((128, 128), 1), ((75, 311), 8), ((640, 427), 3)])
def test_equals_the_documented_call(call: Call, adapter: Any, size: tuple[int, int], count: int) -> None:
    image, labels = picture(*size), LABELS[:count]
    outputs, text = call(image, labels)
    assert_same(ask(adapter, image, labels), by_span(outputs, text, image), pixels=0.05, score=2e-5)


def test_reads_letters_that_it_does_not_know_as_the_reference_does(call: Call, adapter: Any) -> None:
    image, labels = picture(200, 120), ["🙂 dog", "Žid", "犬"]
    outputs, text = call(image, labels)
    assert_same(ask(adapter, image, labels), by_span(outputs, text, image), pixels=0.05, score=2e-5)


def test_keeps_what_transformers_post_processing_keeps(processor: Any, call: Call, adapter: Any) -> None:
    image, labels = picture(200, 120), ["dog", "tree"]
    everything = ask(adapter, image, labels)
    threshold = (everything[9].score + everything[10].score) / 2
    outputs, text = call(image, labels)
    separators = torch.tensor([0, 2, 4, 5])  # a trained model says nothing at them, this one is random
    outputs.logits = outputs.logits.index_fill(-1, separators, -torch.inf)
    expected = processor.post_process_grounded_object_detection(
        outputs, text["input_ids"], threshold=threshold, text_threshold=threshold, target_sizes=[image.size[::-1]]
    )[0]
    found = ask(adapter, image, labels, threshold)
    assert len(found) == 10
    names = [replace(item, label=0) for item in found]  # the processor names boxes by decoding tokens, and merges
    assert_same(names, {**expected, "labels": [0] * 10}, pixels=0.05, score=2e-5)
    assert {labels[item.label] for item in found} <= set(" ".join(expected["text_labels"]).split())


@pytest.mark.parametrize("labels", [["dog"], ["dog", "tree", "wheel"]])
def test_scores_of_single_words_are_those_of_transformers_post_processing(
    processor: Any, call: Call, adapter: Any, labels: list[str]
) -> None:
    image = picture(200, 120)
    outputs, text = call(image, labels)
    words = torch.arange(1, 2 * len(labels), 2)  # in a trained model what stands between them says nothing
    outputs.logits = torch.full_like(outputs.logits, -torch.inf).index_copy(-1, words, outputs.logits[..., words])
    (expected,) = processor.post_process_grounded_object_detection(
        outputs, text["input_ids"], threshold=0.0, target_sizes=[image.size[::-1]]
    )
    found = [replace(item, label=0) for item in ask(adapter, image, labels)]
    assert_same(found, {**expected, "labels": [0] * 50}, pixels=0.05, score=2e-5)


def test_finds_again_without_encoding_again(adapter: Any) -> None:
    (state,) = adapter.encode([adapter.prepare(picture(200, 120))])
    first = adapter.find(state, LABELS[:2], None, 0.0)
    adapter.find(state, LABELS[2:], None, 0.0)
    assert adapter.find(state, LABELS[:2], None, 0.0) == first
    assert first == ask(adapter, picture(200, 120), LABELS[:2])


def test_finds_the_same_in_a_batch_as_alone(adapter: Any) -> None:
    images = [picture(200, 120), picture(200, 120, seed=1)]
    states = adapter.encode([adapter.prepare(image) for image in images])
    for image, state in zip(images, states, strict=True):
        found = adapter.find(state, LABELS, None, 0.0)
        assert_same(found, as_expected(ask(adapter, image, LABELS)), pixels=0.05, score=2e-5)


def test_a_label_answers_to_its_own_tokens_only(processor: Any, adapter: Any) -> None:
    ids, spans = adapter._text.sentence(["dog", "baseball bat", "tree"])
    words = processor.tokenizer.convert_ids_to_tokens(ids)
    assert words == ["[CLS]", "dog", ".", "baseball", "bat", ".", "tree", ".", "[SEP]"]
    assert [words[span] for span in spans] == [["dog"], ["baseball", "bat"], ["tree"]]


@pytest.mark.parametrize("label", ["st. dog", "dog? cat", "a [SEP] cat", "🙂", "dog " * 300])
def test_a_label_stays_one_phrase_whatever_is_in_it(adapter: Any, label: str) -> None:
    assert adapter.chunks([label, "dog"]) in ([[0, 1]], [[0], [1]])
    ids, (span, _) = adapter._text.sentence([label, "dog"])
    assert not {101, 102, 1012, 1029}.intersection(ids[span])
    assert ask(adapter, picture(60, 40), [label])


@pytest.mark.parametrize("label", ["?", "..."])
def test_a_label_that_says_nothing_is_refused(adapter: Any, label: str) -> None:
    with pytest.raises(InputError, match=r"says nothing to the model.*name the object with letters") as caught:
        adapter.chunks(["dog", label])
    assert repr(label) in str(caught.value)


def test_fills_text_windows_in_order_and_loses_no_label(adapter: Any) -> None:
    labels = [f"red dog {index}" for index in range(200)]
    chunks = adapter.chunks(labels)
    assert [index for chunk in chunks for index in chunk] == list(range(200))
    lengths = [len(adapter._text.sentence([labels[i] for i in chunk])[0]) for chunk in chunks]
    assert max(lengths) <= 256
    assert min(lengths[:-1]) > 256 - 8


def test_a_full_window_reaches_the_model_complete(call: Call, adapter: Any) -> None:
    labels = [f"red dog {index}" for index in range(60)]
    labels = [labels[index] for index in adapter.chunks(labels)[0]]
    image = picture(200, 120)
    outputs, text = call(image, labels)
    assert_same(ask(adapter, image, labels), by_span(outputs, text, image), pixels=0.05, score=2e-5)


def test_the_thinnest_image_is_encoded(adapter: Any) -> None:
    assert len(ask(adapter, picture(4000, 2), ["dog"])) == 50


def test_is_deterministic(adapter: Any) -> None:
    assert ask(adapter, picture(200, 120), LABELS) == ask(adapter, picture(200, 120), LABELS)


def test_a_state_knows_its_size(adapter: Any) -> None:
    (state,) = adapter.encode([adapter.prepare(picture(128, 128))])
    assert state.nbytes == 4 * (32 * 16 * 16 + 64 * 8 * 8 + 128 * 4 * 4)


def test_stops_when_its_call_is_cancelled(adapter: Any) -> None:
    prepared = adapter.prepare(picture(200, 120))
    (state,) = adapter.encode([prepared])
    with cancelled(), pytest.raises(Interrupted):
        adapter.encode([prepared])
    with cancelled(), pytest.raises(Interrupted):
        adapter.find(state, ["dog"], None, 0.0)
    assert adapter.find(state, ["dog"], None, 0.0) == ask(adapter, picture(200, 120), ["dog"])


def test_half_precision_stays_close(folder: Path, adapter: Any) -> None:
    half = GroundingDino(load_model(folder), folder, torch.bfloat16)
    assert half.encode([half.prepare(picture(128, 128))])[0].nbytes == 2 * (32 * 256 + 64 * 64 + 128 * 16)
    best, exact = ask(half, picture(200, 120), LABELS)[0], ask(adapter, picture(200, 120), LABELS)[0]
    assert best.score == pytest.approx(exact.score, abs=0.05)


SENTENCE = "the person in the red car. left of a dog?"


def test_a_description_scores_as_the_best_of_its_tokens(call: Call, adapter: Any) -> None:
    image = picture(200, 120)
    (state,) = adapter.encode([adapter.prepare(image)])
    plain = "the person in the red car left of a dog"  # full stops and question marks would end it early
    outputs, text = call(image, [plain])
    words = outputs.logits[0, :, 1 : len(text["input_ids"][0]) - 2].sigmoid()
    boxes = center_to_corners_format(outputs.pred_boxes[0]) * torch.tensor([200, 120, 200, 120])
    expected = {"scores": words.max(-1).values, "labels": [0] * 50, "boxes": boxes}
    found = adapter.find_described(state, SENTENCE, 0.0)
    assert_same(found, expected, pixels=0.05, score=2e-5)
    assert adapter.find_described(state, SENTENCE, found[6].score) == found[:7]


CAPTION = "A Red car. A person with a dog and a red car"
PHRASES = [(0, 9), (11, 19), (25, 30), (37, 44)]


def test_phrases_score_over_their_tokens_in_the_caption(processor: Any, model: Any, adapter: Any) -> None:
    image = picture(200, 120)
    prepared = adapter.prepare(image)
    (state,) = adapter.encode([prepared])
    text = processor(text=CAPTION.lower() + ".", return_tensors="pt")
    with torch.inference_mode():
        outputs = model(pixel_values=torch.from_numpy(prepared.pixels)[None], **text)
    read = processor.tokenizer(CAPTION.lower(), return_offsets_mapping=True)
    spans = [
        [place for place, (a, b) in enumerate(read["offset_mapping"]) if a < end and b > start]
        for start, end in PHRASES
    ]
    scores = torch.stack([outputs.logits[0].sigmoid()[:, span].mean(-1) for span in spans], -1)
    boxes = center_to_corners_format(outputs.pred_boxes[0]) * torch.tensor([200, 120, 200, 120])
    expected = {
        "scores": scores.flatten(),
        "labels": torch.arange(4).repeat(50),
        "boxes": boxes.repeat_interleave(4, dim=0),
    }
    found = adapter.ground(state, CAPTION, PHRASES, 0.0)
    assert_same(found, expected, pixels=0.05, score=2e-5)
    assert adapter.ground(state, CAPTION, PHRASES, found[10].score) == found[:11]


def test_a_caption_is_read_as_transformers_reads_it(processor: Any, adapter: Any) -> None:
    for caption, read in (("A dog. A cat", "a dog. a cat."), ("a dog.", "a dog."), ("is it a dog?", "is it a dog?.")):
        ids, offsets = adapter._text.caption(caption)
        assert ids == processor(text=read, return_tensors="pt")["input_ids"][0].tolist()
        words = [caption.lower()[start:end] for start, end in offsets.values()]
        assert "".join(words) == caption.lower().replace(" ", "").replace(".", "").replace("?", "")


def test_what_looks_like_a_special_token_in_a_caption_is_none(adapter: Any) -> None:
    ids, _ = adapter._text.caption("a dog [SEP] a cat")
    assert ids.count(102) == 1
    assert ids[-1] == 102


def test_a_phrase_of_separators_only_scores_nothing(adapter: Any) -> None:
    (state,) = adapter.encode([adapter.prepare(picture(200, 120))])
    assert {item.score for item in adapter.ground(state, "dog. cat", [(3, 4)], 0.0)} == {0.0}


def test_knows_whether_a_caption_fits_its_window(adapter: Any) -> None:
    assert adapter.fits("dog " * 253)
    assert not adapter.fits("dog " * 254)
