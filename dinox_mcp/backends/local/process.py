"""The local backend with its models in a process of their own, so that all their memory goes back when it ends.

It is not built on `multiprocessing` or `concurrent.futures`: a spawned process imports the caller's main script anew
(one without `if __name__ == "__main__"` fails), prints on the server's stdout while it starts, inherits its API key,
and a future that runs cannot be cancelled.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from time import monotonic
from typing import Any, cast

import anyio

from dinox_mcp.backends.base import Call, Capabilities, Fit, Followed, Model, Progress, silent
from dinox_mcp.backends.local import kinds, service
from dinox_mcp.backends.local.backend import LocalBackend
from dinox_mcp.backends.local.runtime.queue import closed
from dinox_mcp.errors import BackendError, BusyError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Embedding, Output

logger = logging.getLogger(__name__)

FACTORY = "dinox_mcp.backends.local.backend:LocalBackend"
HEARTBEAT_S = 0.5
SILENCE_S = 30.0
"""A process with requests that sends nothing for this long (or `timeout_s`, if that is shorter) is stuck."""
LEAST_SILENCE_S = 5.0
START_S = 120.0
"""How long it may be silent while it starts, which takes long where a disk is slow."""
_REINSTALL = "reinstall dinox-mcp, or have models run in the server's own process (DINOX_MCP_MODEL_PROCESS=same)"
_SECRETS = ("DINOX_API_KEY", "DINOX_MCP_TOKEN", "AUTH_TOKEN")
_COMMAND = ("-P", "-c", "from dinox_mcp.backends.local.service import main; main()")
_KILLED = 9


class ProcessBackend:
    """Forwards calls to a `LocalBackend` in a process of its own, which the first call starts.

    The process ends after `idle_unload_s` without requests. If it crashes, is killed or is stuck, waiting calls fail
    with a BackendError and the next call starts another. Needs asyncio. Methods are those of `LocalBackend`, and raise
    what it raises.

    Args:
        settings: The settings. Secrets in them do not reach the process.
        factory: What creates the backend in the process, as "module:callable"; called with the settings.
    """

    name = "local"

    def __init__(self, settings: Settings, factory: str = FACTORY) -> None:
        self._settings = settings.model_copy(update={"api_key": None, "token": None})
        self._factory = factory
        self._here = LocalBackend(settings)  # it never loads a model
        self._known: tuple[Model, ...] = ()  # as the last process listed them
        self._process: ModelProcess | None = None
        self._closed = False

    def capabilities(self, model: str | None = None) -> Capabilities:
        """Return what a model can do: by its name, or as the process reported when the model was loaded."""
        known = next((offer for offer in self._listed() if model in (None, offer.name)), None)
        return known.capabilities if known else self._here.capabilities(model)

    def fit(self, prompt: str) -> Fit:
        """Return how well the model of the settings or of this machine can find a prompt."""
        return kinds.fit(prompt, self.capabilities().labels)

    def models(self) -> tuple[Model, ...]:
        """List the models, as far as is known from the last answer."""
        alive = self._process is not None and self._process.alive
        return tuple(replace(model, loaded=model.loaded and alive) for model in self._listed() or self._here.models())

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        """Find objects."""
        return cast("Detections", await self._forward(call, "detect", image, request))

    async def describe(
        self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
    ) -> Detections:
        """Describe objects."""
        return cast("Detections", await self._forward(call, "describe", image, tuple(objects), include))

    async def follow(self, frames: Sequence[Picture], boxes: Sequence[Box], call: Call) -> Followed:
        """Follow objects through frames of a video."""
        return cast("Followed", await self._forward(call, "follow", tuple(frames), tuple(boxes)))

    async def embed(self, image: Picture, request: DetectionRequest, call: Call) -> Embedding:
        """Make an embedding of examples."""
        return cast("Embedding", await self._forward(call, "embed", image, request))

    async def load(self) -> str:
        """Fetch and load the model before the first request needs it; return its name."""
        return cast("str", await self._forward(None, "load"))

    async def aclose(self) -> None:
        """End the process, within seconds."""
        self._closed = True
        if self._process:
            await self._process.end()

    def _listed(self) -> tuple[Model, ...]:
        if self._process and self._process.models:
            self._known = self._process.models
        return self._known

    async def _forward(self, call: Call | None, method: str, *arguments: object) -> object:
        if self._closed:
            raise closed()
        if self._process is None or not self._process.usable:
            self._listed()
            self._process = ModelProcess(self._factory, self._settings)
        return await self._process.run(call, method, arguments)


class ModelProcess(asyncio.SubprocessProtocol):
    """One process, from its first request to its end. All of it runs in one event loop.

    Args:
        factory: What creates the backend, as "module:callable".
        settings: What it is called with, without secrets.
    """

    def __init__(self, factory: str, settings: Settings) -> None:
        self.models: tuple[Model, ...] | None = None  # as the backend in the process listed them last
        self.alive = True  # with its end, all that it had in memory is gone
        self._idle_s = settings.idle_unload_s
        self._most = settings.queue_max + 1
        self._patience_s = max(min(SILENCE_S, settings.timeout_s), LEAST_SILENCE_S)
        self._numbers = itertools.count()
        self._requests: dict[int, asyncio.Queue[service.Reply]] = {}
        self._in_pipe: set[int] = set()  # requests that the process has not taken yet
        self._unsent = [service.dump((factory, settings))]
        self._sent = service.SentImages()
        self._received = bytearray()
        self._last_message = self._last_request = monotonic()
        self._started = self._closed = False
        self._silent_s = 0.0
        self._transport: asyncio.SubprocessTransport | None = None
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._life = self._loop.create_task(self._live(), name="dinox-mcp models")

    @property
    def usable(self) -> bool:
        """Whether it takes requests of the running event loop."""
        return self.alive and self._loop is asyncio.get_running_loop()

    async def run(self, call: Call | None, method: str, arguments: tuple[Any, ...]) -> object:
        """Call a method of the backend in the process; a cancelled call is cancelled there too.

        Raises:
            BusyError: as many requests as may wait are in the pipe, and the process has not taken them yet.
            BackendError: what the method raised, or how the process ended.
        """
        if len(self._in_pipe) >= self._most:
            raise BusyError(
                f"{self._most} requests wait for the local model already; try again later, or raise DINOX_MCP_QUEUE_MAX"
            )
        number = next(self._numbers)
        sent = replace(call, progress=silent, api_key=None, pictures=dict(call.pictures)) if call else None
        self._send(service.Request(number, method, arguments, sent))
        if not self._requests and not self._in_pipe:
            self._last_message = monotonic()  # it had no reason to send any since its last answer
        replies = self._requests[number] = asyncio.Queue()
        self._in_pipe.add(number)
        try:
            return await self._wait_for_answer(replies, call.progress if call else silent)
        finally:
            self._last_request = monotonic()
            if self._requests.pop(number, None):
                self._send(service.Cancel(number))

    async def end(self) -> None:
        """End the process, whatever it does; requests that wait fail."""
        self.alive, self._closed = False, True
        self._kill()
        if not self._life.done():
            await asyncio.wait([self._life])

    async def _wait_for_answer(self, replies: "asyncio.Queue[service.Reply]", progress: Progress) -> object:
        started = False
        while True:
            message = None
            with anyio.move_on_after(HEARTBEAT_S):
                message = await replies.get()
            match message:
                case service.Answer():
                    return message.value
                case service.Failure():
                    raise message.kind(message.message)
                case service.Step():
                    started = True
                    await progress(message.fraction, message.message)
                case None if not started:  # Python starts and imports torch; later the models report
                    await progress(0.0, "starting the local backend")

    def _send(self, message: object) -> None:
        data = service.dump(message, self._sent)
        if self._transport is None:
            self._unsent.append(data)
        elif self.alive:
            cast("asyncio.WriteTransport", self._transport.get_pipe_transport(0)).write(data)

    async def _live(self) -> None:
        """Start the process, watch it until it ends, and fail what still waits then."""
        cause = str(closed())
        try:
            self._transport = await _start(self)
            await self._watch(self._transport)
            cause = self._cause(self._transport.get_returncode() or 0)
        except (OSError, ValueError, NotImplementedError) as error:  # the last: an event loop without processes
            cause = f"the process for the local model does not start ({error}); free memory, or {_REINSTALL}"
        finally:  # also when an event loop ends in which nobody closed the backend
            self.alive = False
            if self._transport:
                self._transport.close()
                await self._ended.wait()
            for number, replies in self._requests.items():
                replies.put_nowait(service.Failure(number, BackendError, cause))
            self._requests.clear()

    async def _watch(self, transport: asyncio.SubprocessTransport) -> None:
        """Send what waits to be sent, then wait for the end of the process; kill it if it is idle or stuck."""
        cast("asyncio.WriteTransport", transport.get_pipe_transport(0)).writelines(self._unsent)
        self._unsent.clear()
        while not self._ended.is_set():
            if not self.alive or self._is_idle_or_stuck():
                self.alive = False
                self._kill()
            with anyio.move_on_after(HEARTBEAT_S):
                await self._ended.wait()

    def _kill(self) -> None:
        if self._transport:
            with contextlib.suppress(ProcessLookupError):  # it has ended
                self._transport.kill()

    def _is_idle_or_stuck(self) -> bool:
        now = monotonic()
        if not (self._requests or self._in_pipe):
            return 0 < self._idle_s < now - self._last_request
        silent_s = now - self._last_message
        if silent_s <= (self._patience_s if self._started else START_S):
            return False
        self._silent_s = silent_s
        logger.warning("the local model's process was silent for %.0f s and is killed", silent_s)
        return True

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take messages of the process as they come; `fd` is that of its stdout."""
        del fd
        self._received += data
        head = service.LENGTH_BYTES
        try:
            while len(self._received) >= (end := head + int.from_bytes(self._received[:head], "big")):
                message = pickle.loads(memoryview(self._received)[head:end])  # noqa: S301 - written by this package
                del self._received[:end]
                self._take(message)
        except Exception as error:  # noqa: BLE001 - such as a message of another release of this package
            logger.warning("a message of the models' process cannot be read: %s", error)
            self._kill()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the process has ended and all that it wrote was read."""
        del exc
        self.alive = False
        self._ended.set()

    def _take(self, message: service.Alive | service.Reply) -> None:
        self._last_message = monotonic()
        self._started = True
        match message:
            case service.Alive(taken):
                self._in_pipe -= {taken}
            case service.Step(number):
                if replies := self._requests.get(number):
                    replies.put_nowait(message)
            case service.Answer(number) | service.Failure(number):
                if isinstance(message, service.Answer):
                    self.models = message.models or self.models
                if replies := self._requests.pop(number, None):
                    replies.put_nowait(message)

    def _cause(self, status: int) -> str:
        """Explain why the process has ended, and what to do."""
        if self._closed:
            return str(closed())
        if self._silent_s:
            return (
                f"the local model's process was silent for {self._silent_s:.0f} s and was ended; try again, which "
                "starts another"
            )
        how = _how(status)
        if -status == _KILLED:
            how += ", as a system does when memory runs out"
        elif not self._started:
            return f"the process for the local model does not start ({how}; stderr says more); {_REINSTALL}"
        return (
            f"the local model's process ended before it answered ({how}); try again, which starts another; if it "
            "happens again, choose a smaller model (DINOX_MCP_MODEL=fast) or free some memory"
        )


def _how(status: int) -> str:
    if status >= 0:
        return f"exit status {status}" if status < 256 else f"exit status {status:#x}"  # noqa: PLR2004 - Windows' codes
    with contextlib.suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"


async def _start(protocol: ModelProcess) -> asyncio.SubprocessTransport:
    """Start this Python anew, out of reach of Ctrl-C in the terminal; its stderr is ours."""
    environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109
    options: dict[str, Any] = {"process_group": 0}
    if sys.platform == "win32":
        options = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    stderr: int | None = None
    try:
        os.fstat(2)
    except OSError:  # it is closed
        stderr = subprocess.DEVNULL
    transport, _ = await asyncio.get_running_loop().subprocess_exec(
        lambda: protocol,
        sys.executable or "",
        *_COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment,
        **options,
    )
    return transport
