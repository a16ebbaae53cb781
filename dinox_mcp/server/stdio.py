"""The protocol over stdin and stdout: one message in a line, each answered, with a limit on those in progress."""

import logging
import os
import sys
import threading
from collections import Counter
from contextlib import suppress
from typing import BinaryIO, NamedTuple

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import INTERNAL_ERROR, JSONRPCError, JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from dinox_mcp.server.bodies import parse, refusal
from dinox_mcp.server.outbox import Outbox
from dinox_mcp.server.protocol import DetectionServer


def end_within(seconds: float) -> None:
    """End the process after some seconds at most: a thread that draws cannot be stopped, and Python waits for it."""

    def end() -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(0)

    timer = threading.Timer(seconds, end)
    timer.daemon = True  # where everything ends earlier, so does this
    timer.start()


MAX_IN_FLIGHT = 64
"""Requests that may wait for their answer at once; a client that never reads gets no further."""
_SKIPPED = 65_536
_CLIENT = ""
"""The one caller that there is."""
_logger = logging.getLogger(__name__)


class Wire(NamedTuple):
    """Where messages come from and go to."""

    source: BinaryIO
    target: BinaryIO


def take_standard_streams() -> Wire:
    """Keep stdin and stdout for the protocol: whatever else is printed goes to stderr, and children read nothing."""
    sys.stdout.flush()
    wire = Wire(os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb"))
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
    return wire


async def serve_wire(mcp: DetectionServer, wire: Wire, max_line: int, grace_s: float) -> None:
    """Serve until the client closes its end; work that goes on then ends the process after `grace_s` seconds."""
    to_server, from_client = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_client, from_server = anyio.create_memory_object_stream[SessionMessage](0)
    open_requests: Counter[object] = Counter()
    async with anyio.create_task_group() as group:

        async def read() -> None:
            async with to_server:
                await _read(wire.source, max_line, to_server, to_client.clone(), open_requests)
            end_within(grace_s)  # drawing in a thread cannot be stopped

        async def write() -> None:
            try:
                await _write(wire.target, from_server, open_requests, mcp.outbox)
            except OSError as error:
                _logger.info("the client has stopped reading: %s", error.strerror)
                end_within(grace_s)
                group.cancel_scope.cancel()

        group.start_soon(read)
        group.start_soon(write)
        await mcp.serve_streams(from_client, to_client)


async def _read(
    source: BinaryIO,
    max_line: int,
    to_server: MemoryObjectSendStream[SessionMessage | Exception],
    to_client: MemoryObjectSendStream[SessionMessage],
    open_requests: Counter[object],
) -> None:
    """Pass messages on until the end of input, and answer at once what is not served.

    Those answers are awaited, so that a client that does not read them is not read from either.
    """
    async with to_client:
        while (message := await anyio.to_thread.run_sync(_next_message, source, max_line)) is not None:
            if isinstance(message, JSONRPCRequest):
                if open_requests.total() >= MAX_IN_FLIGHT:
                    message = _busy(message)
                else:
                    open_requests[message.id] += 1
            elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
                _settle(open_requests, (message.params or {}).get("requestId"))  # it is never answered
            if isinstance(message, JSONRPCError):
                await to_client.send(SessionMessage(message))
            else:
                await to_server.send(SessionMessage(message))


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


async def _write(
    target: BinaryIO,
    from_server: MemoryObjectReceiveStream[SessionMessage],
    open_requests: Counter[object],
    outbox: Outbox,
) -> None:
    async with from_server:
        async for message in from_server:
            line = message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
            outbox.add(_CLIENT, len(line))
            await anyio.to_thread.run_sync(_write_line, target, line)
            outbox.remove(_CLIENT, len(line))
            if isinstance(message.message, JSONRPCResponse | JSONRPCError):
                _settle(open_requests, message.message.id)


def _write_line(target: BinaryIO, line: bytes) -> None:
    target.write(line)
    target.flush()


def _busy(request: JSONRPCRequest) -> JSONRPCError:
    reason = f"{MAX_IN_FLIGHT} requests wait for their answers already; read some, then ask again"
    answer = refusal(b"", reason, INTERNAL_ERROR)
    return answer.model_copy(update={"id": request.id})


def _settle(open_requests: Counter[object], request_id: object) -> None:
    if isinstance(request_id, str | int) and open_requests[request_id] > 0:
        open_requests[request_id] -= 1
        if not open_requests[request_id]:
            del open_requests[request_id]
