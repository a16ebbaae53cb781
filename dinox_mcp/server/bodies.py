"""Request bodies over HTTP: read whole before anything else, with deadlines, within a budget shared between callers."""

import logging
from collections import Counter
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dinox_mcp.server.messages import refusal, too_large

IDLE_S = 10
"""Seconds that a caller may send nothing of a body."""
DEADLINE_S = 120
"""Seconds that a whole body may take."""
_SMALL = 100_000
"""Bytes of a body that are looked through at once, without a thread."""
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

    Bytes count when they arrive. Where there is no room, the caller that holds most loses the body it is sending, so
    that large callers do not shut out small ones.
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
        """Read the body, and pass the request on, or say why not."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = _Body(caller_label(scope), anyio.CancelScope())
        self._bodies.add(body)
        try:
            refused = await self._read(body, receive)
            if refused is not None:
                await refused(scope, receive, send)
            elif body.complete:
                await self._app(scope, _replay(body, receive), send)
            else:
                _logger.info("a client broke off after %s bytes of a request", body.size)
        finally:
            self._bodies.discard(body)

    async def _read(self, body: _Body, receive: Receive) -> Response | None:
        """Read a body until it is complete or the client has left; give the answer if it is refused."""
        end = anyio.current_time() + self._deadline_s
        with body.scope:
            while not body.complete:
                body.scope.deadline = min(end, anyio.current_time() + self._idle_s)
                message = await receive()
                if message["type"] != "http.request":
                    return None
                chunk = message.get("body", b"")
                if body.size + len(chunk) > self._largest:
                    return _refuse(b"".join(body.chunks), f"the message has more than {self._largest} bytes", 413)
                if not self._make_room(body, len(chunk)):
                    break
                body.chunks.append(chunk)
                body.size += len(chunk)
                body.complete = not message.get("more_body", False)
        if not body.complete:
            return _refuse(b"", *self._why(body, end))
        body.scope.deadline = float("inf")
        whole = b"".join(body.chunks)
        body.chunks = [whole]
        reason = too_large(whole) if len(whole) < _SMALL else await anyio.to_thread.run_sync(too_large, whole)
        return _refuse(whole, reason, 413) if reason else None

    def _make_room(self, body: _Body, size: int) -> bool:
        """Drop bodies that are being sent until there is room, the largest caller's first; never for a larger one."""
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
