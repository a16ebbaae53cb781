"""Running the server over stdio or HTTP, with its log, until its client leaves or a signal says stop."""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import BinaryIO

import anyio
import anyio.to_thread
from mcp.shared.message import SessionMessage
from mcp.types import INTERNAL_ERROR, JSONRPCError, JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse
from starlette.requests import ClientDisconnect

from dinox_mcp.backends.registry import find
from dinox_mcp.detector import Detector
from dinox_mcp.errors import DinoxError
from dinox_mcp.server.app import build_server
from dinox_mcp.server.limits import largest_message, parse, refusal
from dinox_mcp.server.protocol import DetectionServer
from dinox_mcp.settings import Settings
from dinox_mcp.types.memory import return_freed_blocks
from dinox_mcp.types.text import clean_line

_BROKEN_OFF = (
    ClientDisconnect,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    ConnectionError,
)
MAX_IN_FLIGHT = 64
"""Requests that may wait for their response at once; a client that never reads gets no further."""
_SKIPPED = 65_536
_CLIENT = ""
"""The one caller that there is."""
_logger = logging.getLogger(__name__)
_GRACE_S = 3
"""Seconds that running calls may take to end after a signal."""
_END_S = 4
"""Seconds after a signal or the end of input until the process ends, whatever it does."""


def _set_up_log(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(_without_broken_off)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _OneLine(logging.Formatter):
    """Writes messages in one line each; tracebacks of real faults keep theirs."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        """Bring the message to one harmless line."""
        return clean_line(super().formatMessage(record))


def _without_broken_off(record: logging.LogRecord) -> bool:
    """Log in one line that a client has broken off, where the SDK logs the exception that this causes."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and _is_broken_off(error):
        record.msg, record.args = "a client broke off (%s)", (type(error).__name__,)
        record.exc_info = record.exc_text = None
    return True


def _is_broken_off(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_broken_off, error.exceptions))
    return isinstance(error, _BROKEN_OFF)


def serve(settings: Settings) -> None:
    """Serve until the client closes stdin (stdio) or a signal comes.

    Raises:
        SettingsError: the backend, host, port or token of the settings do not allow it.
    """
    if settings.backend != "auto":
        find(settings.backend)
    return_freed_blocks()
    if settings.transport == "stdio":
        anyio.run(_serve_stdio, settings)
    else:
        from dinox_mcp.server.http import check_exposure, listening  # with uvicorn: stdio need not wait for it

        check_exposure(settings)
        with listening(settings) as listener:
            anyio.run(_serve_http, settings, listener)


async def _serve_stdio(settings: Settings) -> None:
    async with Detector(settings) as detector:

        async def leave() -> None:
            # A thread sits in a read of stdin that nothing can interrupt, so an ordinary return would wait for it.
            with anyio.move_on_after(1):
                await detector.aclose()
            sys.stderr.flush()
            os._exit(0)

        leaving: list[asyncio.Task[None]] = []
        _on_stop_signal(lambda: leaving.append(asyncio.create_task(leave())))
        server = build_server(detector)
        _set_up_log(settings.log_level)
        async with _warming_up(detector):
            await _serve_streams(server, *_take_standard_streams(), largest_message(settings))


async def _serve_http(settings: Settings, listener: socket.socket) -> None:
    import uvicorn

    from dinox_mcp.server.http import BACKLOG, BoundedProtocol, HttpServer, build_app

    async with Detector(settings) as detector:
        app = build_app(build_server(detector), detector)
        _set_up_log(settings.log_level)
        config = uvicorn.Config(
            app,
            http=BoundedProtocol,
            backlog=BACKLOG,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_GRACE_S,
            lifespan="on",
        )
        server = HttpServer(config)
        # The SSE library wraps this method to learn that open streams must end.
        _on_stop_signal(lambda: server.handle_exit(signal.SIGTERM, None))
        host, port = listener.getsockname()[:2]
        path = "/sse" if settings.transport == "sse" else "/mcp"
        where = f"[{host}]" if ":" in host else host
        sys.stderr.write(f"dinox-mcp serves http://{where}:{port}{path}\n")
        sys.stderr.flush()
        async with _warming_up(detector):
            await server.serve(sockets=[listener])


@asynccontextmanager
async def _warming_up(detector: Detector) -> AsyncIterator[None]:
    """Load the model while the server already answers, where the settings want that."""

    async def load() -> None:
        try:
            await detector.warm_up()
        except DinoxError as error:
            sys.stderr.write(f"dinox-mcp: warming up failed: {error}\n")
            sys.stderr.flush()

    async with anyio.create_task_group() as group:
        if detector.settings.warm_up:
            group.start_soon(load)
        yield
        group.cancel_scope.cancel()


def _on_stop_signal(stop: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()

    def wake(_number: int, _frame: object) -> None:
        _end_within(_END_S)
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(stop)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, wake)


def _end_within(seconds: float) -> None:
    """End the process after some seconds at most: a thread that draws cannot be stopped, and Python waits for it."""

    def end() -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(0)

    timer = threading.Timer(seconds, end)
    timer.daemon = True  # where everything ends earlier, so does this
    timer.start()


def _take_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """Keep stdin and stdout for the protocol: whatever else is printed goes to stderr, and children read nothing."""
    sys.stdout.flush()
    source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # stderr is closed
        os.dup2(nowhere, 1)
    os.close(nowhere)
    if sys.platform == "win32":
        from mcp.os.win32.utilities import rebind_std_handle_to_fd

        rebind_std_handle_to_fd(0)
        rebind_std_handle_to_fd(1)
    return source, target


async def _serve_streams(mcp: DetectionServer, source: BinaryIO, target: BinaryIO, max_line: int) -> None:
    """Serve until the client closes its end; work that goes on then is ended soon, as a thread cannot be stopped."""
    to_server, from_client = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_client, from_server = anyio.create_memory_object_stream[SessionMessage](0)
    open_requests: Counter[object] = Counter()

    async def read() -> None:
        # Refusals are awaited, so that a client that does not read them is not read from either.
        async with to_server, to_client.clone() as refusals:
            while (message := await anyio.to_thread.run_sync(_next_message, source, max_line)) is not None:
                message = _admit(message, open_requests)
                if isinstance(message, JSONRPCError):
                    await refusals.send(SessionMessage(message))
                else:
                    await to_server.send(SessionMessage(message))
        _end_within(_END_S)

    async def write() -> None:
        try:
            async with from_server:
                async for message in from_server:
                    line = message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
                    mcp.outbox.add(_CLIENT, len(line))
                    await anyio.to_thread.run_sync(_write_line, target, line)
                    mcp.outbox.remove(_CLIENT, len(line))
                    if isinstance(message.message, JSONRPCResponse | JSONRPCError):
                        _settle(open_requests, message.message.id)
        except OSError as error:
            _logger.info("the client has stopped reading: %s", error.strerror)
            _end_within(_END_S)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        group.start_soon(write)
        await mcp.serve_streams(from_client, to_client)


def _next_message(source: BinaryIO, max_line: int) -> JSONRPCMessage | None:
    """Read the next line that is not blank, or nothing at the end of input."""
    while line := source.readline(max_line + 1):
        if len(line) > max_line:
            rest = line
            while rest and not rest.endswith(b"\n"):
                rest = source.readline(_SKIPPED)
            return refusal(line, f"the message has more than {max_line} bytes; send a smaller image, or its URL")
        if line.strip():
            return parse(line.strip(b"\r\n"))
    return None


def _write_line(target: BinaryIO, line: bytes) -> None:
    target.write(line)
    target.flush()


def _admit(message: JSONRPCMessage | JSONRPCError, open_requests: Counter[object]) -> JSONRPCMessage | JSONRPCError:
    """Count a request, or refuse it where too many are open; one that is cancelled gets no response."""
    if isinstance(message, JSONRPCRequest):
        if open_requests.total() >= MAX_IN_FLIGHT:
            reason = f"{MAX_IN_FLIGHT} requests wait for their responses already; read some, then try again"
            return refusal(b"", reason, INTERNAL_ERROR).model_copy(update={"id": message.id})
        open_requests[message.id] += 1
    elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
        _settle(open_requests, (message.params or {}).get("requestId"))
    return message


def _settle(open_requests: Counter[object], request_id: object) -> None:
    if isinstance(request_id, str | int) and open_requests[request_id] > 0:
        open_requests[request_id] -= 1
        if not open_requests[request_id]:
            del open_requests[request_id]
