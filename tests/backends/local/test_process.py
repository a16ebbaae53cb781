"""The backend with a process of its own: what it forwards, and what it makes of that process's end."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from dinox_mcp import errors
from dinox_mcp.backends.base import Call, Describer, Embedder, Follower, Loadable
from dinox_mcp.backends.local import create, process, service
from dinox_mcp.backends.local.backend import LocalBackend
from dinox_mcp.backends.local.process import ProcessBackend
from dinox_mcp.errors import BackendError, BusyError, DinoxError, ServiceError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import MiB, Settings
from dinox_mcp.types.detection import Detection, DetectionRequest, Example
from tests.backends.local.doubles import MASK_BYTES, TOGETHER
from tests.fakes import picture

pytestmark = pytest.mark.anyio
Start = Callable[..., ProcessBackend]
DOUBLES = "tests.backends.local.doubles"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop for all tests here, so that they can share a process."""
    return "asyncio"


@pytest.fixture(scope="module")
async def talker() -> AsyncIterator[ProcessBackend]:
    """Make a backend for the tests that leave its process as it was: starting one takes a second."""
    backend = ProcessBackend(Settings(), f"{DOUBLES}:Talker")
    yield backend
    await backend.aclose()


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Make backends over a double, and see that no process of theirs outlives the test."""
    made: list[ProcessBackend] = []
    seen: set[int] = set()

    def make(factory: str = "Talker", **options: Any) -> ProcessBackend:  # noqa: ANN401 - any setting
        made.append(ProcessBackend(Settings(**options), f"{DOUBLES}:{factory}"))
        return made[-1]

    yield make
    seen.update(filter(None, map(pid_of, made)))
    for backend in made:
        await backend.aclose()
    assert not [pid for pid in seen if is_alive(pid)]


def pid_of(backend: ProcessBackend) -> int | None:
    transport = backend._process._transport if backend._process else None
    return transport.get_pid() if transport else None


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - processes set no events
            await anyio.sleep(0.01)


def asking(*prompts: str, **options: Any) -> DetectionRequest:  # noqa: ANN401
    return DetectionRequest(prompts=prompts, **options)


class Listener:
    """Remembers the progress that it hears of."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, str]] = []

    async def __call__(self, fraction: float, message: str) -> None:
        self.heard.append((fraction, message))

    def has(self, word: str) -> bool:
        return any(word in message for _, message in self.heard)


async def test_a_request_travels_complete_and_its_answer_comes_back(talker: ProcessBackend) -> None:
    other = picture(30, 20)
    call = Call(client="ann", pictures={other.digest: other})
    found = await talker.detect(picture(100, 50), asking("red car", "dog"), call)
    assert [one.label for one in found.objects] == ["red car", "dog"]
    assert found.objects[0].bbox == (0, 0, 100, 50)
    digest = picture(100, 50).digest
    assert {"client ann", f"picture {digest} white.png", f"other {other.digest} 30"} <= {*found.notes}


async def test_it_describes_follows_embeds_and_loads_there(talker: ProcessBackend) -> None:
    box = Detection(label="dog", bbox=(1, 2, 3, 4))
    described = await talker.describe(picture(100, 50), [box], frozenset({"caption"}), Call(client="ann"))
    assert described.model == "talker at 100"
    assert described.objects[0].caption == "['caption'] for ann"
    followed = await talker.follow([picture(100, 50)] * 2, [box.bbox], Call(client="cyd"))
    assert [[mask and (mask.size, mask.counts) for mask in frame] for frame in followed.masks] == [
        [((50, 100), "cyd")]
    ] * 2
    examples = DetectionRequest(examples=(Example(bbox=(1, 2, 3, 4)),))
    embedding = await talker.embed(picture(), examples, Call(client="ben"))
    assert (embedding.model, embedding.data) == ("ben", f"{picture().digest} 1")
    assert await talker.load() == "balanced"
    assert isinstance(talker, Loadable)
    assert isinstance(talker, Describer)
    assert isinstance(talker, Embedder)
    assert isinstance(talker, Follower)


async def test_what_models_can_do_is_known_without_a_process(start: Start) -> None:
    backend, local = start(), LocalBackend(Settings())
    assert backend.capabilities() == local.capabilities()
    assert backend.capabilities("sam3") == local.capabilities("sam3")
    assert backend.models() == local.models()
    assert pid_of(backend) is None


async def test_what_is_learnt_of_models_is_kept_when_the_process_has_ended(start: Start) -> None:
    backend = start(idle_unload_s=0.1)
    assert "masks" not in backend.capabilities().outputs
    pid = 0
    for name in ("fast", None):
        await backend.detect(picture(), asking("dog", model=name), Call())
        pid = pid_of(backend) or 0
        await until(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]
    assert backend.capabilities().outputs == backend.capabilities("balanced").outputs == {"masks"}
    assert [model.name for model in backend.models()] == ["balanced", "fast"]
    assert backend.capabilities("sam3") == LocalBackend(Settings()).capabilities("sam3")


async def test_models_say_which_are_in_memory(start: Start) -> None:
    backend = start()
    assert not any(model.loaded for model in backend.models())
    await backend.detect(picture(), asking("dog", model="fast"), Call())
    assert [model.name for model in backend.models() if model.loaded] == ["fast"]
    await backend.aclose()
    assert not any(model.loaded for model in backend.models())


async def test_progress_comes_in_order_and_before_the_answer(talker: ProcessBackend) -> None:
    listener = Listener()
    await talker.detect(picture(), asking("count"), Call(listener))
    steps = [entry for entry in listener.heard if entry[1].startswith("step")]
    assert steps == [(step / 5, f"step {step}") for step in range(5)]


async def test_the_caller_hears_that_the_process_starts(start: Start) -> None:
    listener = Listener()
    await start("slow").detect(picture(), asking("dog"), Call(listener))
    assert listener.heard[:2] == [(0.0, "starting the local backend")] * 2


def kinds(root: type[DinoxError]) -> list[type[DinoxError]]:
    return [root, *(kind for one in root.__subclasses__() for kind in kinds(one))]


async def test_errors_of_every_class_come_back_as_they_are(talker: ProcessBackend) -> None:
    names = [kind.__name__ for kind in kinds(DinoxError) if kind.__module__ == errors.__name__]
    assert len(names) > 10
    for name in names:
        with pytest.raises(getattr(errors, name)) as caught:
            await talker.detect(picture(), asking(name), Call())
        assert type(caught.value) is getattr(errors, name)
        assert str(caught.value) == f"a {name}; do something"


async def test_what_nobody_foresaw_is_one_line_too(talker: ProcessBackend) -> None:
    with pytest.raises(ServiceError, match=r"^the local backend failed \(RuntimeError: two lines\); try again"):
        await talker.detect(picture(), asking("break"), Call())


async def test_secrets_stay_here(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DINOX_API_KEY", "secret")
    found = await start(api_key="secret").detect(picture(), asking("dog"), Call(api_key=SecretStr("secret")))
    assert found.notes[-1] == "secrets None None"


async def test_many_requests_are_answered_at_a_time(talker: ProcessBackend) -> None:
    notes = []

    async def ask(number: int) -> None:
        call = Call(client=str(number))
        notes.append((await talker.detect(picture(10 + number), asking("together"), call)).notes)

    with anyio.fail_after(40):
        async with anyio.create_task_group() as group:
            for number in range(TOGETHER):
                group.start_soon(ask, number)
    assert {note[0] for note in notes} == {f"client {number}" for number in range(TOGETHER)}
    assert len({note[1] for note in notes}) == 1, "one process, started once"


async def test_a_cancelled_request_is_cancelled_there(talker: ProcessBackend) -> None:
    listener = Listener()
    async with anyio.create_task_group() as group:
        group.start_soon(talker.detect, picture(), asking("wait"), Call(listener))
        await until(lambda: listener.has("waiting"))
        group.cancel_scope.cancel()
    found = await talker.detect(picture(), asking("dog"), Call())
    assert "cancelled 1" in found.notes


async def test_a_crash_fails_those_who_wait_and_the_next_request_starts_another(start: Start) -> None:
    backend, failed = start(), []
    message = r"ended before it answered \(exit status 3\); try again, which starts another"

    listener = Listener()

    async def ask(word: str) -> None:
        with pytest.raises(BackendError, match=message):
            await backend.detect(picture(), asking(word), Call(listener))
        failed.append(word)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "wait")
        await until(lambda: listener.has("waiting"))
        group.start_soon(ask, "crash")
    assert sorted(failed) == ["crash", "wait"]
    assert (await backend.detect(picture(), asking("dog"), Call())).objects


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
async def test_being_killed_is_reported_as_what_it_mostly_is(start: Start) -> None:
    backend, listener = start(), Listener()

    async def kill() -> None:
        await until(lambda: listener.has("waiting"))
        os.kill(pid_of(backend) or 0, signal.SIGKILL)

    async with anyio.create_task_group() as group:
        group.start_soon(kill)
        with pytest.raises(BackendError, match=r"SIGKILL, as a system does when memory runs out.*DINOX_MCP_MODEL=fast"):
            await backend.detect(picture(), asking("wait"), Call(listener))
    assert (await backend.detect(picture(), asking("dog"), Call())).objects


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
async def test_being_killed_while_it_starts_is_reported_so_too(start: Start) -> None:
    with pytest.raises(BackendError, match=r"SIGKILL, as a system does when memory runs out.*DINOX_MCP_MODEL=fast"):
        await start("killed").detect(picture(), asking("dog"), Call())


async def test_an_idle_process_ends_and_starts_again(start: Start) -> None:
    backend = start(idle_unload_s=0.2)
    first = await backend.detect(picture(), asking("dog"), Call())
    pid = pid_of(backend)
    await until(lambda: not is_alive(pid or 0))
    again = await backend.detect(picture(), asking("dog"), Call())
    assert first.notes[1] != again.notes[1]


async def test_it_does_not_end_while_a_request_takes_long(start: Start) -> None:
    backend, listener = start(idle_unload_s=0.1), Listener()
    async with anyio.create_task_group() as group:
        group.start_soon(backend.detect, picture(), asking("wait"), Call(listener))
        await until(lambda: listener.has("waiting"))
        await anyio.sleep(0.5)
        assert is_alive(pid_of(backend) or 0)
        group.cancel_scope.cancel()


async def test_closing_ends_it_and_fails_who_waits(start: Start) -> None:
    backend, listener = start(), Listener()

    async def ask() -> None:
        with pytest.raises(BackendError, match="the local backend was closed"):
            await backend.detect(picture(), asking("wait"), Call(listener))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await until(lambda: listener.has("waiting"))
        with anyio.fail_after(5):
            await backend.aclose()
    assert not is_alive(pid_of(backend) or 0)
    with pytest.raises(BackendError, match="was closed"):
        await backend.load()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")
async def test_closing_kills_one_that_does_not_listen(start: Start) -> None:
    backend = start()
    await backend.load()
    os.kill(pid_of(backend) or 0, signal.SIGSTOP)
    with anyio.fail_after(5):
        await backend.aclose()
    assert not is_alive(pid_of(backend) or 0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a process for stuck after half a second."""
    monkeypatch.setattr(process, "SILENCE_S", 0.5)
    monkeypatch.setattr(process, "LEAST_SILENCE_S", 0.5)


@pytest.mark.usefixtures("impatient")
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")
async def test_one_that_is_stuck_is_ended_and_the_next_request_starts_another(start: Start) -> None:
    backend = start()
    await backend.load()
    stuck = pid_of(backend) or 0
    os.kill(stuck, signal.SIGSTOP)
    with anyio.fail_after(10):
        with pytest.raises(BackendError, match=r"was silent for \d+ s and was ended; try again"):
            await backend.detect(picture(), asking("dog"), Call())
        assert (await backend.detect(picture(), asking("dog"), Call())).objects
    assert pid_of(backend) != stuck
    assert not is_alive(stuck)


async def test_one_that_works_for_long_is_not_taken_for_stuck(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SILENCE_S", 1.5)
    monkeypatch.setattr(process, "LEAST_SILENCE_S", 1.5)
    backend = start()
    await backend.load()
    with anyio.move_on_after(4) as scope:
        await backend.detect(picture(), asking("wait"), Call())
    assert scope.cancelled_caught, "it was still waiting"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")
async def test_beyond_the_queue_requests_are_refused_and_not_kept(start: Start) -> None:
    backend = start(queue_max=4)
    await backend.load()
    os.kill(pid_of(backend) or 0, signal.SIGSTOP)
    image = Picture(os.urandom(10_000_000), 100, 100, "PNG")
    refused: list[str] = []

    async def ask() -> None:
        try:
            await backend.detect(image, asking("dog"), Call())
        except BusyError as error:
            refused.append(str(error))

    async with anyio.create_task_group() as group:
        for _ in range(60):
            group.start_soon(ask)
        await until(lambda: len(refused) == 55)
        group.cancel_scope.cancel()
    assert "5 requests wait for the local model already; try again later" in refused[0]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")
async def test_requests_that_were_given_up_count_while_nobody_has_taken_them(start: Start) -> None:
    backend = start(queue_max=1)
    await backend.load()
    os.kill(pid_of(backend) or 0, signal.SIGSTOP)
    for _ in range(2):
        with anyio.move_on_after(0.05):
            await backend.detect(picture(), asking("dog"), Call())
    with pytest.raises(BusyError):
        await backend.detect(picture(), asking("dog"), Call())
    os.kill(pid_of(backend) or 0, signal.SIGCONT)
    with anyio.fail_after(10):
        while True:
            with contextlib.suppress(BusyError):
                await backend.detect(picture(), asking("dog"), Call())
                break
            await anyio.sleep(0.05)


async def test_a_process_that_does_not_start_is_explained(start: Start) -> None:
    with pytest.raises(BackendError, match=r"does not start \(exit status 1.*DINOX_MCP_MODEL_PROCESS=same"):
        await start("broken").detect(picture(), asking("dog"), Call())


async def test_a_python_that_is_not_there_is_explained(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(BackendError, match=r"does not start.*no/such/python"):
        await start().detect(picture(), asking("dog"), Call())


async def test_huge_answers_arrive_complete(talker: ProcessBackend) -> None:
    found = await talker.detect(picture(), asking("many", *map(str, range(9))), Call())
    assert [len(one.mask.counts) for one in found.objects if one.mask] == [MASK_BYTES] * 10


async def test_an_image_is_sent_once_until_others_replace_it(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    dump = service.dump

    def spy(message: object, sent: service.SentImages) -> bytes:
        data = dump(message, sent)
        if isinstance(message, service.Request):
            sizes.append(len(data))
        return data

    backend, call = start(), Call()
    await backend.load()
    monkeypatch.setattr(service, "dump", spy)
    large = [Picture(os.urandom(30 * MiB), side, side, "PNG") for side in (100, 200, 300)]
    for image in (large[0], large[0], large[1], large[2], large[0]):
        assert (await backend.detect(image, asking("dog"), call)).objects[0].bbox[2:] == (image.width, image.height)
    assert [size > MiB for size in sizes] == [True, False, True, True, True]


def test_one_backend_serves_event_loops_one_after_the_other() -> None:
    backend = ProcessBackend(Settings(), f"{DOUBLES}:Talker")
    pids = []

    async def ask() -> None:
        await backend.detect(picture(), asking("dog"), Call())
        pids.append(pid_of(backend) or 0)

    asyncio.run(ask())
    assert not any(model.loaded for model in backend.models())
    asyncio.run(ask())
    asyncio.run(backend.aclose())
    assert len(set(pids)) == 2
    assert not any(map(is_alive, pids)), "a process ends with its event loop"


PROGRAM = f"""
import asyncio, sys
from dinox_mcp.backends.base import Call
from dinox_mcp.backends.local.process import ProcessBackend
from dinox_mcp.types.detection import DetectionRequest
from dinox_mcp.settings import MiB, Settings
from tests.fakes import picture

async def tell(_fraction, message):
    if "waiting in" in message:
        print(message.split()[-1], flush=True)

async def main():
    backend = ProcessBackend(Settings(), "{DOUBLES}:Talker")
    await backend.detect(picture(), DetectionRequest(prompts=("print",)), Call())
    await backend.detect(picture(), DetectionRequest(prompts=("wait",)), Call(tell))

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
async def test_it_ends_with_its_parent_and_leaves_the_parents_streams_alone() -> None:
    root = str(Path(__file__).parents[3])
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        env=os.environ | {"PYTHONPATH": root},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert parent.stdout
    assert parent.stderr
    pid = int(await parent.stdout.readline())  # had the child printed on stdout, this would be it
    assert is_alive(pid)
    parent.kill()
    await until(lambda: not is_alive(pid))
    complaints = await parent.stderr.read()
    assert b"on stdout" in complaints
    assert b"as C does" in complaints
    assert b"Traceback" not in complaints
    await parent.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C goes to process groups there too, by other means")
async def test_ctrl_c_in_a_terminal_does_not_reach_it(start: Start) -> None:
    backend = start()
    await backend.load()
    assert os.getpgid(pid_of(backend) or 0) != os.getpgid(0)
    os.kill(pid_of(backend) or 0, signal.SIGINT)
    assert (await backend.detect(picture(), asking("dog"), Call())).objects


@pytest.mark.parametrize("where", ["own", "same"])
async def test_the_setting_says_where_models_live(where: Any) -> None:  # noqa: ANN401
    backend = create(Settings(model_process=where))
    assert isinstance(backend, ProcessBackend if where == "own" else LocalBackend)
