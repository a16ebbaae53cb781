"""Requests to detection models: sentences and captions through real, tiny, random models."""

import pytest

from dinox_mcp.backends.base import Call
from dinox_mcp.types.detection import DetectionRequest
from tests.backends.local.conftest import Local, photo

pytestmark = pytest.mark.anyio
PHOTO = photo()
KINDS = ("grounding-dino", "mm-grounding-dino")
CAPTION = "A person with a Red car, next to a dog"


def phrases(*prompts: str, caption: str | None = CAPTION) -> DetectionRequest:
    return DetectionRequest(prompts=prompts, caption=caption, min_score=0, iou_threshold=1)


@pytest.mark.parametrize("kind", KINDS)
async def test_finds_what_a_sentence_describes_best_first(kind: str, local: Local) -> None:
    sentence = "the red dog left of the tree."
    backend = local(kind)
    assert "descriptions" in backend.capabilities().answers
    found = await backend.detect(PHOTO, DetectionRequest(description=sentence, min_score=0), Call())
    assert {one.label for one in found.objects} == {sentence}
    scores = [one.score for one in found.objects]
    assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]
    assert any("less well than DINO-XSeek" in note for note in found.notes)


async def test_a_description_beyond_the_window_is_noted(local: Local) -> None:
    backend = local("grounding-dino")
    found = await backend.detect(PHOTO, DetectionRequest(description="red dog " * 200), Call())
    assert "the model reads only the beginning of the description; a shorter one is read to the end" in found.notes


@pytest.mark.parametrize("kind", KINDS)
async def test_phrases_are_found_in_the_context_of_their_caption(kind: str, local: Local) -> None:
    backend = local(kind)
    found = await backend.detect(PHOTO, phrases("red car", "dog"), Call())
    other = await backend.detect(PHOTO, phrases("red car", "dog", caption="the red car eats a dog"), Call())
    plain = await backend.detect(PHOTO, phrases("red car", "dog", caption=None), Call())
    assert {one.label for one in found.objects} == {"red car", "dog"}
    assert len(found.objects) > len(plain.objects)  # a box may answer to several phrases
    assert len({found.objects, other.objects, plain.objects}) == 3
    assert found.notes == ()


async def test_phrases_that_are_not_in_the_caption_are_requested_on_their_own(local: Local) -> None:
    backend = local("grounding-dino")
    found = await backend.detect(PHOTO, phrases("red car", "tree", "dog"), Call())
    alone = await backend.detect(PHOTO, phrases("tree", caption=None), Call())
    inside = await backend.detect(PHOTO, phrases("red car", "dog"), Call())
    assert tuple(one for one in found.objects if one.label == "tree") == alone.objects
    assert tuple(one for one in found.objects if one.label != "tree") == inside.objects
    assert found.notes == ("'tree' is not in the caption; searched without it",)


async def test_a_caption_beyond_the_window_is_left_out(local: Local) -> None:
    backend = local("grounding-dino")
    found = await backend.detect(PHOTO, phrases("dog", "tree", caption="a dog and a tree " * 60), Call())
    plain = await backend.detect(PHOTO, phrases("dog", "tree", caption=None), Call())
    assert found.objects == plain.objects
    assert found.notes == ("the caption is longer than the model reads, so its phrases were searched without it",)


@pytest.mark.parametrize("family", ["owlv2", "sam3"])
async def test_models_that_read_no_sentences_search_each_phrase(family: str, local: Local) -> None:
    backend = local(family)
    found = await backend.detect(PHOTO, phrases("dog"), Call())
    plain = await backend.detect(PHOTO, phrases("dog", caption=None), Call())
    assert found.objects == plain.objects
    assert found.notes == (*plain.notes, "the model reads each phrase on its own, without the caption")
