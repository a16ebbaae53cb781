"""What looks like an example, through the backend and real, tiny, random models."""

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dinox_mcp.backends.base import Call, Embedder
from dinox_mcp.backends.local.backend import LocalBackend
from dinox_mcp.errors import InputError, UnsupportedError
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest, Embedding, Example, Output
from tests.backends.local.conftest import Local, photo

pytestmark = pytest.mark.anyio
HERE, THERE = photo(), photo(120, 160, seed=1)
CUP = Example(label="cup", bbox=(20, 30, 90, 80))
PLATE = Example(label="plate", bbox=(100, 5, 150, 40))
POINT = Example(label="cup", point=(80, 60))
ELSEWHERE = Example(label="cup", bbox=(10, 20, 60, 70), image=THERE.digest)
WITH_THERE = Call(pictures={THERE.digest: THERE})


def like(*examples: Example, iou_threshold: float = 0.8, include: frozenset[Output] = frozenset()) -> DetectionRequest:
    return DetectionRequest(examples=examples, min_score=0, iou_threshold=iou_threshold, include=include)


@pytest.mark.parametrize("family", ["owlvit", "owlv2", "sam3"])
async def test_finds_what_resembles_an_example(family: str, local: Local) -> None:
    backend = local(family)
    found = await backend.detect(HERE, like(CUP), Call())
    again = await backend.detect(HERE, like(CUP), Call())
    assert found.objects
    assert {one.label for one in found.objects} == {"cup"}
    assert found == again
    for one in found.objects:
        x1, y1, x2, y2 = one.bbox
        assert 0 <= x1 < x2 <= 160
        assert 0 <= y1 < y2 <= 120


@pytest.mark.parametrize("examples", [(POINT,), (ELSEWHERE,), (CUP, POINT, ELSEWHERE)])
async def test_examples_may_be_points_and_lie_elsewhere(examples: tuple[Example, ...], local: Local) -> None:
    backend = local("owlv2")
    found = await backend.detect(HERE, like(*examples), WITH_THERE)
    assert found.objects


async def test_each_label_has_its_examples(local: Local) -> None:
    backend = local("owlv2")
    found = await backend.detect(HERE, like(CUP, PLATE), Call())
    assert {one.label for one in found.objects} == {"cup", "plate"}


async def test_negative_examples_leave_out_what_resembles_them_more(local: Local) -> None:
    backend = local("owlv2")
    everything = await backend.detect(HERE, like(CUP, iou_threshold=1), Call())
    unnamed = PLATE.model_copy(update={"negative": True})
    own = unnamed.model_copy(update={"label": "cup"})
    left = await backend.detect(HERE, like(CUP, unnamed, iou_threshold=1), Call())
    same = await backend.detect(HERE, like(CUP, own, iou_threshold=1), Call())
    assert 0 < len(left.objects) < len(everything.objects)
    assert {one.bbox for one in left.objects} < {one.bbox for one in everything.objects}
    assert left.objects == same.objects


async def test_a_saved_prompt_finds_what_its_examples_find(local: Local) -> None:
    backend = local("owlv2")
    assert isinstance(backend, Embedder)
    saved = await backend.embed(HERE, like(CUP, POINT, ELSEWHERE), WITH_THERE)
    direct = await backend.detect(HERE, like(CUP, POINT, ELSEWHERE), WITH_THERE)
    again = await backend.detect(HERE, like(Example(label="cup", embedding=saved)), Call())
    twice = await backend.embed(HERE, like(Example(embedding=saved)), Call())
    assert again.objects == direct.objects
    assert twice == saved
    assert saved.backend == "local"
    assert saved.model.startswith(f"{direct.model}#")
    assert np.frombuffer(base64.b64decode(saved.data), "<f4").size == 3 * 32


async def test_a_saved_prompt_of_another_model_is_refused_by_name(local: Local) -> None:
    other = local("owlvit")
    saved = await other.embed(HERE, like(CUP), Call())
    backend = local("owlv2")
    with pytest.raises(UnsupportedError, match=r"made by the model owlvit.*#.* and owlv2.*# ?.*; use that model"):
        await backend.detect(HERE, like(Example(embedding=saved)), Call())


@pytest.mark.parametrize(
    "data", ["", "!!!", base64.b64encode(b"12345").decode(), base64.b64encode(b"\xff" * 128).decode()]
)
async def test_a_damaged_saved_prompt_is_refused(data: str, local: Local) -> None:
    backend = local("owlv2")
    saved = await backend.embed(HERE, like(CUP), Call())
    damaged = Example(embedding=Embedding(backend="local", model=saved.model, data=data))
    with pytest.raises(InputError, match="damaged; save it again"):
        await backend.detect(HERE, like(damaged), Call())


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        ((CUP.model_copy(update={"negative": True}),), "all examples are negative"),
        ((Example(bbox=(200, 10, 220, 30)),), r"example 1: the bbox \[200.0, 10.0, 220.0, 30.0\].*160x120 pixels"),
        ((CUP, Example(bbox=(20, 10, 20, 30))), r"example 2: the bbox"),
        ((CUP, Example(point=(20, 121))), r"example 2: the point \[20.0, 121.0\]"),
        ((Example(bbox=(0, 0, 9, 9), image="feed"),), "not among those given"),
    ],
)
async def test_examples_that_show_nothing_are_refused(examples: tuple[Example, ...], words: str, local: Local) -> None:
    backend = local("owlv2")
    with pytest.raises(InputError, match=words):
        await backend.detect(HERE, like(*examples), Call())


async def test_negative_examples_are_not_saved(local: Local) -> None:
    backend = local("owlv2")
    with pytest.raises(InputError, match="give negative examples with each request"):
        await backend.embed(HERE, like(CUP, CUP.model_copy(update={"negative": True})), Call())


async def test_a_box_that_no_box_of_the_model_fits_is_noted(local: Local) -> None:
    backend = local("owlv2")
    found = await backend.detect(HERE, like(CUP, Example(bbox=(0, 0, 1, 1))), Call())
    assert any(note.startswith("the model finds nothing with quite the box of example 2 (") for note in found.notes)


async def test_what_the_model_does_not_see_is_not_saved(local: Local) -> None:
    backend = local("owlv2")
    with pytest.raises(InputError, match=r"nothing with quite the box of example 1 \(.*draw the box closely"):
        await backend.embed(HERE, like(Example(bbox=(0, 0, 1, 1))), Call())


async def test_saving_encodes_no_other_image(checkpoint: Callable[[str], Path]) -> None:
    backend = LocalBackend(Settings.load(model=str(checkpoint("owlv2")), device="cpu"))
    saved = await backend.embed(HERE, like(ELSEWHERE), WITH_THERE)
    there = ELSEWHERE.model_copy(update={"image": ""})
    assert await backend.embed(THERE, like(there), Call()) == saved
    states = backend._workers.features
    key = next(iter(states._features))[0]
    assert states.get(key, HERE.digest) is None
    await backend.aclose()


@pytest.mark.parametrize(
    ("family", "request_", "words"),
    [
        ("grounding-dino", like(CUP), "cannot do examples; choose the model balanced or fast"),
        ("omdet-turbo", like(CUP), "cannot do examples; choose the model balanced or fast"),
        ("sam3", like(POINT), "cannot do points as examples; choose the model balanced"),
        ("sam3", like(ELSEWHERE), "cannot do examples in other images; choose the model balanced"),
        ("sam3", DetectionRequest(), "cannot do prompt-free detection; choose the model balanced"),
        ("owlv2", DetectionRequest(description="the red cup"), "cannot do descriptions; choose the model accurate"),
    ],
)
async def test_what_a_model_cannot_is_refused_with_one_that_can(
    family: str, request_: DetectionRequest, words: str, local: Local
) -> None:
    backend = local(family)
    assert not request_.needs <= backend.capabilities().answers
    with pytest.raises(UnsupportedError, match=words):
        await backend.detect(HERE, request_, WITH_THERE)


@pytest.mark.parametrize("family", ["grounding-dino", "sam3"])
async def test_models_whose_examples_cannot_be_kept_say_so(family: str, local: Local) -> None:
    backend = local(family)
    with pytest.raises(UnsupportedError, match=r"cannot do .*saved prompts; choose the model balanced"):
        await backend.embed(HERE, like(CUP), Call())


async def test_sam3_has_masks_where_they_are_wanted(local: Local) -> None:
    backend = local("sam3")
    plain = await backend.detect(HERE, like(CUP), Call())
    masked = await backend.detect(HERE, like(CUP, include=frozenset({"masks"})), Call())
    assert all(one.mask is None for one in plain.objects)
    assert all(one.mask is not None for one in masked.objects)
    assert [one.bbox for one in plain.objects] == [one.bbox for one in masked.objects]
