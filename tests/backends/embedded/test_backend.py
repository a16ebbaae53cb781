"""The backend: how it answers calls, and that it is silent, offline and stopped when cancelled."""

import subprocess
import sys
import threading
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from dinox_mcp.backends.base import Backend, Call
from dinox_mcp.backends.embedded import backend as embedded
from dinox_mcp.backends.embedded import create
from dinox_mcp.detector import Detector
from dinox_mcp.errors import BusyError, DeadlineError, ImageError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest, Detections
from tests.backends.embedded.scenes import marker, paper, picture, qr, write
from tests.backends.embedded.walls import hang, qr_code, read, sign, wall
from tests.backends.embedded.walls import picture as encoded

ROOT = Path(__file__).resolve().parents[3]
QR = DetectionRequest(prompts=("QR code",))
pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def find(backend: Backend, image: Picture, *prompts: str) -> Detections:
    return await backend.detect(image, DetectionRequest(prompts=prompts, min_score=0.25), Call())


# What it answers


async def test_only_what_is_requested_is_answered(backend: Backend) -> None:
    sheet = paper()
    sheet.paste(qr("one"), (10, 10))
    write(sheet, "SHELF 12", (120, 120))
    assert read(await find(backend, picture(sheet), "QR code")) == [("QR code", "one")]


@pytest.mark.parametrize(("prompt", "text"), [("all the text", "HELLO"), ("QR-codes", "one"), ("Signs", "HELLO")])
async def test_labels_come_back_as_they_were_written(backend: Backend, prompt: str, text: str) -> None:
    sheet = paper()
    sheet.paste(qr("one"), (10, 10))
    write(sheet, "HELLO", (120, 120))
    assert read(await find(backend, picture(sheet), prompt)) == [(prompt, text)]


async def test_aruco_and_apriltag_are_distinguished(backend: Backend) -> None:
    sheet = paper()
    sheet.paste(marker("DICT_6X6_250", 1), (20, 40))
    sheet.paste(marker("DICT_APRILTAG_36h11", 2), (150, 40))
    image = picture(sheet)
    assert read(await find(backend, image, "AprilTag")) == [("AprilTag", "AprilTag 36h11 id 2")]
    assert [text for _, text in read(await find(backend, image, "ArUco"))] == ["DICT_6X6_50 id 1"]


async def test_a_word_that_is_not_a_kind_and_not_in_the_picture_is_unknown(backend: Backend) -> None:
    found = await find(backend, picture(paper()), "forklift")
    assert (found.objects, found.unknown, found.unsearched) == ((), ("forklift",), ("forklift",))


async def test_without_a_key_the_error_says_how_to_find_anything_else(backend: Backend) -> None:
    detector = Detector(Settings.load(backend="embedded"), backends=[backend])
    with pytest.raises(UnsupportedError, match=r"cannot find 'forklift'.*for anything else .*DINOX_API_KEY"):
        await detector.detect(picture(paper()), "forklift")


async def test_of_a_mixture_the_known_is_answered_and_the_rest_is_said(backend: Backend) -> None:
    sheet = paper()
    write(sheet, "HELLO", (50, 50))
    found = await find(backend, picture(sheet), "text", "forklift")
    assert read(found) == [("text", "HELLO")]
    assert found.unsearched == found.unknown == ("forklift",)


async def test_two_words_for_one_thing_list_it_once(backend: Backend) -> None:
    sheet = paper()
    write(sheet, "HELLO", (50, 50))
    found = await find(backend, picture(sheet), "text", "words")
    assert read(found) == [("text", "HELLO")]
    assert "listed once" in found.notes[0]


# How it runs


OFFLINE_SCRIPT = """
import socket, sys
def refuse(*_, **__): raise AssertionError("the network was used")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = refuse

import anyio
from dinox_mcp.backends.base import Call
from dinox_mcp.backends.embedded import create
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.detection import DetectionRequest
from dinox_mcp.settings import Settings

backend = create(Settings.load())
assert not {"numpy", "cv2", "onnxruntime", "rapidocr"} & set(sys.modules), "creating it imports something heavy"
sample = Picture.from_bytes(open("examples/sample.png", "rb").read())
scene = Picture.from_bytes(open(sys.argv[1], "rb").read())
codes = anyio.run(backend.detect, sample, DetectionRequest(prompts=("QR code",)), Call())
assert len(codes.objects) == 1
assert "onnxruntime" not in sys.modules, "codes need no text models"
found = anyio.run(backend.detect, scene, DetectionRequest(), Call())
assert "EXIT" in [one.text for one in found.objects]
assert "rapidocr" not in sys.modules and "requests" not in sys.modules, "what can download is imported"
"""


def test_nothing_is_printed_imported_early_or_fetched(tmp_path: Path) -> None:
    scene = wall(300, 200)
    hang(scene, sign("EXIT"), (150, 100))
    (tmp_path / "exit.png").write_bytes(encoded(scene).data)
    done = subprocess.run(  # noqa: S603 - the script stands above
        [sys.executable, "-u", "-c", OFFLINE_SCRIPT, str(tmp_path / "exit.png")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


async def test_a_damaged_picture_is_an_error_and_the_next_is_answered(backend: Backend) -> None:
    good = picture(paper(900, 600))
    broken = Picture.from_bytes(good.data[:700], "broken.jpg")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        await find(backend, broken, "QR code")
    assert read(await find(backend, good, "QR code")) == []


async def test_closed_and_asked_again_it_loads_again() -> None:
    scene = wall(400, 300)
    hang(scene, qr_code("again"), (200, 150))
    backend = create(Settings.load())
    first = await backend.detect(encoded(scene), QR, Call())
    await backend.aclose()
    assert await backend.detect(encoded(scene), QR, Call()) == first


async def test_progress_grows_and_says_what_is_going_on(backend: Backend) -> None:
    heard: list[tuple[float, str]] = []

    async def hear(fraction: float, message: str) -> None:
        heard.append((fraction, message))

    sheet = paper()
    write(sheet, "HELLO", (50, 50))
    await backend.detect(picture(sheet), DetectionRequest(), Call(hear))
    fractions = [fraction for fraction, _ in heard]
    assert fractions == sorted(fractions)
    assert len({message for _, message in heard}) >= 3


async def test_calls_at_once_get_their_own_answers(backend: Backend) -> None:
    answers: dict[str, object] = {}

    async def ask(content: str) -> None:
        scene = wall(400, 300)
        hang(scene, qr_code(content), (200, 150))
        answers[content] = read(await backend.detect(encoded(scene), QR, Call()))

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(ask, f"parcel {number}")
    assert answers == {f"parcel {number}": [("QR code", f"parcel {number}")] for number in range(4)}


async def test_a_cancelled_call_frees_its_slot_at_once(backend: Backend) -> None:
    image = picture(paper(3000, 2000))
    with anyio.move_on_after(0.05) as scope:
        await find(backend, image, "barcode")
    assert scope.cancelled_caught
    with anyio.fail_after(60):
        await find(backend, picture(paper()), "QR code")


async def test_too_many_at_once_are_refused(backend: Backend) -> None:
    image = picture(paper(900, 700))
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
        await find(create(Settings.load(timeout_s=0.001)), picture(paper(2000, 1500)), "barcode")


async def test_the_models_leave_memory_when_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed = threading.Event()
    monkeypatch.setattr(embedded.memory, "trim", trimmed.set)
    async with Detector(Settings.load(backend="embedded", idle_unload_s=0.05)) as detector:
        backend = detector.backends.get("embedded")
        await detector.detect(picture(paper()), "person")
        assert await anyio.to_thread.run_sync(trimmed.wait, 30)
        assert not backend.models()[0].loaded
        assert (await detector.detect(picture(paper()), "woman")).counts == {"woman": 0}
