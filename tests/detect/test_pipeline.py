"""The detector's requests: by sentence and caption, counts, saved prompts, and the cache."""

import pytest

from dinox_mcp.backends.base import Call
from dinox_mcp.backends.registry import Backends
from dinox_mcp.detect.pipeline import Pipeline
from dinox_mcp.detect.visual_prompts import VisualPrompt
from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError
from dinox_mcp.settings import Settings
from dinox_mcp.store.results import Store
from dinox_mcp.types.detection import Detection, DetectionRequest
from tests.fakes import DOG, DescribingBackend, FakeBackend, able, detector_with, picture

pytestmark = pytest.mark.anyio
BOX = (10.0, 10.0, 30.0, 30.0)


async def test_a_description_is_one_question() -> None:
    backend = DescribingBackend([])
    result = await detector_with(backend).find_by_description(picture(), " the man  in red ")
    assert backend.asked[0][1].description == "the man in red"
    assert result.counts == {"the man in red": 0}


async def test_a_caption_is_asked_phrase_by_phrase_in_its_context() -> None:
    backend = DescribingBackend()
    await detector_with(backend).ground_phrases(picture(), "A dog chases a small cat.")
    request = backend.asked[0][1]
    assert (request.prompts, request.caption) == (("dog", "small cat"), "A dog chases a small cat.")


async def test_a_caller_may_say_which_phrases() -> None:
    backend = DescribingBackend()
    await detector_with(backend).ground_phrases(picture(), "A dog chases a cat.", ["cat"])
    assert backend.asked[0][1].prompts == ("cat",)


async def test_every_tool_lists_a_hundred_objects_where_nobody_says_how_many() -> None:
    many = [DOG.model_copy(update={"bbox": (float(n), 0, n + 1.0, 1)}) for n in range(150)]
    detector = detector_with(FakeBackend(answer=many))
    counted = (await detector.count_objects(picture(), "dog")).result
    for result in (counted, await detector.detect(picture(), "dog")):
        assert (len(result.objects), result.omitted, result.counts) == (100, 50, {"dog": 150})


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
    large = picture(2400, 80)
    assert (await detector.count_objects(large, "bolt")).result.request.tiles == 2
    assert (await detector.count_objects(large, "bolt", tiles=1)).result.request.tiles == 1


async def test_the_first_look_of_a_count_is_not_paid_twice() -> None:
    backend = FakeBackend([Detection(label="bolt", bbox=(20, 20, 30, 30), score=0.5)])
    await detector_with(backend).count_objects(picture(2400, 80), "bolt")
    assert [image.width for image, _, _ in backend.asked] == [2400, 1333, 1333]


async def test_a_count_looks_in_no_parts_where_it_may_or_can_not() -> None:
    small = [Detection(label="bolt", bbox=(20, 20, 30, 30), score=0.5)]
    large = picture(2400, 80)
    frugal = Detector(Settings.load(backend="fake", max_calls=2), backends=[FakeBackend(small)])
    assert (await frugal.count_objects(large, "bolt")).result.request.tiles == 1
    here_only = detector_with(FakeBackend(small, able=able("examples")))
    assert (await here_only.count_objects(large, examples=[VisualPrompt(bbox=BOX)])).result.request.tiles == 1


async def test_what_was_not_looked_for_has_no_count_at_any_threshold() -> None:
    count = await detector_with(FakeBackend(unsearched=("unicorn",))).count_objects(picture(), "dog, unicorn")
    assert all("unicorn" not in level.counts for level in count.levels)
    assert "unicorn" not in count.result.counts


async def test_counting_takes_examples_instead_of_words() -> None:
    backend = DescribingBackend()
    await detector_with(backend).count_objects(picture(), examples=[VisualPrompt(bbox=BOX)])
    assert backend.asked[0][1].examples[0].bbox == BOX
    with pytest.raises(InputError, match="prompts and examples"):
        await detector_with(backend).count_objects(picture())


async def test_a_model_of_another_backend_is_found_by_its_name() -> None:

    other = FakeBackend(name="other")
    backends = Backends(Settings.load(), [other])
    assert backends.choose(model="FAKE-1") == "other"
    assert Backends(Settings.load(backend="embedded"), [other]).choose(model="fake-1") == "embedded"


async def test_an_answer_without_a_result_comes_from_the_same_cache() -> None:
    settings, store = Settings.load(backend="fake"), Store(10, 1_000_000)
    pipeline = Pipeline(settings, Backends(settings, [FakeBackend()]), store)
    plan = pipeline.router.plan(DetectionRequest(prompts=("dog",)))
    await pipeline.detect(plan, picture(), Call(), 100)
    answer = await pipeline.answer(plan, picture(), Call())
    assert answer.cached
    assert len(store.recent()) == 1
