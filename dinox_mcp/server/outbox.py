"""Replies that wait to be sent: counted, so that clients that do not read cannot fill the memory with them."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dinox_mcp.errors import BusyError
from dinox_mcp.server.bodies import caller_label
from dinox_mcp.settings import MiB

MAX_WAITING = 256 * MiB
"""Bytes of replies that may wait to be sent before no further large one is made."""
_WAIT_S = 30
_AT_ONCE = 2
"""Large replies that are made at once."""
_PIECE = 65_536
"""Bytes that are handed to the connection at once, so that it can say when it is full."""
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
