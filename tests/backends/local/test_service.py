"""The other process from within, here in a thread, so that both ends of its pipes can be held."""

import asyncio
import os
import threading
from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO

import pytest

from dinox_mcp.backends.base import Call
from dinox_mcp.backends.local import service
from dinox_mcp.backends.local.service import Alive, Cancel, Request, Service, Step
from dinox_mcp.errors import NotFoundError, ServiceError
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest
from tests.fakes import picture


class Pipes:
    """A served backend: `say` something to it, `hear` what it says."""

    def __init__(self) -> None:
        inward, outward = os.pipe(), os.pipe()
        self.requests: BinaryIO = os.fdopen(inward[1], "wb")
        self.answers: BinaryIO = os.fdopen(outward[0], "rb")
        self.left = threading.Event()
        ends = os.fdopen(inward[0], "rb"), os.fdopen(outward[1], "wb")
        self.thread = threading.Thread(target=self._serve, args=ends)
        self.thread.start()
        self.say(service.dump(("tests.backends.local.doubles:Talker", Settings())))
        assert service.load(self.answers) == Alive()

    def say(self, data: bytes) -> None:
        self.requests.write(data)
        self.requests.flush()

    def hear(self) -> Any:  # noqa: ANN401 - any message
        """Read the next message, but for those that only say that the process listens."""
        while isinstance(message := service.load(self.answers), Alive):
            pass
        return message

    def detect(self, number: int, word: str) -> None:
        arguments = picture(), DetectionRequest(prompts=(word,))
        self.say(service.dump(Request(number, "detect", arguments, Call())))

    def close(self) -> None:
        self.requests.close()
        self.thread.join(5)
        assert not self.thread.is_alive()
        self.answers.close()

    def _serve(self, requests: BinaryIO, answers: BinaryIO) -> None:
        with requests, answers:
            service.serve(requests, answers, self.left.set)


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    pipes = Pipes()
    yield pipes
    pipes.close()
    assert pipes.left.is_set()


def test_a_call_is_answered_with_what_is_in_memory(pipes: Pipes) -> None:
    pipes.detect(7, "dog")
    answer = pipes.hear()
    assert answer.number == 7
    assert answer.value.objects[0].label == "dog"
    assert [model.name for model in answer.models if model.loaded] == ["balanced"]
    pipes.detect(8, "dog")
    assert pipes.hear().models is None, "nothing has changed"


def test_progress_carries_the_number_of_its_call(pipes: Pipes) -> None:
    pipes.detect(3, "count")
    assert [pipes.hear() for _ in range(5)] == [Step(3, step / 5, f"step {step}") for step in range(5)]
    assert pipes.hear().number == 3


@pytest.mark.parametrize(("word", "kind"), [("NotFoundError", NotFoundError), ("break", ServiceError)])
def test_an_error_is_an_answer(pipes: Pipes, word: str, kind: type[Exception]) -> None:
    pipes.detect(1, word)
    failure = pipes.hear()
    assert (failure.number, failure.kind) == (1, kind)


def test_a_cancelled_call_is_not_answered(pipes: Pipes) -> None:
    pipes.detect(1, "wait")
    assert pipes.hear() == Step(1, 0.5, f"waiting in {os.getpid()}")
    pipes.say(service.dump(Cancel(1)))
    pipes.say(service.dump(Cancel(99)))
    pipes.detect(2, "dog")
    answer = pipes.hear()
    assert answer.number == 2
    assert "cancelled 1" in answer.value.notes


def test_a_call_that_is_cancelled_before_it_began_leaves_nothing_behind() -> None:
    async def ask_and_cancel() -> int:
        served = Service(BytesIO(), BytesIO(), lambda: None)
        served.take(Request(1, "detect", (), None))
        served.take(Cancel(1))
        await asyncio.sleep(0.01)
        return len(served._tasks)

    assert asyncio.run(ask_and_cancel()) == 0


def test_a_message_that_cannot_be_read_ends_the_service(pipes: Pipes, caplog: pytest.LogCaptureFixture) -> None:
    pipes.say((4).to_bytes(8, "big") + b"oops")
    assert pipes.left.wait(5)
    assert "a message of the server cannot be read" in caplog.text


def test_whoever_leaves_with_calls_running_stops_them(pipes: Pipes) -> None:
    pipes.detect(1, "wait")
    pipes.hear()
    pipes.close()


def test_what_is_printed_goes_to_stderr_and_nothing_is_read_from_the_pipe(capfd: pytest.CaptureFixture[str]) -> None:
    before = os.dup(0), os.dup(1)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdout", None)
            requests, answers = service._take_pipes()
            os.write(1, b"printed\n")
            assert os.read(0, 10) == b""
            requests.close()
            answers.close()
    finally:
        os.dup2(before[0], 0)
        os.dup2(before[1], 1)
        for copy in before:
            os.close(copy)
    assert capfd.readouterr().err == "printed\n"
