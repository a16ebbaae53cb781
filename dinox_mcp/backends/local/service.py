"""The process in which models run: it reads requests from stdin and answers them on stdout, many at a time.

A message is the length of a pickle in 8 bytes, then the pickle. Both ends are this package, and only they have the
pipes.
"""

import asyncio
import contextlib
import importlib
import io
import logging
import os
import pickle
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Thread
from typing import Any, BinaryIO

from cachetools import LRUCache

from dinox_mcp.backends.base import Call, Model
from dinox_mcp.errors import DinoxError, ServiceError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import MiB, Settings

logger = logging.getLogger(__name__)

ALIVE_S = 1.0
"""While it has requests, the process sends a message at least this often."""
LENGTH_BYTES = 8
KEPT_BYTES = 64 * MiB
"""Images that the process keeps for later requests: sending one took 7 ms for each megabyte on a busy machine."""


@dataclass(frozen=True, slots=True)
class Request:
    """A call of a method of the backend, which gets `call` as its last argument if there is one."""

    number: int
    method: str
    arguments: tuple[Any, ...]
    call: Call | None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for the answer to a request any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Alive:
    """The backend was created, has taken the request of this number from the pipe, or still works on some."""

    taken: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """The progress of a request."""

    number: int
    fraction: float
    message: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request returned, and the list of models where it has changed."""

    number: int
    value: Any
    models: tuple[Model, ...] | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The error that a request ended with."""

    number: int
    kind: type[DinoxError]
    message: str


Reply = Step | Answer | Failure
"""A message about one request."""


class SentImages(LRUCache[str, tuple[int, bytes]]):
    """The images that were sent last, by their digests: the size and the bytes, which the sender does not keep.

    Both ends keep and drop the same without a message.
    """

    def __init__(self) -> None:
        super().__init__(KEPT_BYTES, getsizeof=lambda image: image[0])

    def keep(self, image: Picture, data: bytes) -> None:
        """Keep an image instead of the ones that were used longest ago, if it is not larger than all of them may be."""
        with contextlib.suppress(ValueError):
            self[image.digest] = len(image.data), data


def dump(message: object, sent: SentImages | None = None) -> bytes:
    """Write a message as bytes, without the images that were sent already."""
    buffer = io.BytesIO()
    _Pickler(buffer, SentImages() if sent is None else sent).dump(message)
    return buffer.tell().to_bytes(LENGTH_BYTES, "big") + buffer.getvalue()


def load(stream: BinaryIO, sent: SentImages | None = None) -> Any:  # noqa: ANN401 - any of the messages above
    """Read what `dump` wrote.

    Raises:
        EOFError: the other process has ended.
    """
    length = int.from_bytes(stream.read(LENGTH_BYTES), "big")
    return _Unpickler(io.BytesIO(stream.read(length)), SentImages() if sent is None else sent).load()


class _Pickler(pickle.Pickler):
    def __init__(self, file: BinaryIO, sent: SentImages) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._sent = sent

    def persistent_id(self, obj: object) -> object:
        if not isinstance(obj, Picture):
            return None
        known = obj.digest in self._sent
        self._sent.keep(obj, b"")
        return obj.sharing(b"") if known else obj


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, sent: SentImages) -> None:
        super().__init__(file)
        self._sent = sent

    def persistent_load(self, pid: Any) -> Picture:  # noqa: ANN401 - as in the base class
        image: Picture = pid if pid.data else pid.sharing(self._sent[pid.digest][1])
        self._sent.keep(image, image.data)
        return image


def main() -> None:
    """Answer until the parent closes the pipe or ends; then end at once, even in the middle of a request."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    requests, answers = _take_pipes()
    serve(requests, answers, closed=lambda: os._exit(0))


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep stdin and stdout for the messages, and send to stderr what libraries print."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return requests, answers


def serve(requests: BinaryIO, answers: BinaryIO, closed: Callable[[], object] = lambda: None) -> None:
    """Answer requests until the other end closes the pipe; `closed` is then called at once, in another thread."""
    factory, settings = load(requests)
    logging.basicConfig(level=settings.log_level.upper())
    asyncio.run(Service(requests, answers, closed).run(factory, settings))


class Service:
    """Runs the backend, and one task for each request."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO, closed: Callable[[], object]) -> None:
        self._requests = requests
        self._answers = answers
        self._closed = closed
        self._backend: Any = None
        self._models: tuple[Model, ...] = ()
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def run(self, factory: str, settings: Settings) -> None:
        """Create the backend by a factory ("module:callable"), then answer until the pipe is closed."""
        module, _, name = factory.partition(":")
        self._backend = getattr(importlib.import_module(module), name)(settings)
        self._send(Alive())
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        Thread(target=self._read, args=(loop, end), name="dinox-mcp requests", daemon=True).start()
        alive = asyncio.create_task(self._send_alive())
        await end.wait()
        alive.cancel()
        for task in self._tasks.values():
            task.cancel()
        await self._backend.aclose()

    async def _send_alive(self) -> None:
        while True:
            await asyncio.sleep(ALIVE_S)
            if self._tasks:
                self._send(Alive())

    def _read(self, loop: asyncio.AbstractEventLoop, end: asyncio.Event) -> None:
        """Read messages, in a thread of its own."""
        sent = SentImages()
        try:
            while True:
                loop.call_soon_threadsafe(self.take, load(self._requests, sent))
        except EOFError:
            pass
        except Exception:
            logger.exception("a message of the server cannot be read; was the package replaced while it ran?")
        finally:
            self._closed()
            loop.call_soon_threadsafe(end.set)

    def take(self, message: Request | Cancel) -> None:
        """Begin a request, or cancel one."""
        if isinstance(message, Request):
            task = self._tasks[message.number] = asyncio.create_task(self._answer(message))
            task.add_done_callback(lambda _: self._tasks.pop(message.number))  # also if it is cancelled before it began
            self._send(Alive(message.number))
        elif running := self._tasks.get(message.number):
            running.cancel()

    async def _answer(self, request: Request) -> None:
        async def progress(fraction: float, message: str) -> None:
            self._send(Step(request.number, fraction, message))

        context = [replace(request.call, progress=progress)] if request.call else []
        try:
            value = await getattr(self._backend, request.method)(*request.arguments, *context)
            self._send(Answer(request.number, value, self._changed_models()))
        except DinoxError as error:
            self._send(Failure(request.number, type(error), str(error)))
        except Exception as error:
            logger.exception("%s failed", request.method)
            line = f"the local backend failed ({type(error).__name__}: {error}); try again, and please report it"
            self._send(Failure(request.number, ServiceError, " ".join(line.split())))

    def _changed_models(self) -> tuple[Model, ...] | None:
        models = tuple(self._backend.models())
        if models == self._models:
            return None
        self._models = models
        return models

    def _send(self, message: object) -> None:
        with contextlib.suppress(OSError):  # the server has ended, which `_read` notices too
            self._answers.write(dump(message))
            self._answers.flush()
