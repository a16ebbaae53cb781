"""Running the server on a transport, with its log, until its client leaves or a signal says stop."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import anyio
from starlette.requests import ClientDisconnect

from dinox_mcp.backends.registry import find
from dinox_mcp.detector import Detector
from dinox_mcp.errors import DinoxError
from dinox_mcp.server.app import build_server
from dinox_mcp.server.bodies import largest_message
from dinox_mcp.server.stdio import end_within, serve_wire, take_standard_streams
from dinox_mcp.settings import Settings
from dinox_mcp.types.text import clean_line

_BROKEN_OFF = (
    ClientDisconnect,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    ConnectionError,
)


def set_up(level: str) -> None:
    """Log to stderr, in place of the SDK's own handlers."""
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
    """Say in a line that a client has broken off, where the SDK logs the exception that this causes."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and _is_broken_off(error):
        record.msg, record.args = "a client broke off (%s)", (type(error).__name__,)
        record.exc_info = record.exc_text = None
    return True


def _is_broken_off(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_broken_off, error.exceptions))
    return isinstance(error, _BROKEN_OFF)


_GRACE_S = 3
"""Seconds that running calls may take to end after a signal."""
_END_S = 4
"""Seconds after a signal or the end of input until the process ends, whatever it does."""


def serve(settings: Settings) -> None:
    """Serve until the client closes stdin (stdio) or a signal comes.

    Raises:
        SettingsError: the backend, host, port or token of the settings do not allow it.
    """
    if settings.backend != "auto":
        find(settings.backend)
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
        set_up(settings.log_level)
        async with _warming_up(detector):
            await serve_wire(server, take_standard_streams(), largest_message(settings), _END_S)


async def _serve_http(settings: Settings, listener: socket.socket) -> None:
    import uvicorn

    from dinox_mcp.server.http import BACKLOG, BoundedProtocol, HttpServer, build_app

    async with Detector(settings) as detector:
        app = build_app(build_server(detector), settings)
        set_up(settings.log_level)
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
    """Load the model while the server already answers, where the settings ask for it."""

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
        end_within(_END_S)
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(stop)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, wake)
