"""The cloud backend: its keys, and what takes several of its endpoints."""

import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from pydantic import SecretStr

from dinox_mcp.backends.base import Call, Capabilities
from dinox_mcp.backends.dinox import create
from dinox_mcp.backends.dinox.backend import DinoxBackend
from dinox_mcp.detect.visual_prompts import VisualPrompt
from dinox_mcp.detector import Detector
from dinox_mcp.errors import KeyRejectedError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Mask, Output
from tests.backends.dinox.conftest import Connect, encoded, plain
from tests.emulator import FRACTIONS, Emulator
from tests.fakes import DescribingBackend

pytestmark = pytest.mark.anyio

PHOTO = plain(400, 300)
DOG = DetectionRequest(prompts=("dog",))


def dots(*places: tuple[int, int]) -> Image.Image:
    image = Image.new("RGB", (800, 600), "white")
    for x, y in places:
        ImageDraw.Draw(image).rectangle((x, y, x + 59, y + 59), "red")
    return image


DOTS = encoded(dots((100, 100), (400, 300), (720, 520)))
A_DOT = VisualPrompt(bbox=(105, 105, 150, 150), label="dot")


@pytest.fixture
async def detector(emulator: Emulator, tmp_path: Path) -> AsyncIterator[Detector]:
    settings = Settings.load(api_key=emulator.key, api_base_url=emulator.url, prompts_folder=tmp_path)
    async with Detector(settings) as detector:
        yield detector


async def test_captions_of_what_is_found_take_one_more_call(detector: Detector, emulator: Emulator) -> None:
    result = await detector.detect(PHOTO, "dog, cat", include=["caption", "category", "text", "pose"])

    assert emulator.asked == ["dinox/detection", "dinox/region_vl"]
    assert [found.caption for found in result.objects] == [
        "a thing from {}% {}% to {}% {}%".format(*(round(100 * part) for part in place)) for place in FRACTIONS[:2]
    ]
    assert [(found.category, found.text) for found in result.objects] == [("thing 0", None), ("thing 1", "No. 1")]


async def test_the_same_request_is_paid_once_with_all_its_calls(detector: Detector, emulator: Emulator) -> None:
    for _ in range(2):
        await detector.detect(PHOTO, "dog", include=["caption", "masks"])

    assert emulator.stats().paid == 2


@dataclass
class MasksOfBoxes(DescribingBackend):
    """A model on this machine that makes masks of boxes, whoever found them."""

    able: Capabilities = field(default_factory=lambda: Capabilities(describes=frozenset({"masks"})))
    PREFERENCE: int = 20

    async def describe(
        self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], _: Call
    ) -> Detections:
        self.described.append((objects, include))
        mask = Mask(size=(image.height, image.width), counts="0")
        return Detections(model="sam", objects=tuple(one.model_copy(update={"mask": mask}) for one in objects))


async def test_boxes_of_grounding_dino_get_masks_from_a_model_on_this_machine(emulator: Emulator) -> None:
    settings = Settings.load(api_key=emulator.key, api_base_url=emulator.url)
    backends = [DinoxBackend(settings), MasksOfBoxes(name="sam")]
    async with Detector(settings, backends=backends) as detector:
        result = await detector.detect(PHOTO, "dog", model="GroundingDino-1.6-Pro", include=["masks"])

    assert emulator.asked == ["grounding_dino/detection"]
    assert [found.mask is not None for found in result.objects] == [True]
    assert any("masks by the backend sam" in note for note in result.notes)


async def test_where_nothing_is_found_nothing_more_is_asked(detector: Detector, emulator: Emulator) -> None:
    result = await detector.detect(PHOTO, "dog", min_score=0.95, include=["caption"])

    assert not result.objects
    assert emulator.asked == ["dinox/detection"]


async def test_poses_and_hands_come_with_the_objects(detector: Detector) -> None:
    result = await detector.detect(PHOTO, "person, dog", include=["pose", "hands"])

    assert [len(found.keypoints) for found in result.objects] == [17 + 21, 0]


@pytest.mark.slow
async def test_what_is_kept_of_an_example_finds_it_again(detector: Detector, emulator: Emulator) -> None:
    shown = await detector.detect_by_example(DOTS, [A_DOT])
    await detector.save_prompt("red-dot", DOTS, [A_DOT])
    found = await detector.detect_by_example(DOTS, [VisualPrompt(saved="red-dot", label="dot")])

    assert emulator.asked == ["trex/detection"] * 3
    assert found.counts == shown.counts == {"dot": 3}
    assert found.model == shown.model == "T-Rex-2.0"


@pytest.mark.slow
async def test_an_object_of_one_result_is_searched_in_another_picture(detector: Detector) -> None:
    shelf = encoded(dots((40, 40), (700, 500)))
    dotted = await detector.detect_by_example(DOTS, [A_DOT])

    result = await detector.detect_by_example(shelf, [VisualPrompt(result=dotted.result_id, object=1)])

    assert result.counts == {"dot": 2}
    assert sorted(found.bbox for found in result.objects)[1] == pytest.approx((700, 500, 760, 560), abs=2)


@pytest.mark.slow
async def test_examples_are_searched_in_every_tile(detector: Detector, emulator: Emulator) -> None:
    result = await detector.detect_by_example(DOTS, [A_DOT], tiles=2)

    assert len(emulator.asked) > 2
    assert result.counts == {"dot": 3}


async def test_a_description_finds_what_it_describes(detector: Detector, emulator: Emulator) -> None:
    result = await detector.find_by_description(PHOTO, "the man in red, left of the car")

    assert emulator.asked == ["dino_xseek/detection"]
    assert result.counts == {"the man in red, left of the car": 1}


async def test_a_model_is_chosen_by_name(detector: Detector, emulator: Emulator) -> None:
    result = await detector.detect(PHOTO, "dog", model="grounding-dino-1.5-edge")

    assert (result.backend, result.model) == ("dinox", "GroundingDino-1.5-Edge")
    assert emulator.asked == ["grounding_dino/detection"]


async def test_outputs_of_another_model_are_refused_before_anything_is_paid(
    detector: Detector, emulator: Emulator
) -> None:
    with pytest.raises(UnsupportedError, match="masks"):
        await detector.detect(PHOTO, "dog", model="GroundingDino-1.6-Pro", include=["masks"])
    with pytest.raises(UnsupportedError, match="masks"):
        await detector.detect_by_example(DOTS, [A_DOT], include=["masks"])

    assert emulator.stats().requests == 0


async def test_boxes_of_a_caller_are_described_in_one_call(detector: Detector, emulator: Emulator) -> None:
    result = await detector.describe_regions(PHOTO, [(0, 0, 40, 30), (200, 150, 400, 300)], include=["caption"])

    assert emulator.asked == ["dinox/region_vl"]
    assert [found.caption for found in result.objects] == [
        "a thing from 0% 0% to 10% 10%",
        "a thing from 50% 50% to 100% 100%",
    ]


def test_it_does_boxes_and_masks_of_anything() -> None:
    backend = create(Settings())

    assert backend.name == "dinox"
    assert backend.capabilities().answers >= {"text prompts", "prompt-free detection"}
    assert backend.capabilities().outputs >= {"masks"}


@pytest.mark.slow
def test_creating_it_imports_nothing_heavy() -> None:
    program = (
        "import sys; from dinox_mcp.backends.dinox import create; from dinox_mcp.settings import Settings; "
        "create(Settings()).capabilities(); print(sorted({'PIL.Image', 'numpy', 'httpx2', 'cv2'} & set(sys.modules)))"
    )

    run = [sys.executable, "-c", program]
    done = subprocess.run(run, capture_output=True, text=True, check=True)  # noqa: S603 - our own program

    assert done.stdout.strip() == "[]"


# Keys


@pytest.mark.parametrize(("own", "words"), [(None, "none is set.*DINOX_API_KEY"), ("", "none is set")])
async def test_without_a_key_the_error_says_where_to_put_it(connect: Connect, own: str | None, words: str) -> None:
    call = Call(api_key=None if own is None else SecretStr(own))

    with pytest.raises(KeyRejectedError, match=f"{words}.*X-DINOX-API-Key"):
        await connect(api_key=None).detect(plain(), DOG, call)


@pytest.mark.parametrize("key", ["two words", "line\r\nX-Injected: yes", "schlüssel", "\x00"])
async def test_what_cannot_be_a_key_is_refused_without_showing_it(dinox: DinoxBackend, key: str) -> None:
    with pytest.raises(KeyRejectedError) as caught:
        await dinox.detect(plain(), DOG, Call(api_key=SecretStr(key)))

    assert key not in str(caught.value)


async def test_a_callers_own_key_pays_for_the_call(dinox: DinoxBackend, emulator: Emulator) -> None:
    emulator.keys.add("visitor")

    await dinox.detect(plain(), DOG, Call(api_key=SecretStr("visitor")))

    assert (emulator.stats("visitor").paid, emulator.stats().paid) == (1, 0)


@pytest.mark.parametrize("key", ["wrong-key", "odd\"key\\with/all'kinds"])
async def test_a_key_that_the_service_echoes_is_not_passed_on(
    connect: Connect, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    backend = connect(api_key=key)

    with pytest.raises(KeyRejectedError, match=r"Token \[key\] is invalid") as caught:
        await backend.detect(plain(), DOG, Call())

    shown = repr(caught.value) + str(caught.value.__dict__) + repr(backend) + caplog.text
    assert "/v2/task/dinox/detection" in caplog.text
    assert key not in shown
