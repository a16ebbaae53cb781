"""Descriptions of boxes: by which backend, of which objects, and what happens when one fails."""

from collections.abc import Sequence
from typing import Any

import pytest

from dinox_mcp.backends.base import Call, Capabilities
from dinox_mcp.detector import Detector
from dinox_mcp.errors import BackendError, InputError, ServiceError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Detection, Detections, Output
from tests.fakes import CAT, DOG, DescribingBackend, detector_with, picture

pytestmark = pytest.mark.anyio
BOX = (10.0, 10.0, 30.0, 30.0)


async def test_the_listed_objects_are_described_in_one_call() -> None:
    backend = DescribingBackend([DOG, CAT])
    result = await detector_with(backend).detect(picture(), include=["caption", "text"], max_objects=1)
    assert [(one.label, one.caption, one.text) for one in result.objects] == [("dog", "caption of dog", "text of dog")]
    assert [include for _, include in backend.described] == [{"caption", "text"}]
    assert any("caption, text by the backend fake, teller-1" in note for note in result.notes)


async def test_descriptions_are_cached() -> None:
    backend = DescribingBackend()
    detector = detector_with(backend)
    await detector.detect(picture(), include=["caption"])
    again = await detector.detect(picture(), include=["caption"])
    assert (again.cached, len(backend.asked), len(backend.described)) == (True, 1, 1)


async def test_text_alone_is_read_by_the_free_reader() -> None:
    backend = DescribingBackend([Detection(label="sign", bbox=(0, 0, 90, 90), score=0.9)])
    reading = Capabilities(describes=frozenset({"text"}), reads=("text",))
    reader = DescribingBackend(name="reader", able=reading, PREFERENCE=100)
    detector = Detector(Settings.load(backend="fake"), backends=[backend, reader])
    result = await detector.detect(picture(), include=["text"])
    assert result.objects[0].text == "text of sign"
    assert (len(backend.described), len(reader.described)) == (0, 1)
    assert any("text by the backend reader" in note for note in result.notes)


async def test_nothing_is_described_where_nothing_is_found() -> None:
    backend = DescribingBackend([])
    await detector_with(backend).detect(picture(), include=["caption"])
    assert backend.described == []


async def test_regions_of_a_picture_are_described() -> None:
    backend = DescribingBackend()
    result = await detector_with(backend).describe_regions(picture(), [(-5, 0, 20, 20), BOX])
    assert [(one.id, one.bbox, one.category) for one in result.objects] == [
        (1, (0, 0, 20, 20), "category of region"),
        (2, BOX, "category of region"),
    ]
    assert backend.asked == []


async def test_objects_of_a_result_keep_their_numbers() -> None:
    detector = detector_with(DescribingBackend([DOG, CAT]))
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
        ({"image": picture(), "boxes": [(200, 0, 300, 9)]}, "box 1: .*outside the 100x100 image"),
        ({"image": picture(), "boxes": [BOX] * 1001}, "boxes has 1001 entries, more than 1000"),
    ],
)
async def test_wrong_regions_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        await detector_with(DescribingBackend()).describe_regions(**arguments)


async def test_outputs_that_a_backend_cannot_give_of_boxes_are_refused() -> None:
    with pytest.raises(
        UnsupportedError,
        match=r"fake cannot give masks of given boxes; the backend local can.*include only caption and category",
    ):
        await detector_with(DescribingBackend()).describe_regions(picture(), [BOX], include=["masks"])


async def test_hands_come_with_what_is_detected() -> None:
    with pytest.raises(UnsupportedError, match=r"cannot give hands of given boxes; detecting, .*dinox or embedded can"):
        await detector_with(DescribingBackend()).describe_regions(picture(), [BOX], include=["hands"])


async def test_a_backend_that_loses_objects_is_caught() -> None:
    class Forgetful(DescribingBackend):
        async def describe(
            self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
        ) -> Detections:
            return await super().describe(image, objects[1:], include, call)

    with pytest.raises(BackendError, match="described 0 of 1 objects"):
        await detector_with(Forgetful()).describe_regions(picture(), [BOX])


async def test_a_description_that_ran_out_of_time_is_not_cached() -> None:
    class Late(DescribingBackend):
        async def describe(
            self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
        ) -> Detections:
            told = await super().describe(image, objects, include, call)
            return told.model_copy(update={"complete": False})

    backend = Late()
    detector = detector_with(backend)
    await detector.detect(picture(), include=["caption"])
    await detector.detect(picture(), include=["caption"])
    assert (len(backend.asked), len(backend.described)) == (1, 2)


async def test_what_was_found_is_not_lost_where_describing_fails() -> None:
    class Mute(DescribingBackend):
        async def describe(
            self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
        ) -> Detections:
            await super().describe(image, objects, include, call)
            raise ServiceError("the captions' model is out; ask later")

    result = await detector_with(Mute()).detect(picture(), include=["caption"])
    assert [one.label for one in result.objects] == ["dog", "cat"]
    assert "no caption: the captions' model is out; ask later" in result.notes
