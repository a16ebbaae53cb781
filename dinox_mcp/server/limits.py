"""Bounds for messages and request bodies that come in, and for replies that wait to be sent."""

import logging
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
from mcp.types import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError, JSONRPCMessage, jsonrpc_message_adapter
from pydantic import ValidationError
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dinox_mcp.errors import BusyError
from dinox_mcp.settings import MiB, Settings

IMAGES = "/images"
"""The path whose bodies are images, not messages."""
MAX_VALUES = 100_000
"""Values in a message, counted by its commas and opening brackets."""
MAX_TEXT_BYTES = 1_000_000
"""Bytes of a message beside its images."""
MAX_PICTURES = 1000
MAX_ID = 1000
"""Characters of an id, which the response repeats."""
_PICTURE = b'"data:'
_ID = rb'"id"\s*:\s*(?P<id>\d{1,15}|"[^"\\]{1,100}")'
# Clients write the id before the parameters or, as the TypeScript SDK does, after them.
_ID_FIRST = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*(?:"(?:jsonrpc|method)"\s*:\s*"[^"]{0,100}"\s*,\s*){0,2}' + _ID)
_ID_LAST = re.compile(
    rb'\}\s*,\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?' + _ID + rb'(?:\s*,\s*"jsonrpc"\s*:\s*"2\.0")?\s*\}\s*$'
)


def too_large(message: bytes) -> str | None:
    """Describe in one line what is too large in a message; None where nothing is."""
    text = len(message) - _picture_bytes(message)
    if text > MAX_TEXT_BYTES:
        return (
            f"the message has {text} bytes beside its images, more than {MAX_TEXT_BYTES}; send an image as a URL or "
            "as a data: URI (data:image/png;base64,...), and fewer objects, prompts or boxes in a call"
        )
    values = sum(map(message.count, (b",", b"[", b"{")))
    if values > MAX_VALUES:
        return f"the message holds about {values} values, more than {MAX_VALUES}; split them over several calls"
    return None


def parse(message: bytes) -> JSONRPCMessage | JSONRPCError:
    """Read a message, or make the error for one that cannot be read."""
    if reason := too_large(message):
        return refusal(message, reason)
    try:
        parsed = jsonrpc_message_adapter.validate_json(message.decode(errors="replace"), by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            reason = (
                f"the line is not valid JSON ({first['msg'].removeprefix('Invalid JSON: ')}); send one message a line"
            )
            return refusal(message, reason, PARSE_ERROR)
        return refusal(message, "the line is not a JSON-RPC 2.0 message; send jsonrpc, id, method and params")
    if isinstance(known := getattr(parsed, "id", None), str) and len(known) > MAX_ID:
        return refusal(b"", f"the id has {len(known)} characters, more than {MAX_ID}; send a shorter one")
    return parsed


def refusal(message: bytes, reason: str, code: int = INVALID_REQUEST) -> JSONRPCError:
    """Make the error for a message that is not served, under its id where that can be read."""
    match = _ID_FIRST.match(message, 0, 1000) or _ID_LAST.search(message, max(0, len(message) - 1000))
    found = match["id"].decode(errors="replace") if match else None
    known = None if found is None else found.strip('"') if found.startswith('"') else int(found)
    return JSONRPCError(jsonrpc="2.0", id=known, error=ErrorData(code=code, message=reason))


def _picture_bytes(message: bytes) -> int:
    """Add up the lengths of the strings that are data: URIs."""
    total = end = 0
    for _ in range(MAX_PICTURES):
        start = message.find(_PICTURE, end)
        end = message.find(b'"', start + len(_PICTURE))
        if start < 0 or end < 0:
            break
        total += end - start
    return total


def largest_message(settings: Settings) -> int:
    """Return the bytes of the largest message: a data: URI is base64, four bytes for three, inside JSON with more."""
    return settings.max_image_bytes * 4 // 3 + MiB


IDLE_S = 10
"""Seconds that a caller may send nothing of a body."""
DEADLINE_S = 120
"""Seconds that a body may take from its first byte to its last."""
_SMALL = 100_000
"""Bytes up to which a body is checked without a thread."""
_KEY = b"x-dinox-api-key"
_logger = logging.getLogger(__name__)


def caller_label(scope: Scope) -> str:
    """Name who sends a request, to share what is scarce: by the key that it brings, else by its address."""
    for name, value in scope["headers"]:
        if name == _KEY and value:
            return f"key {hash(value)}"
    return str((scope.get("client") or ("?",))[0])


@dataclass(eq=False)
class _Body:
    caller: str
    scope: anyio.CancelScope
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0
    complete: bool = False
    dropped: bool = False


class BodyBudget:
    """Keeps the bodies of all requests together within `total` bytes: a body is in memory until it is answered.

    Bytes count when they arrive. At the limit, the caller that holds most loses the body it is sending, so that large
    callers do not shut out small ones.
    """

    def __init__(
        self, app: ASGIApp, largest: int, total: int, idle_s: float = IDLE_S, deadline_s: float = DEADLINE_S
    ) -> None:
        self._app = app
        self._largest = largest
        self._total = total
        self._idle_s = idle_s
        self._deadline_s = deadline_s
        self._bodies: set[_Body] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, and pass the request on, or refuse it with the reason."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = _Body(caller_label(scope), anyio.CancelScope())
        self._bodies.add(body)
        try:
            refused = await self._read(body, receive, is_message=scope["path"] != IMAGES)
            if refused is not None:
                await refused(scope, receive, send)
            elif body.complete:
                await self._app(scope, _replay(body, receive), send)
            else:
                _logger.info("a client broke off after %s bytes of a request", body.size)
        finally:
            self._bodies.discard(body)

    async def _read(self, body: _Body, receive: Receive, *, is_message: bool) -> Response | None:
        """Read a body until it is complete or the client has left; give the response if it is refused."""
        end = anyio.current_time() + self._deadline_s
        with body.scope:
            while not body.complete:
                body.scope.deadline = min(end, anyio.current_time() + self._idle_s)
                message = await receive()
                if message["type"] != "http.request":
                    return None
                chunk = message.get("body", b"")
                if body.size + len(chunk) > self._largest:
                    return _refuse(
                        b"".join(body.chunks),
                        f"the message has more than {self._largest} bytes; send a smaller image, or its URL",
                        413,
                    )
                if not self._free(body, len(chunk)):
                    break
                body.chunks.append(chunk)
                body.size += len(chunk)
                body.complete = not message.get("more_body", False)
        if not body.complete:
            return _refuse(b"", *self._why(body, end))
        body.scope.deadline = float("inf")
        content = b"".join(body.chunks)
        body.chunks = [content]
        if not is_message:
            return None
        reason = too_large(content) if len(content) < _SMALL else await anyio.to_thread.run_sync(too_large, content)
        return _refuse(content, reason, 413) if reason else None

    def _free(self, body: _Body, size: int) -> bool:
        """Drop bodies in transit until `size` bytes fit, those of the largest caller first; never for a larger one."""
        while sum(one.size for one in self._bodies) + size > self._total:
            held: Counter[str] = Counter()
            for one in self._bodies:
                held[one.caller] += one.size
            held[body.caller] += size
            sending = [one for one in self._bodies if not one.complete and not one.dropped and one.size]
            victim = max(sending, key=lambda one: (held[one.caller], one.size), default=body)
            if held[victim.caller] <= held[body.caller]:
                victim = body
            victim.dropped = True
            if victim is body:
                return False
            victim.scope.cancel()
            victim.chunks.clear()
            victim.size = 0
        return True

    def _why(self, body: _Body, end: float) -> tuple[str, int]:
        if body.dropped:
            return "too many large requests at once; try again in a few seconds", 503
        slow = anyio.current_time() >= end
        waited = f"took more than {self._deadline_s:g} s" if slow else f"stopped for more than {self._idle_s:g} s"
        return f"the request's body {waited}; send it at once", 408


def _replay(body: _Body, receive: Receive) -> Receive:
    async def replay() -> Message:
        if body.chunks:
            return {"type": "http.request", "body": body.chunks.pop(), "more_body": False}
        return await receive()

    return replay


def _refuse(start: bytes, reason: str, status: int) -> Response:
    headers = {"Retry-After": "2"} if status == 503 else {"Connection": "close"}  # noqa: PLR2004 - busy
    return JSONResponse(refusal(start, reason).model_dump(), status_code=status, headers=headers)


MAX_WAITING = 256 * MiB
"""Bytes of replies that may wait to be sent before no further large one is made."""
_WAIT_S = 30
_AT_ONCE = 2
"""Large replies that are made at once."""
_PIECE = 65_536
"""Bytes that are handed to the connection at once, so that it can report when it is full."""
_SLOWEST = 50_000
"""Bytes a second at which a client must read a reply, after half a minute."""


class Outbox:
    """Counts the bytes of replies that wait, in all and by caller; large replies wait for memory."""

    def __init__(self, most: int = MAX_WAITING, wait_s: float = _WAIT_S) -> None:
        self._most = most
        self._wait_s = wait_s
        self._waiting: Counter[str] = Counter()
        self._making = 0
        self._changed = anyio.Event()

    @asynccontextmanager
    async def making(self, caller: str) -> AsyncIterator[None]:
        """Wait until a large reply may be made: few at once, and none for a caller who holds half of the memory.

        Raises:
            BusyError: no memory became free in time.
        """
        with anyio.move_on_after(self._wait_s) as scope:
            await self._enter(caller)
            scope.deadline = float("inf")
            try:
                yield
            finally:
                self._making -= 1
                self._change()
            return
        raise BusyError("too many large replies wait to be read; read them, and try again in a few seconds")

    async def _enter(self, caller: str) -> None:
        while (
            self._making >= _AT_ONCE or self._waiting.total() >= self._most or self._waiting[caller] >= self._most // 2
        ):
            await self._changed.wait()
        self._making += 1

    def _change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def add(self, caller: str, size: int) -> None:
        """Count bytes that wait from now on."""
        self._waiting[caller] += size

    def remove(self, caller: str, size: int) -> None:
        """Count bytes that have been sent, or will never be."""
        self._waiting[caller] -= size
        if not self._waiting[caller]:
            del self._waiting[caller]
        self._change()


class Sending:
    """Sends replies in pieces, counted in an outbox until they are gone; gives up on a client that reads too slowly."""

    def __init__(self, app: ASGIApp, outbox: Outbox) -> None:
        self._app = app
        self._outbox = outbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its reply in pieces."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller = caller_label(scope)
        gone = False

        async def pieces(message: Message) -> None:
            nonlocal gone
            body = message.get("body", b"") if message["type"] == "http.response.body" else b""
            if len(body) <= _PIECE and not gone:
                await send(message)
            elif not gone:
                gone = not await self._send(body, caller, send, more=message.get("more_body", False))

        await self._app(scope, receive, pieces)

    async def _send(self, body: bytes, caller: str, send: Send, *, more: bool) -> bool:
        """Send a large body; give whether the client has read it in time."""
        left = len(body)
        self._outbox.add(caller, left)
        try:
            with anyio.move_on_after(_WAIT_S + left / _SLOWEST):
                for start in range(0, len(body), _PIECE):
                    piece = body[start : start + _PIECE]
                    last = start + _PIECE >= len(body)
                    await send({"type": "http.response.body", "body": piece, "more_body": more or not last})
                    self._outbox.remove(caller, len(piece))
                    left -= len(piece)
        finally:
            if left:
                self._outbox.remove(caller, left)
        return not left
