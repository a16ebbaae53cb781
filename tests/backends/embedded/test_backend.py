"""The embedded backend: what it finds in pictures that the tests make, and what it says of the rest."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import numpy as np
import pytest
from PIL import Image

from dinox_mcp.backends.base import Backend, Call
from dinox_mcp.backends.embedded import create, vocabulary
from dinox_mcp.detector import Detector
from dinox_mcp.errors import BusyError, DeadlineError, ImageError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import area, intersection, iou
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections
from tests.backends.embedded.scenes import marker, paper, picture, qr, write

SAMPLE = Path(__file__).parents[3] / "examples" / "sample.png"
pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def backend() -> Backend:
    """One backend for all, as loading its models takes a moment."""
    return create(Settings.load())


async def find(backend: Backend, image: Picture, *prompts: str, min_score: float = 0.25) -> Detections:
    """Look for prompts; without any, for all that is read: text, codes and markers."""
    request = DetectionRequest(prompts=prompts or vocabulary.EVERYTHING, min_score=min_score)
    return await backend.detect(image, request, Call())


def contents(found: Detections) -> list[tuple[str, str | None]]:
    return [(thing.label, thing.text) for thing in found.objects]


async def test_everything_in_the_sample_is_found_and_read(backend: Backend) -> None:
    found = await find(backend, Picture.from_bytes(SAMPLE.read_bytes(), "sample.png"))
    assert {content for content in contents(found) if content[0] != "text"} == {
        ("QR code", "https://example.com/parcel/4711"),
        ("barcode", "2000000047119"),
        ("marker", "DICT_6X6_50 id 23"),
        ("marker", "AprilTag 36h11 id 7"),
    }
    assert {"LOADING BAY 3", "EXIT", "FRAGILE", "ORDER 4711", "12 Harbour Street", "A-07"} <= {
        text for _, text in contents(found)
    }


async def test_text_is_read_in_reading_order_with_scores(backend: Backend) -> None:
    sheet = paper()
    write(sheet, "SECOND LINE", (60, 200))
    write(sheet, "FIRST", (60, 60))
    write(sheet, "RIGHT", (500, 62))
    found = await find(backend, picture(sheet), "text")
    assert contents(found) == [("text", "FIRST"), ("text", "RIGHT"), ("text", "SECOND LINE")]
    assert all(thing.score is not None and thing.score > 0.9 for thing in found.objects)


async def test_a_box_lies_on_its_text_in_original_pixels(backend: Backend) -> None:
    sheet = paper(3000, 2000)
    write(sheet, "LOADING BAY", (1200, 900), size=120)
    (thing,) = (await find(backend, picture(sheet), "text")).objects
    assert thing.text == "LOADING BAY"
    ink = Image.eval(sheet.convert("L"), lambda value: 255 - value).getbbox()
    assert ink is not None
    assert intersection(thing.bbox, ink) > 0.95 * area(ink)
    assert area(thing.bbox) < 3 * area(ink)


@pytest.mark.parametrize("turn", [90, 180])
async def test_turned_text_is_read(backend: Backend, turn: int) -> None:
    sheet = paper(700, 300)
    write(sheet, "FRAGILE GLASS", (80, 100), size=60)
    found = await find(backend, picture(sheet.rotate(turn, expand=True)), "text")
    assert [text for _, text in contents(found)] == ["FRAGILE GLASS"]


@pytest.mark.parametrize(
    ("make", "label", "text"),
    [
        (lambda: qr("https://example.com/4711"), "QR code", "https://example.com/4711"),
        (lambda: qr("grüße, 世界"), "QR code", "grüße, 世界"),
        (lambda: qr("turned").rotate(20, expand=True, fillcolor=255), "QR code", "turned"),
        (lambda: marker("DICT_6X6_250", 123), "marker", "DICT_6X6_250 id 123"),
        (lambda: marker("DICT_4X4_50", 7), "marker", "DICT_4X4_50 id 7"),
        (lambda: marker("DICT_APRILTAG_36h11", 42), "marker", "AprilTag 36h11 id 42"),
    ],
)
@pytest.mark.parametrize("place", [(60, 60), (500, 300)])
async def test_a_code_is_found_and_read(
    backend: Backend, make: Callable[[], Image.Image], label: str, text: str, place: tuple[int, int]
) -> None:
    sheet, code = paper(), make()
    sheet.paste(code, place)
    (thing,) = (await find(backend, picture(sheet), label)).objects
    assert (thing.label, thing.text) == (label, text)
    assert iou(thing.bbox, (*place, place[0] + code.width, place[1] + code.height)) > 0.3


async def test_a_small_code_in_a_large_picture_is_read(backend: Backend) -> None:
    sheet = paper(4000, 3000, "lightgrey")
    sheet.paste(qr("small", 150), (3000, 2200))
    assert contents(await find(backend, picture(sheet), "QR code")) == [("QR code", "small")]


async def test_several_things_are_all_found_without_prompts(backend: Backend) -> None:
    sheet = paper()
    sheet.paste(qr("one"), (60, 60))
    sheet.paste(qr("two"), (400, 60))
    sheet.paste(marker("DICT_5X5_100", 9), (650, 60))
    write(sheet, "SHELF 12", (100, 450))
    found = await find(backend, picture(sheet))
    assert sorted(contents(found), key=str) == [
        ("QR code", "one"),
        ("QR code", "two"),
        ("marker", "DICT_5X5_50 id 9"),
        ("text", "SHELF 12"),
    ]
    assert {thing.score is None for thing in found.objects if thing.label == "QR code"} == {True}


async def test_only_what_is_asked_for_is_answered(backend: Backend) -> None:
    sheet = paper()
    sheet.paste(qr("one"), (60, 60))
    write(sheet, "SHELF 12", (100, 450))
    assert contents(await find(backend, picture(sheet), "QR code")) == [("QR code", "one")]


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("Text", "HELLO"),
        ("words", "HELLO"),
        ("all the text", "HELLO"),
        ("QR-codes", "one"),
        ("qr", "one"),
        ("Signs", "HELLO"),
    ],
)
async def test_labels_come_back_as_they_were_asked_for(backend: Backend, prompt: str, text: str) -> None:
    sheet = paper()
    sheet.paste(qr("one"), (60, 60))
    write(sheet, "HELLO", (100, 450))
    assert contents(await find(backend, picture(sheet), prompt)) == [(prompt, text)]


async def test_aruco_and_apriltag_are_told_apart(backend: Backend) -> None:
    sheet = paper()
    sheet.paste(marker("DICT_6X6_250", 1), (60, 60))
    sheet.paste(marker("DICT_APRILTAG_36h11", 2), (400, 60))
    image = picture(sheet)
    assert contents(await find(backend, image, "AprilTag")) == [("AprilTag", "AprilTag 36h11 id 2")]
    assert [text for _, text in contents(await find(backend, image, "ArUco"))] == ["DICT_6X6_50 id 1"]


async def test_a_word_that_is_no_kind_and_not_in_the_picture_is_unknown(backend: Backend) -> None:
    found = await find(backend, picture(paper()), "forklift")
    assert (found.objects, found.unknown, found.unsearched) == ((), ("forklift",), ("forklift",))


async def test_without_a_key_the_error_says_how_to_find_anything_else() -> None:
    async with Detector(Settings.load(backend="embedded")) as detector:
        with pytest.raises(UnsupportedError, match=r"cannot find 'forklift'.*for anything else .*DINOX_API_KEY"):
            await detector.detect(picture(paper()), "forklift")


async def test_of_a_mixture_the_known_is_answered_and_the_rest_is_said(backend: Backend) -> None:
    sheet = paper()
    write(sheet, "HELLO", (100, 100))
    found = await find(backend, picture(sheet), "text", "forklift")
    assert contents(found) == [("text", "HELLO")]
    assert found.unsearched == found.unknown == ("forklift",)


async def test_two_words_for_one_thing_list_it_once(backend: Backend) -> None:
    sheet = paper()
    write(sheet, "HELLO", (100, 100))
    found = await find(backend, picture(sheet), "text", "words")
    assert contents(found) == [("text", "HELLO")]
    assert "listed once" in found.notes[0]


async def test_letters_seen_in_a_code_are_no_text(backend: Backend) -> None:
    sheet = paper(400, 400)
    sheet.paste(qr("https://example.com/a/rather/long/path?with=query", 360), (20, 20))
    assert [label for label, _ in contents(await find(backend, picture(sheet)))] == ["QR code"]


@pytest.mark.parametrize("kind", ["flat", "noise", "gradient", "stripes", "discs"])
async def test_texture_is_nothing(backend: Backend, kind: str) -> None:
    rng = np.random.default_rng(4711)
    y, x = np.mgrid[:600, :900]
    values = {
        "flat": np.full((600, 900), 128),
        "noise": rng.integers(0, 256, (600, 900)),
        "gradient": x * 255 // 900,
        "stripes": (x // 12 % 2) * 255,
        "discs": ((x % 90 - 45) ** 2 + (y % 90 - 45) ** 2 < 900) * 200,
    }[kind]
    found = await find(backend, picture(Image.fromarray(values.astype(np.uint8)).convert("RGB")))
    assert contents(found) == []


async def test_the_score_floor_is_kept(backend: Backend) -> None:
    sheet = paper()
    write(sheet, "HELLO", (100, 100))
    (thing,) = (await find(backend, picture(sheet), "text")).objects
    assert thing.score is not None
    assert (await find(backend, picture(sheet), "text", min_score=1.0)).objects in ((), (thing,))
    kept: list[Detection] = list((await find(backend, picture(sheet), "text", min_score=thing.score)).objects)
    assert kept == [thing]


async def test_a_damaged_picture_is_an_error_and_the_next_is_answered(backend: Backend) -> None:
    good = picture(paper())
    broken = Picture.from_bytes(good.data[:700], "broken.jpg")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        await find(backend, broken)
    assert contents(await find(backend, good)) == []


async def test_progress_grows_and_says_what_is_going_on(backend: Backend) -> None:
    heard: list[tuple[float, str]] = []

    async def hear(fraction: float, message: str) -> None:
        heard.append((fraction, message))

    sheet = paper(2500, 1800)
    write(sheet, "HELLO", (100, 100))
    await backend.detect(picture(sheet), DetectionRequest(), Call(hear))
    fractions = [fraction for fraction, _ in heard]
    assert fractions == sorted(fractions)
    assert len({message for _, message in heard}) >= 3


async def test_a_cancelled_call_frees_its_place_at_once(backend: Backend) -> None:
    image = picture(paper(3000, 2000))
    await find(backend, picture(paper()))
    with anyio.move_on_after(0.05) as scope:
        await find(backend, image)
    assert scope.cancelled_caught
    with anyio.fail_after(10):
        await find(backend, picture(paper()), "QR code")


async def test_too_many_at_once_are_told_to_come_back(backend: Backend) -> None:
    image = picture(paper(2000, 1500))
    turned_away = 0

    async def ask() -> None:
        nonlocal turned_away
        try:
            await find(backend, image, "QR code")
        except BusyError:
            turned_away += 1

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(ask)
    assert turned_away == 3  # one is at work, sixteen wait


async def test_a_picture_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(DeadlineError, match="DINOX_MCP_TIMEOUT_S"):
        await find(create(Settings.load(timeout_s=0.001)), picture(paper(2000, 1500)))


def test_nothing_is_printed_sent_or_loaded_before_it_is_needed() -> None:
    program = """
import socket, sys
def refuse(*arguments, **options):
    raise AssertionError("something wants the network")
from dinox_mcp.backends.embedded import create, vocabulary
from dinox_mcp.settings import Settings
backend = create(Settings.load())
assert backend.capabilities().labels
assert not {"cv2", "numpy", "onnxruntime", "rapidocr", "zxingcpp"} & set(sys.modules), sorted(sys.modules)
import anyio
from dinox_mcp.backends.base import Call
from dinox_mcp.schema import DetectionRequest
from tests.backends.embedded.scenes import paper, picture, write
sheet = paper()
write(sheet, "HELLO", (100, 100))
socket.socket.connect = socket.getaddrinfo = refuse
found = anyio.run(backend.detect, picture(sheet), DetectionRequest(), Call())
assert [thing.text for thing in found.objects] == ["HELLO"], found
"""
    done = subprocess.run([sys.executable, "-u", "-c", program], capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
