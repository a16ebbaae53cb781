"""How the embedded backend behaves as a neighbour: silent, offline, one picture at a time, stopped when cancelled."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import anyio
import pytest

from dinox_mcp.backends.base import Backend, Call, silent
from dinox_mcp.backends.embedded import create, text_lines
from dinox_mcp.backends.embedded.text import TextReader
from dinox_mcp.backends.embedded.worker import AbandonedError, Steps, Worker
from dinox_mcp.errors import BackendError, BusyError, DeadlineError, ImageError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest
from tests.backends.embedded_scenes import find, hang, picture, qr_code, read, sign, wall

ROOT = Path(__file__).resolve().parents[2]
REQUEST = DetectionRequest(prompts=("QR code",))


@pytest.fixture(scope="module")
def backend() -> Backend:
    return create(Settings.load())


OFFLINE_SCRIPT = """
import socket, sys
def refuse(*_, **__): raise AssertionError("the network was used")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = refuse

import anyio
from dinox_mcp.backends.base import Call
from dinox_mcp.backends.embedded import create
from dinox_mcp.images.picture import Picture
from dinox_mcp.schema import DetectionRequest
from dinox_mcp.settings import Settings

backend = create(Settings.load())
assert not {"numpy", "cv2", "onnxruntime", "rapidocr"} & set(sys.modules), "creating it imports something heavy"
sample = Picture.from_bytes(open("examples/sample.png", "rb").read())
blank = Picture.from_bytes(open(sys.argv[1], "rb").read())
codes = anyio.run(backend.detect, sample, DetectionRequest(prompts=("QR code",)), Call())
assert len(codes.objects) == 1
assert "onnxruntime" not in sys.modules, "codes need no text models"
for image in (sample, blank):
    anyio.run(backend.detect, image, DetectionRequest(), Call())
assert "rapidocr" not in sys.modules and "requests" not in sys.modules, "what can download is imported"
"""


def test_nothing_is_printed_imported_early_or_fetched(tmp_path: Path) -> None:
    (tmp_path / "blank.png").write_bytes(picture(wall(300, 200)).data)
    done = subprocess.run(  # noqa: S603 - the script stands above
        [sys.executable, "-u", "-c", OFFLINE_SCRIPT, str(tmp_path / "blank.png")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_a_missing_model_is_named_and_never_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "_folder", lambda: tmp_path)
    with pytest.raises(BackendError, match=r"PP-OCRv6_det_small.onnx is missing; reinstall it: pip install"):
        TextReader()
    (tmp_path / text_lines.LINES).write_bytes(b"no model")
    with pytest.raises(BackendError, match=r"PP-OCRv6_det_small.onnx does not load .*; reinstall it"):
        TextReader()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(BackendError, match="the package rapidocr with the text models is missing"):
        TextReader()


def test_a_damaged_picture_is_an_image_error(backend: Backend) -> None:
    whole = picture(wall())
    cut = Picture(whole.data[:5000], whole.width, whole.height, whole.format, "cut.png")
    with pytest.raises(ImageError, match=r"cut.png is damaged"):
        anyio.run(backend.detect, cut, REQUEST, Call())


def test_closed_and_asked_again_it_loads_again() -> None:
    scene = wall(400, 300)
    hang(scene, qr_code("again"), (200, 150))
    backend = create(Settings.load())
    first = find(backend, scene, "QR code")
    anyio.run(backend.aclose)
    assert find(backend, scene, "QR code") == first


@pytest.mark.anyio
async def test_progress_grows_and_names_the_parts(backend: Backend) -> None:
    told: list[tuple[float, str]] = []

    async def hear(fraction: float, message: str) -> None:
        told.append((fraction, message))

    scene = wall()
    hang(scene, sign("something to read"), (500, 350))
    await backend.detect(picture(scene), DetectionRequest(), Call(progress=hear))
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)
    assert any("text" in message for _, message in told)


@pytest.mark.anyio
async def test_calls_at_once_get_their_own_answers(backend: Backend) -> None:
    answers: dict[str, object] = {}

    async def ask(content: str) -> None:
        scene = wall(400, 300)
        hang(scene, qr_code(content), (200, 150))
        answers[content] = read(await backend.detect(picture(scene), REQUEST, Call()))

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(ask, f"parcel {number}")
    assert answers == {f"parcel {number}": [("QR code", f"parcel {number}")] for number in range(6)}


@pytest.mark.anyio
async def test_a_deadline_ends_the_call() -> None:
    backend = create(Settings.load(timeout_s=0.001))
    with pytest.raises(DeadlineError, match=r"longer than 0.001 s; pass a smaller one, .* DINOX_MCP_TIMEOUT_S"):
        await backend.detect(picture(wall()), DetectionRequest(), Call())


class Slow:
    """Work that goes on until it is released, step by step."""

    def __init__(self) -> None:
        self.started, self.release, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, steps: Steps) -> str:
        self.started.set()
        try:
            while not self.release.wait(0.005):
                steps.say(0.5, "working")
        finally:
            self.ended.set()
        return "done"


@pytest.mark.anyio
async def test_a_cancelled_call_returns_at_once_and_its_work_ends_at_the_next_step() -> None:
    worker, slow = Worker(queue=4), Slow()
    with anyio.move_on_after(0.2) as scope:
        await worker.run(slow, silent)
    assert scope.cancelled_caught
    assert slow.ended.wait(1)
    assert await worker.run(lambda _steps: "next", silent) == "next"


@pytest.mark.anyio
async def test_a_waiting_call_leaves_at_once_and_never_works() -> None:
    worker, slow = Worker(queue=4), Slow()
    worked: list[str] = []
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run, slow, silent)
        await anyio.to_thread.run_sync(slow.started.wait)
        started = time.monotonic()
        with anyio.move_on_after(0.05):
            await worker.run(lambda _steps: worked.append("too late"), silent)
        assert time.monotonic() - started < 0.5
        slow.release.set()
    assert await worker.run(lambda _steps: "next", silent) == "next"
    assert worked == []


@pytest.mark.anyio
async def test_threads_of_cancelled_calls_do_not_pile_up() -> None:
    worker, slow = Worker(queue=16), Slow()
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run, slow, silent)
        await anyio.to_thread.run_sync(slow.started.wait)
        before = threading.active_count()
        for _ in range(8):
            with anyio.move_on_after(0.02):
                await worker.run(lambda _steps: None, silent)
            await anyio.sleep(0.3)
        assert threading.active_count() < before + 6  # each leaves and serves the next; otherwise there were 8 more
        slow.release.set()


@pytest.mark.anyio
async def test_a_listener_that_has_gone_does_not_lose_the_answer() -> None:
    async def gone(_fraction: float, _message: str) -> None:
        raise anyio.ClosedResourceError

    assert await Worker(queue=1).run(lambda _steps: time.sleep(0.05) or "answer", gone) == "answer"


@pytest.mark.anyio
async def test_a_full_queue_is_an_error() -> None:
    worker, slow = Worker(queue=1), Slow()
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run, slow, silent)
        await anyio.to_thread.run_sync(slow.started.wait)
        group.start_soon(worker.run, lambda _steps: None, silent)
        await anyio.sleep(0.05)
        with pytest.raises(BusyError, match="1 pictures are waiting already; try again"):
            await worker.run(lambda _steps: None, silent)
        slow.release.set()


def test_steps_end_abandoned_work() -> None:
    steps = Steps()
    steps.say(0.1, "going")
    steps.stop()
    with pytest.raises(AbandonedError):
        steps.say(0.2, "still going")
