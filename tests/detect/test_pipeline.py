"""The detector's other questions: by example, sentence and caption, counts, regions, tiles, saved prompts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dinox_mcp.backends.base import Call, Capabilities
from dinox_mcp.detect.visual_prompts import Pointer
from dinox_mcp.detector import Detector
from dinox_mcp.errors import BackendError, InputError, NotFoundError, ServiceError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.caller import Caller
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Need, Output
from tests.fakes import CAT, DOG, FakeBackend, TellingBackend, picture, png

pytestmark = pytest.mark.anyio
BOX = (10.0, 10.0, 30.0, 30.0)


def detector_with(backend: FakeBackend, folder: Path | None = None) -> Detector:
    return Detector(Settings.load(backend=backend.name, prompts_folder=folder), backends=[backend])


def able(*needs: Need) -> Capabilities:
    return Capabilities(answers=frozenset(needs))


async def test_examples_reach_the_backend_in_their_pictures() -> None:
    backend = TellingBackend()
    here, there = picture(), picture(50, 50, "red")
    detector = detector_with(backend)
    known = await detector.detect(there, "dog")
    await detector.detect_by_example(
        here, [Pointer(bbox=BOX, label="bolt"), Pointer(result=known.result_id, object=1), Pointer(point=(5, 5))]
    )
    _, request, call = backend.asked[-1]
    assert [(one.label, one.image) for one in request.examples] == [
        ("bolt", ""),
        ("dog", there.digest),
        ("object", ""),
    ]
    assert call.pictures == {there.digest: there}


async def test_an_example_in_the_searched_picture_is_in_no_other() -> None:
    backend = TellingBackend()
    detector = detector_with(backend)
    known = await detector.detect(picture(), "dog")
    await detector.detect_by_example(f"dinox://results/{known.result_id}", [Pointer(result=known.result_id, object=1)])
    assert backend.asked[-1][1].examples[0].image == ""


@pytest.mark.parametrize(
    ("pointers", "message"),
    [
        ([], "examples has 0 entries"),
        ([Pointer()], "example 1 has nothing to point at"),
        ([Pointer(bbox=BOX, point=(1, 1))], "example 1 has bbox and point"),
        ([Pointer(object=1)], "needs result and object together"),
        ([Pointer(bbox=(200, 0, 300, 9))], "outside its 100x100 picture"),
        ([Pointer(bbox=(30, 30, 10, 10))], "empty"),
        ([Pointer(point=(-4, 3))], "outside"),
        ([Pointer(bbox=BOX, negative=True)], "all examples are negative"),
        ([Pointer(saved="x", image="a.png")], "bring their own"),
        ([Pointer(saved="bolt")], "no saved prompt 'bolt'"),
    ],
)
async def test_an_example_that_points_at_nothing_is_one_line(
    tmp_path: Path, pointers: list[Pointer], message: str
) -> None:
    backend = TellingBackend()
    with pytest.raises(InputError, match=message) as caught:
        await detector_with(backend, tmp_path).detect_by_example(picture(), pointers)
    assert "\n" not in str(caught.value)
    assert not backend.asked


@pytest.mark.parametrize(
    ("pointer", "need"),
    [
        (Pointer(bbox=BOX), "examples"),
        (Pointer(point=(5, 5)), "points as examples"),
        (Pointer(bbox=BOX, negative=True), "negative examples"),
    ],
)
async def test_what_a_backend_cannot_do_with_examples_is_refused(pointer: Pointer, need: Need) -> None:
    backend = FakeBackend(able=able("text prompts", *({"examples"} - {need})))  # type: ignore[arg-type] # of needs
    with pytest.raises(UnsupportedError, match=need):
        await detector_with(backend).detect_by_example(picture(), [Pointer(bbox=BOX), pointer])


async def test_a_prompt_is_saved_and_asked_again(tmp_path: Path) -> None:
    backend = TellingBackend()
    saved = await detector_with(backend, tmp_path).save_prompt("bolt", picture(), [Pointer(bbox=BOX)], label="M8")
    await detector_with(backend, tmp_path).detect_by_example(picture(60, 60), [Pointer(saved="Bolt")])
    (example,) = backend.asked[-1][1].examples
    assert (example.label, example.embedding) == ("M8", saved.embedding)


async def test_a_saved_label_is_one_line(tmp_path: Path) -> None:
    detector = detector_with(TellingBackend(), tmp_path)
    saved = await detector.save_prompt("bolt", picture(), [Pointer(bbox=BOX)], label=" M8\nbolt ")
    assert saved.label == "M8 bolt"
    unnamed = await detector.save_prompt("My nut", picture(), [Pointer(bbox=BOX)], label=" ")
    assert unnamed.label == "My nut"


async def test_pictures_of_examples_fit_into_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("dinox_mcp.detect.visual_prompts.MAX_PICTURES_BYTES", 1000)
    pointers = []
    for number in range(10):
        path = tmp_path / f"{number}.png"
        path.write_bytes(png(50 + number, 50))
        pointers.append(Pointer(bbox=BOX, image=str(path)))
    with pytest.raises(InputError, match=r"examples 1 to \d+ have more than .* give fewer"):
        await detector_with(TellingBackend()).detect_by_example(picture(), pointers)


async def test_a_backend_that_saves_no_prompts_is_told_before_it_is_asked(tmp_path: Path) -> None:
    backend = FakeBackend(able=able("examples"))
    with pytest.raises(UnsupportedError, match="saved prompts"):
        await detector_with(backend, tmp_path).save_prompt("bolt", picture(), [Pointer(bbox=BOX)])


async def test_saved_prompts_are_their_tenants(tmp_path: Path) -> None:
    detector = detector_with(TellingBackend(), tmp_path)
    await detector.save_prompt("bolt", picture(), [Pointer(bbox=BOX)], caller=Caller("one"))
    with pytest.raises(NotFoundError):
        await detector.detect_by_example(picture(), [Pointer(saved="bolt")], caller=Caller("two"))


async def test_a_description_is_one_question() -> None:
    backend = TellingBackend([])
    result = await detector_with(backend).find_by_description(picture(), " the man  in red ")
    assert backend.asked[0][1].description == "the man in red"
    assert result.counts == {"the man in red": 0}


async def test_a_caption_is_asked_phrase_by_phrase_in_its_context() -> None:
    backend = TellingBackend()
    await detector_with(backend).ground_phrases(picture(), "A dog chases a small cat.")
    request = backend.asked[0][1]
    assert (request.prompts, request.caption) == (("dog", "small cat"), "A dog chases a small cat.")


async def test_a_caller_may_say_which_phrases() -> None:
    backend = TellingBackend()
    await detector_with(backend).ground_phrases(picture(), "A dog chases a cat.", ["cat"])
    assert backend.asked[0][1].prompts == ("cat",)


async def test_more_is_told_of_the_objects_that_are_kept_in_one_question() -> None:
    backend = TellingBackend([DOG, CAT])
    result = await detector_with(backend).detect(picture(), include=["caption", "text"], max_objects=1)
    assert [(one.label, one.caption, one.text) for one in result.objects] == [("dog", "caption of dog", "text of dog")]
    assert [include for _, include in backend.told] == [{"caption", "text"}]
    assert any("caption, text by the backend fake, teller-1" in note for note in result.notes)


async def test_what_was_told_is_remembered() -> None:
    backend = TellingBackend()
    detector = detector_with(backend)
    await detector.detect(picture(), include=["caption"])
    again = await detector.detect(picture(), include=["caption"])
    assert (again.cached, len(backend.asked), len(backend.told)) == (True, 1, 1)


async def test_text_alone_is_read_by_the_free_reader() -> None:
    backend = TellingBackend([Detection(label="sign", bbox=(0, 0, 90, 90), score=0.9)])
    reading = Capabilities(describes=frozenset({"text"}), reads=("text",))
    reader = TellingBackend(name="reader", able=reading, PREFERENCE=100)
    detector = Detector(Settings.load(backend="fake"), backends=[backend, reader])
    result = await detector.detect(picture(), include=["text"])
    assert result.objects[0].text == "text of sign"
    assert (len(backend.told), len(reader.told)) == (0, 1)
    assert any("text by the backend reader" in note for note in result.notes)


async def test_nothing_is_told_of_nothing() -> None:
    backend = TellingBackend([])
    await detector_with(backend).detect(picture(), include=["caption"])
    assert backend.told == []


async def test_regions_of_a_picture_are_described() -> None:
    backend = TellingBackend()
    result = await detector_with(backend).describe_regions(picture(), [(-5, 0, 20, 20), BOX])
    assert [(one.id, one.bbox, one.category) for one in result.objects] == [
        (1, (0, 0, 20, 20), "category of region"),
        (2, BOX, "category of region"),
    ]
    assert backend.asked == []


async def test_objects_of_a_result_keep_their_numbers() -> None:
    detector = detector_with(TellingBackend([DOG, CAT]))
    found = await detector.detect(picture())
    described = await detector.describe_regions(result=found.result_id, objects=[2, 2], include=["caption"])
    assert [(one.id, one.label, one.caption) for one in described.objects] == [(2, "cat", "caption of cat")]
    assert detector.result(described.result_id).picture == picture()
    assert described.model == "teller-1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "pass result"),
        ({"image": "a.png"}, "pass result"),
        ({"result": "x", "boxes": [BOX]}, "pass result"),
        ({"result": "gone"}, "no result 'gone'"),
        ({"image": picture(), "boxes": [(200, 0, 300, 9)]}, "box 1: .*outside the 100x100 picture"),
        ({"image": picture(), "boxes": [BOX] * 1001}, "boxes has 1001 entries, more than 1000"),
    ],
)
async def test_regions_that_are_none_are_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        await detector_with(TellingBackend()).describe_regions(**arguments)


async def test_outputs_that_a_backend_cannot_tell_of_boxes_are_refused() -> None:
    with pytest.raises(
        UnsupportedError,
        match=r"fake cannot tell masks of given boxes; the backend local can.*ask for caption and category",
    ):
        await detector_with(TellingBackend()).describe_regions(picture(), [BOX], include=["masks"])


async def test_hands_come_with_what_is_detected() -> None:
    with pytest.raises(UnsupportedError, match=r"cannot tell hands of given boxes; detecting, .*dinox or embedded can"):
        await detector_with(TellingBackend()).describe_regions(picture(), [BOX], include=["hands"])


async def test_a_backend_that_loses_objects_is_caught() -> None:
    class Forgetful(TellingBackend):
        async def describe(
            self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
        ) -> Detections:
            return await super().describe(image, objects[1:], include, call)

    with pytest.raises(BackendError, match="told of 0 of 1 objects"):
        await detector_with(Forgetful()).describe_regions(picture(), [BOX])


async def test_tiles_are_asked_for_and_merged() -> None:
    backend = FakeBackend([Detection(label="bolt", bbox=(20, 20, 30, 30), score=0.5)])
    result = await detector_with(backend).detect(picture(200, 100), "bolt", tiles=2)
    assert sorted(one.bbox[0] for one in result.objects) == [20, 109]
    assert [(image.width, image.height) for image, _, _ in backend.asked] == [(200, 100), (111, 100), (111, 100)]
    assert any("in 2 overlapping parts: 3 calls" in note for note in result.notes)


class Reader(FakeBackend):
    """Cannot read codes in whole pictures of 200 pixels, nor those right of the middle."""

    def remarks(self, objects: Sequence[Detection], _size: tuple[int, int]) -> list[str]:
        unread = sum(one.text is None for one in objects)
        return [f"not read: {unread}"] if unread else []

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        found = await super().detect(image, request, call)
        codes = [one for one in found.objects if image.width == 200 or one.bbox[2] < image.width]
        if image.width == 200:
            codes = [one.model_copy(update={"text": None}) for one in codes]
        notes = (*self.remarks(codes, (0, 0)), "small letters")
        return found.model_copy(update={"objects": tuple(codes), "notes": notes})


async def test_what_a_tile_could_read_is_not_said_to_be_unread() -> None:
    code = Detection(label="QR code", bbox=(60, 60, 85, 85), text="42")
    result = await detector_with(Reader([code])).detect(picture(200, 100), "QR code", tiles=2)
    assert {one.text for one in result.objects} == {"42"}
    assert "small letters" in result.notes
    assert not any("not read" in note for note in result.notes)


async def test_what_no_look_could_read_is_counted_once() -> None:
    code = Detection(label="QR code", bbox=(20, 20, 40, 40))
    result = await detector_with(Reader([code])).detect(picture(200, 100), "QR code", tiles=2)
    assert len(result.objects) == 2
    assert [note for note in result.notes if "not read" in note] == ["not read: 2"]


async def test_an_example_in_a_tiled_picture_is_in_the_whole_of_it() -> None:
    backend = TellingBackend()
    image = picture(200, 100)
    await detector_with(backend).detect_by_example(image, [Pointer(bbox=BOX)], tiles=2)
    (_, whole, _), (_, tile, call), _ = backend.asked
    assert (whole.examples[0].image, tile.examples[0].image) == ("", image.digest)
    assert call.pictures[image.digest] == image


async def test_no_number_of_tiles_keeps_the_server_busy() -> None:
    with pytest.raises(InputError, match=r"tiles: .*less than or equal to 8 \(got 1000000\)"):
        await detector_with(FakeBackend()).detect(picture(), "bolt", tiles=1_000_000)


async def test_too_many_tiles_are_refused_before_they_cost() -> None:
    backend = FakeBackend()
    with pytest.raises(InputError, match=r"tiles is 8, which takes 65 calls.*DINOX_MCP_MAX_CALLS"):
        await detector_with(backend).detect(picture(), "bolt", tiles=8)
    assert not backend.asked


async def test_tiles_that_a_backend_can_not_compare_with_the_example_are_refused_before_they_cost() -> None:
    backend = FakeBackend(able=able("examples"))
    with pytest.raises(UnsupportedError, match=r"with tiles, .* cannot do examples in other pictures"):
        await detector_with(backend).detect_by_example(picture(), [Pointer(bbox=BOX)], tiles=2)
    assert not backend.asked


async def test_every_tool_lists_a_hundred_objects_where_nobody_says_how_many() -> None:
    many = [DOG.model_copy(update={"bbox": (float(n), 0, n + 1.0, 1)}) for n in range(150)]
    detector = detector_with(FakeBackend(answer=many))
    counted = (await detector.count_objects(picture(), "dog")).result
    for result in (counted, await detector.detect(picture(), "dog")):
        assert (len(result.objects), result.omitted, result.counts) == (100, 50, {"dog": 150})


class PricedBackend(TellingBackend):
    """A backend that makes one call for each example."""

    def calls(self, request: DetectionRequest) -> int:
        return max(1, len(request.examples))


async def test_a_request_costs_the_calls_that_its_backend_says(tmp_path: Path) -> None:
    backend = PricedBackend()
    settings = Settings.load(backend="fake", prompts_folder=tmp_path, max_calls=5)
    detector = Detector(settings, backends=[backend])
    for name in ("bolt", "nut"):
        await detector.save_prompt(name, picture(), [Pointer(bbox=BOX)])
    pointers = [Pointer(saved="bolt"), Pointer(saved="nut"), Pointer(bbox=BOX)]
    result = await detector.detect_by_example(picture(200, 100), pointers[:1], tiles=2)
    assert any("3 calls" in note for note in result.notes)
    asked = len(backend.asked)
    with pytest.raises(InputError, match=r"tiles is 2 and .* in 3 calls, which takes 9 calls .* the 5 allowed"):
        await detector.detect_by_example(picture(200, 100), pointers, tiles=2)
    many = [Pointer(saved="bolt", label=f"bolt {number}") for number in range(6)]
    with pytest.raises(InputError, match=r"^the backend fake asks these examples in 6 calls, which takes 6"):
        await detector.detect_by_example(picture(), many)
    assert len(backend.asked) == asked


async def test_seventy_saved_prompts_are_one_call_where_the_backend_says_nothing_else(tmp_path: Path) -> None:
    backend = TellingBackend()
    detector = detector_with(backend, tmp_path)
    await detector.save_prompt("bolt", picture(), [Pointer(bbox=BOX)])
    many = [Pointer(saved="bolt", label=f"bolt {number}") for number in range(70)]
    await detector.detect_by_example(picture(), many)
    assert len(backend.asked[-1][1].examples) == 70


async def test_looks_of_several_calls_say_so(tmp_path: Path) -> None:
    detector = detector_with(PricedBackend(), tmp_path)
    await detector.save_prompt("bolt", picture(), [Pointer(bbox=BOX)])
    pointers = [Pointer(saved="bolt"), Pointer(bbox=BOX)]
    result = await detector.detect_by_example(picture(200, 100), pointers, tiles=2)
    assert any(note.endswith("2 overlapping parts: 3 looks of up to 2 calls each") for note in result.notes)


async def test_a_failure_in_a_tile_is_told_as_it_is() -> None:
    backend = FakeBackend(error=ServiceError("the service is down; wait"))
    with pytest.raises(ServiceError, match="is down"):
        await detector_with(backend).detect(picture(200, 100), "bolt", tiles=2)


async def test_progress_over_tiles_only_rises() -> None:
    heard: list[float] = []

    async def hear(fraction: float, _message: str) -> None:
        heard.append(fraction)

    await detector_with(FakeBackend()).detect(picture(200, 100), "bolt", tiles=2, progress=hear)
    assert heard == sorted(heard)
    assert heard[-1] == 1


async def test_a_count_shows_how_it_would_change() -> None:
    backend = FakeBackend([Detection(label="bolt", bbox=(9 * i, 0, 9 * i + 8, 8), score=0.1 * i) for i in range(1, 10)])
    count = await detector_with(backend).count_objects(picture(), "bolt, nut", min_score=0.45)
    assert backend.asked[0][1].min_score == 0.1
    assert count.result.counts == {"bolt": 5, "nut": 0}
    assert len(count.result.objects) == 5
    assert {level.min_score: level.counts["bolt"] for level in count.levels}[0.25] == 7
    assert count.result.request.min_score == 0.45


async def test_a_large_picture_of_small_things_is_counted_in_tiles() -> None:
    backend = FakeBackend([Detection(label="bolt", bbox=(20, 20, 30, 30), score=0.5)])
    detector = detector_with(backend)
    large = picture(2400, 1200)
    assert (await detector.count_objects(large, "bolt")).result.request.tiles == 2
    assert (await detector.count_objects(large, "bolt", tiles=1)).result.request.tiles == 1


async def test_the_first_look_of_a_count_is_not_paid_twice() -> None:
    backend = FakeBackend([Detection(label="bolt", bbox=(20, 20, 30, 30), score=0.5)])
    await detector_with(backend).count_objects(picture(2400, 1200), "bolt")
    assert [image.width for image, _, _ in backend.asked] == [2400, 1333, 1333]


async def test_a_count_looks_in_no_parts_where_it_may_or_can_not() -> None:
    small = [Detection(label="bolt", bbox=(20, 20, 30, 30), score=0.5)]
    large = picture(2400, 1200)
    frugal = Detector(Settings.load(backend="fake", max_calls=2), backends=[FakeBackend(small)])
    assert (await frugal.count_objects(large, "bolt")).result.request.tiles == 1
    here_only = detector_with(FakeBackend(small, able=able("examples")))
    assert (await here_only.count_objects(large, examples=[Pointer(bbox=BOX)])).result.request.tiles == 1


async def test_what_was_not_looked_for_has_no_count_at_any_threshold() -> None:
    count = await detector_with(FakeBackend(unsearched=("unicorn",))).count_objects(picture(), "dog, unicorn")
    assert all("unicorn" not in level.counts for level in count.levels)
    assert "unicorn" not in count.result.counts


async def test_counting_takes_examples_instead_of_words() -> None:
    backend = TellingBackend()
    await detector_with(backend).count_objects(picture(), examples=[Pointer(bbox=BOX)])
    assert backend.asked[0][1].examples[0].bbox == BOX
    with pytest.raises(InputError, match=r"prompts.*or examples"):
        await detector_with(backend).count_objects(picture())


async def test_a_model_of_another_backend_is_found_by_its_name() -> None:
    from dinox_mcp.backends.registry import Backends

    other = FakeBackend(name="other")
    backends = Backends(Settings.load(), [other])
    assert backends.choose(model="FAKE-1") == "other"
    assert Backends(Settings.load(backend="embedded"), [other]).choose(model="fake-1") == "embedded"


async def test_a_question_without_a_result_is_asked_through_the_same_memory() -> None:
    backend = FakeBackend()
    detector = detector_with(backend)
    result = await detector.detect(picture(), "dog")
    answer = await detector.ask(picture(), detector.plan(result.request))
    assert answer.cached
    assert len(detector.store.recent()) == 1


async def test_an_answer_that_ran_out_of_time_is_not_remembered() -> None:
    class Late(TellingBackend):
        async def describe(
            self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
        ) -> Detections:
            told = await super().describe(image, objects, include, call)
            return told.model_copy(update={"complete": False})

    backend = Late()
    detector = detector_with(backend)
    await detector.detect(picture(), include=["caption"])
    await detector.detect(picture(), include=["caption"])
    assert (len(backend.asked), len(backend.told)) == (1, 2)


async def test_what_was_found_is_not_lost_where_no_more_can_be_told() -> None:
    class Mute(TellingBackend):
        async def describe(
            self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
        ) -> Detections:
            await super().describe(image, objects, include, call)
            raise ServiceError("the captions' model is out; ask later")

    result = await detector_with(Mute()).detect(picture(), include=["caption"])
    assert [one.label for one in result.objects] == ["dog", "cat"]
    assert "no caption: the captions' model is out; ask later" in result.notes
