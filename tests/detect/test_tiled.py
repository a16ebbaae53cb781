"""Searches in tiles: what they cost, and what is said about them."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from dinox_mcp.backends.base import Call
from dinox_mcp.detect.visual_prompts import VisualPrompt
from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError, ServiceError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections
from tests.fakes import DescribingBackend, FakeBackend, able, detector_with, picture

pytestmark = pytest.mark.anyio
BOX = (10.0, 10.0, 30.0, 30.0)


async def test_tiles_are_asked_for_and_merged() -> None:
    backend = FakeBackend([Detection(label="bolt", bbox=(20, 20, 30, 30), score=0.5)])
    result = await detector_with(backend).detect(picture(200, 100), "bolt", tiles=2)
    assert sorted(one.bbox[0] for one in result.objects) == [20, 109]
    assert [(image.width, image.height) for image, _, _ in backend.asked] == [(200, 100), (111, 100), (111, 100)]
    assert any("and 2 overlapping parts: 3 calls" in note for note in result.notes)


class Reader(FakeBackend):
    """Cannot read codes in whole images of 200 pixels, nor those right of the middle."""

    def notes_for(self, objects: Sequence[Detection], _size: tuple[int, int]) -> list[str]:
        unread = sum(one.text is None for one in objects)
        return [f"not read: {unread}"] if unread else []

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        found = await super().detect(image, request, call)
        codes = [one for one in found.objects if image.width == 200 or one.bbox[2] < image.width]
        if image.width == 200:
            codes = [one.model_copy(update={"text": None}) for one in codes]
        notes = (*self.notes_for(codes, (0, 0)), "small letters")
        return found.model_copy(update={"objects": tuple(codes), "notes": notes})


async def test_what_a_tile_could_read_is_not_said_to_be_unread() -> None:
    code = Detection(label="QR code", bbox=(60, 60, 85, 85), text="42")
    result = await detector_with(Reader([code])).detect(picture(200, 100), "QR code", tiles=2)
    assert {one.text for one in result.objects} == {"42"}
    assert "small letters" in result.notes
    assert not any("not read" in note for note in result.notes)


async def test_what_no_search_could_read_is_counted_once() -> None:
    code = Detection(label="QR code", bbox=(20, 20, 40, 40))
    result = await detector_with(Reader([code])).detect(picture(200, 100), "QR code", tiles=2)
    assert len(result.objects) == 2
    assert [note for note in result.notes if "not read" in note] == ["not read: 2"]


async def test_an_example_in_a_tiled_picture_is_in_the_whole_of_it() -> None:
    backend = DescribingBackend()
    image = picture(200, 100)
    await detector_with(backend).detect_by_example(image, [VisualPrompt(bbox=BOX)], tiles=2)
    (_, whole, _), (_, tile, call), _ = backend.asked
    assert (whole.examples[0].image, tile.examples[0].image) == ("", image.digest)
    assert call.pictures[image.digest] == image


async def test_no_number_of_tiles_keeps_the_server_busy() -> None:
    with pytest.raises(InputError, match=r"tiles: 1000000 is not valid; .*less than or equal to 8"):
        await detector_with(FakeBackend()).detect(picture(), "bolt", tiles=1_000_000)


async def test_too_many_tiles_are_refused_before_they_cost() -> None:
    backend = FakeBackend()
    with pytest.raises(InputError, match=r"tiles is 8, which takes 65 calls.*DINOX_MCP_MAX_CALLS"):
        await detector_with(backend).detect(picture(), "bolt", tiles=8)
    assert not backend.asked


async def test_tiles_that_a_backend_can_not_compare_with_the_example_are_refused_before_they_cost() -> None:
    backend = FakeBackend(able=able("examples"))
    with pytest.raises(UnsupportedError, match=r"with tiles, .* cannot do examples in other images"):
        await detector_with(backend).detect_by_example(picture(), [VisualPrompt(bbox=BOX)], tiles=2)
    assert not backend.asked


class PricedBackend(DescribingBackend):
    """A backend that makes one call for each example."""

    def calls(self, request: DetectionRequest) -> int:
        return max(1, len(request.examples))


async def test_a_request_costs_the_calls_that_its_backend_says(tmp_path: Path) -> None:
    backend = PricedBackend()
    settings = Settings.load(backend="fake", prompts_folder=tmp_path, max_calls=5)
    detector = Detector(settings, backends=[backend])
    for name in ("bolt", "nut"):
        await detector.save_prompt(name, picture(), [VisualPrompt(bbox=BOX)])
    pointers = [VisualPrompt(saved="bolt"), VisualPrompt(saved="nut"), VisualPrompt(bbox=BOX)]
    result = await detector.detect_by_example(picture(200, 100), pointers[:1], tiles=2)
    assert any("3 calls" in note for note in result.notes)
    asked = len(backend.asked)
    with pytest.raises(InputError, match=r"tiles is 2 and .* in 3 calls, which takes 9 calls .* the 5 allowed"):
        await detector.detect_by_example(picture(200, 100), pointers, tiles=2)
    many = [VisualPrompt(saved="bolt", label=f"bolt {number}") for number in range(6)]
    with pytest.raises(InputError, match=r"^the backend fake searches for these examples in 6 calls, which takes 6"):
        await detector.detect_by_example(picture(), many)
    assert len(backend.asked) == asked


async def test_seventy_saved_prompts_are_one_call_where_the_backend_says_nothing_else(tmp_path: Path) -> None:
    backend = DescribingBackend()
    detector = detector_with(backend, tmp_path)
    await detector.save_prompt("bolt", picture(), [VisualPrompt(bbox=BOX)])
    many = [VisualPrompt(saved="bolt", label=f"bolt {number}") for number in range(70)]
    await detector.detect_by_example(picture(), many)
    assert len(backend.asked[-1][1].examples) == 70


async def test_searches_of_several_calls_say_so(tmp_path: Path) -> None:
    detector = detector_with(PricedBackend(), tmp_path)
    await detector.save_prompt("bolt", picture(), [VisualPrompt(bbox=BOX)])
    pointers = [VisualPrompt(saved="bolt"), VisualPrompt(bbox=BOX)]
    result = await detector.detect_by_example(picture(200, 100), pointers, tiles=2)
    assert any(note.endswith("2 overlapping parts: 3 searches of up to 2 calls each") for note in result.notes)


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
