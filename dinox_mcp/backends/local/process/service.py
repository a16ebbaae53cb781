"""The models' process from within: takes calls from a pipe, has the backend answer them, many at a time."""

import asyncio
import contextlib
import importlib
import logging
from collections.abc import Callable
from threading import Thread
from typing import Any, BinaryIO

from dinox_mcp.backends.base import Model, Progress
from dinox_mcp.backends.local.process import wire
from dinox_mcp.errors import DinoxError, ServiceError

logger = logging.getLogger(__name__)

BEAT_S = 1.0


def serve(requests: BinaryIO, answers: BinaryIO, left: Callable[[], object] = lambda: None) -> None:
    """Answer until the other side closes `requests`; `left` hears of that at once, in another thread."""
    start: wire.Start = wire.load(requests)
    logging.basicConfig(level=start.settings.log_level.upper())
    asyncio.run(_Service(requests, answers, left).run(start))


class _Service:
    def __init__(self, requests: BinaryIO, answers: BinaryIO, left: Callable[[], object]) -> None:
        self._requests = requests
        self._answers = answers
        self._left = left
        self._backend: Any = None
        self._models: tuple[Model, ...] = ()
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def run(self, start: wire.Start) -> None:
        module, _, name = start.factory.partition(":")
        self._backend = getattr(importlib.import_module(module), name)(start.settings)
        self._send(wire.Ready())
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        Thread(target=self._read, args=(loop, end), name="dinox-mcp questions", daemon=True).start()
        alive = asyncio.create_task(self._say_alive())
        await end.wait()
        alive.cancel()
        for task in self._tasks.values():
            task.cancel()
        await self._backend.aclose()

    async def _say_alive(self) -> None:
        """Say so while there are calls: the server ends a process that it has not heard of for long."""
        while True:
            await asyncio.sleep(BEAT_S)
            if self._tasks:
                self._send(wire.Alive())

    def _read(self, loop: asyncio.AbstractEventLoop, end: asyncio.Event) -> None:
        """Take requests as they come. Runs in a thread, which alone knows the pictures."""
        kept: dict[str, bytes] = {}
        try:
            while True:
                request = wire.load_request(self._requests, kept, self._reporter)
                if isinstance(request, wire.Keep):
                    kept[request.digest] = request.data
                elif isinstance(request, wire.Drop):
                    kept.pop(request.digest, None)
                else:
                    loop.call_soon_threadsafe(self._take, request)
        except EOFError:
            pass
        except Exception:
            logger.exception("the server cannot be understood; was the package replaced while it ran?")
        finally:
            self._left()
            loop.call_soon_threadsafe(end.set)

    def _take(self, request: wire.Ask | wire.Cancel) -> None:
        if isinstance(request, wire.Ask):
            begun = self._tasks[request.number] = asyncio.create_task(self._answer(request))
            begun.add_done_callback(lambda _: self._tasks.pop(request.number))  # one that never begins is done, too
            self._send(wire.Taken(request.number))
        elif task := self._tasks.get(request.number):
            task.cancel()

    async def _answer(self, ask: wire.Ask) -> None:
        try:
            value = await getattr(self._backend, ask.method)(*ask.arguments, **ask.options)
            self._send(wire.Answer(ask.number, value, self._news_of_models()))
        except DinoxError as error:
            self._send(wire.Failure(ask.number, type(error), str(error)))
        except Exception as error:
            logger.exception("%s failed", ask.method)
            line = f"the local backend failed ({type(error).__name__}: {error}); ask again, and please report it"
            self._send(wire.Failure(ask.number, ServiceError, " ".join(line.split())))

    def _news_of_models(self) -> tuple[Model, ...] | None:
        """List the models, if loading one has changed what is known of them."""
        models = tuple(self._backend.models())
        if models == self._models:
            return None
        self._models = models
        return models

    def _reporter(self, number: int) -> Progress:
        async def report(fraction: float, message: str) -> None:
            self._send(wire.Report(number, fraction, message))

        return report

    def _send(self, message: object) -> None:
        data = wire.dump(message)
        with contextlib.suppress(OSError):  # the server has ended, which `_read` notices too
            self._answers.write(data)
            self._answers.flush()
