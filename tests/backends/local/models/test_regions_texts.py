"""Words about regions, compared with transformers' own processor and generation on the same weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from PIL import Image
from transformers.models.florence2.processing_florence2 import Florence2PostProcessor

from dinox_mcp.backends.local.models import regions as captions
from dinox_mcp.backends.local.models.base import Interrupted
from dinox_mcp.backends.local.models.regions import PROMPTS, region
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Output
from tests.backends.local.parity import cancelled
from tests.backends.local.pictures import picture

TASKS: dict[Output, str] = {
    "caption": "<REGION_TO_DESCRIPTION>",
    "category": "<REGION_TO_CATEGORY>",
    "text": "<REGION_TO_OCR>",
}
BOXES: list[Box] = [(10, 20, 100, 110), (0, 0, 160, 120), (80, 60, 81, 61), (150.5, 0, 160, 120)]


@pytest.fixture(autouse=True)
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model goes on until it is stopped."""
    monkeypatch.setattr(captions, "LONGEST", dict.fromkeys(PROMPTS, 12))


@pytest.fixture(scope="module")
def florence2(describer: Callable[[str], Any]) -> Any:  # noqa: ANN401
    return describer("florence2")


@pytest.fixture(scope="module")
def processor(checkpoint: Callable[[str], Path]) -> Any:  # noqa: ANN401
    return hf.AutoProcessor.from_pretrained(checkpoint("florence2"), local_files_only=True)


def ask(model: Any, image: Image.Image, boxes: list[Box], output: Output) -> list[str | None]:  # noqa: ANN401
    (state,) = model.encode([model.prepare(image)])
    words: list[str | None] = model.describe(state, boxes, output)
    return words


@pytest.mark.parametrize(("output", "size"), [("caption", (160, 120)), ("category", (90, 200)), ("text", (160, 120))])
def test_words_are_those_of_transformers(
    florence2: Any,  # noqa: ANN401
    processor: Any,  # noqa: ANN401
    stock: Callable[[str], Any],
    output: Output,
    size: tuple[int, int],
) -> None:
    image, task, model = picture(*size), TASKS[output], stock("florence2")
    expected = []
    for box in BOXES:
        inputs = processor(text=task + region(box, size), images=image, return_tensors="pt")
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=12, do_sample=False)
        (text,) = processor.batch_decode(tokens, skip_special_tokens=True)
        answer = processor.post_process_generation(text=text, task=task, image_size=size)[task]
        expected.append(" ".join(captions._POSITION.sub(" ", answer).split()) or None)
    assert any(expected)
    assert ask(florence2, image, BOXES, output) == expected


def test_one_region_at_a_time_gives_the_same_as_all_at_once(florence2: Any) -> None:  # noqa: ANN401
    image = picture(160, 120)
    together = ask(florence2, image, BOXES, "caption")
    assert [ask(florence2, image, [box], "caption")[0] for box in BOXES] == together


def test_a_prompt_is_read_as_the_processor_writes_it(florence2: Any, processor: Any) -> None:  # noqa: ANN401
    for output, task in TASKS.items():
        place = region(BOXES[0], (160, 120))
        (prompt,) = processor._construct_prompts(task + place)
        assert PROMPTS[output].format(region=place) == prompt
        inputs = processor(text=task + place, images=picture(160, 120), return_tensors="pt")
        (state,) = florence2.encode([florence2.prepare(picture(160, 120))])
        embeddings, mask = florence2._inputs([prompt], *state.arrays)
        stock = florence2._model.get_input_embeddings()(inputs["input_ids"])
        count = state.arrays[0].shape[1]
        assert (inputs["input_ids"][0, :count] == florence2._model.config.image_token_id).all()
        assert torch.equal(embeddings[:, count:], stock[:, count:])
        assert mask.shape == inputs["attention_mask"].shape


@pytest.mark.parametrize("size", [(160, 120), (1280, 853), (33, 4000)])
def test_regions_are_quantised_as_the_processor_does(processor: Any, size: tuple[int, int]) -> None:  # noqa: ANN401
    stock = Florence2PostProcessor({}, processor.tokenizer)
    width, height = size
    boxes = [(0.0, 0.0, width, height), (0.3 * width, 0.2 * height, 0.75 * width, 0.99 * height), (-5, 1.7, 20, 3.3)]
    for box in boxes:
        bins = stock.quantize(torch.tensor([box]), size)[0].tolist()
        assert region(box, size) == "".join(f"<loc_{place}>" for place in bins)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a red car<loc_52><loc_332><loc_932><loc_774>", "a red car"),
        ("  \n", None),
        ("<loc_1><loc_2><loc_3><loc_4>", None),
        ("one<loc_1>\ntwo", "one two"),
    ],
)
def test_the_region_that_the_model_repeats_is_left_out(
    florence2: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    words: str | None,
) -> None:
    monkeypatch.setattr(florence2._tokenizer, "batch_decode", lambda *_, **__: [text])
    assert ask(florence2, picture(160, 120), BOXES[:1], "caption") == [words]


def test_a_cancelled_call_stops_between_words(florence2: Any) -> None:  # noqa: ANN401
    (state,) = florence2.encode([florence2.prepare(picture(160, 120))])
    with cancelled(), pytest.raises(Interrupted):
        florence2.describe(state, BOXES, "caption")
