"""Visual prompts: where they come from, what is refused, and what is saved of them."""

from pathlib import Path

import pytest

from dinox_mcp.detect.options import Caller
from dinox_mcp.detect.visual_prompts import VisualPrompt
from dinox_mcp.errors import InputError, NotFoundError, UnsupportedError
from dinox_mcp.types.detection import Need
from tests.fakes import DescribingBackend, FakeBackend, able, detector_with, picture, png

pytestmark = pytest.mark.anyio
BOX = (10.0, 10.0, 30.0, 30.0)


async def test_examples_reach_the_backend_in_their_pictures() -> None:
    backend = DescribingBackend()
    here, there = picture(), picture(50, 50, "red")
    detector = detector_with(backend)
    known = await detector.detect(there, "dog")
    await detector.detect_by_example(
        here,
        [
            VisualPrompt(bbox=BOX, label="bolt"),
            VisualPrompt(result=known.result_id, object=1),
            VisualPrompt(point=(5, 5)),
        ],
    )
    _, request, call = backend.asked[-1]
    assert [(one.label, one.image) for one in request.examples] == [
        ("bolt", ""),
        ("dog", there.digest),
        ("object", ""),
    ]
    assert call.pictures == {there.digest: there}


async def test_an_example_in_the_searched_picture_is_in_no_other() -> None:
    backend = DescribingBackend()
    detector = detector_with(backend)
    known = await detector.detect(picture(), "dog")
    await detector.detect_by_example(
        f"dinox://results/{known.result_id}", [VisualPrompt(result=known.result_id, object=1)]
    )
    assert backend.asked[-1][1].examples[0].image == ""


@pytest.mark.parametrize(
    ("pointers", "message"),
    [
        ([], "examples has 0 entries"),
        ([VisualPrompt()], "example 1 has nothing to point at"),
        ([VisualPrompt(bbox=BOX, point=(1, 1))], "example 1 has bbox and point"),
        ([VisualPrompt(object=1)], "only one of result and object"),
        ([VisualPrompt(bbox=(200, 0, 300, 9))], "outside its 100x100 image"),
        ([VisualPrompt(bbox=(30, 30, 10, 10))], "empty"),
        ([VisualPrompt(point=(-4, 3))], "outside"),
        ([VisualPrompt(bbox=BOX, negative=True)], "all examples are negative"),
        ([VisualPrompt(saved="x", image="a.png")], "bring their own"),
        ([VisualPrompt(saved="bolt")], "no saved prompt 'bolt'"),
    ],
)
async def test_an_example_that_points_at_nothing_is_one_line(
    tmp_path: Path, pointers: list[VisualPrompt], message: str
) -> None:
    backend = DescribingBackend()
    with pytest.raises(InputError, match=message) as caught:
        await detector_with(backend, tmp_path).detect_by_example(picture(), pointers)
    assert "\n" not in str(caught.value)
    assert not backend.asked


@pytest.mark.parametrize(
    ("pointer", "need"),
    [
        (VisualPrompt(bbox=BOX), "examples"),
        (VisualPrompt(point=(5, 5)), "points as examples"),
        (VisualPrompt(bbox=BOX, negative=True), "negative examples"),
    ],
)
async def test_what_a_backend_cannot_do_with_examples_is_refused(pointer: VisualPrompt, need: Need) -> None:
    backend = FakeBackend(able=able("text prompts", *({"examples"} - {need})))  # type: ignore[arg-type] # of needs
    with pytest.raises(UnsupportedError, match=need):
        await detector_with(backend).detect_by_example(picture(), [VisualPrompt(bbox=BOX), pointer])


async def test_a_prompt_is_saved_and_asked_again(tmp_path: Path) -> None:
    backend = DescribingBackend()
    saved = await detector_with(backend, tmp_path).save_prompt("bolt", picture(), [VisualPrompt(bbox=BOX)], label="M8")
    await detector_with(backend, tmp_path).detect_by_example(picture(60, 60), [VisualPrompt(saved="Bolt")])
    (example,) = backend.asked[-1][1].examples
    assert (example.label, example.embedding) == ("M8", saved.embedding)


async def test_a_saved_label_is_one_line(tmp_path: Path) -> None:
    detector = detector_with(DescribingBackend(), tmp_path)
    saved = await detector.save_prompt("bolt", picture(), [VisualPrompt(bbox=BOX)], label=" M8\nbolt ")
    assert saved.label == "M8 bolt"
    unnamed = await detector.save_prompt("My nut", picture(), [VisualPrompt(bbox=BOX)], label=" ")
    assert unnamed.label == "My nut"


async def test_pictures_of_examples_fit_into_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("dinox_mcp.detect.visual_prompts.MAX_PICTURES_BYTES", 1000)
    pointers = []
    for number in range(10):
        path = tmp_path / f"{number}.png"
        path.write_bytes(png(50 + number, 50))
        pointers.append(VisualPrompt(bbox=BOX, image=str(path)))
    with pytest.raises(InputError, match=r"examples 1 to \d+ have more than .* give fewer"):
        await detector_with(DescribingBackend()).detect_by_example(picture(), pointers)


async def test_a_backend_that_saves_no_prompts_is_told_before_it_is_asked(tmp_path: Path) -> None:
    backend = FakeBackend(able=able("examples"))
    with pytest.raises(UnsupportedError, match="saved prompts"):
        await detector_with(backend, tmp_path).save_prompt("bolt", picture(), [VisualPrompt(bbox=BOX)])


async def test_saved_prompts_are_their_tenants(tmp_path: Path) -> None:
    detector = detector_with(DescribingBackend(), tmp_path)
    await detector.save_prompt("bolt", picture(), [VisualPrompt(bbox=BOX)], caller=Caller("one"))
    with pytest.raises(NotFoundError):
        await detector.detect_by_example(picture(), [VisualPrompt(saved="bolt")], caller=Caller("two"))
