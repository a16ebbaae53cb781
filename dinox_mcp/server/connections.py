"""Connections over HTTP that are closed: those whose head does not end, whose client does not read, or too many."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10
"""Seconds from the first byte of a request, or the start of a connection, to the end of the request's head."""
STALL_S = 20
"""Seconds that a client may leave a reply unread."""
MAX_CONNECTIONS = 512
BACKLOG = 32
"""Connections that asyncio accepts at a time; where it runs out of files meanwhile, it logs a traceback for each."""


def most_connections() -> int:
    """Say how many connections fit: a third of the files that the process may open, so that the rest still works."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MAX_CONNECTIONS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft < 0 else max(16, min(MAX_CONNECTIONS, soft // 3))


class BoundedProtocol(H11Protocol):
    """uvicorn's connection with deadlines."""

    most = most_connections()

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of uvicorn
        super().__init__(*arguments, **options)
        self._head: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._since = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Wait for a head; where there are too many connections, the one that has waited longest for its head goes."""
        super().connection_made(transport)
        self._head = self.loop.call_later(HEAD_S, self._abort)
        if len(self.connections) > self.most:
            idle = [one for one in self.connections if isinstance(one, BoundedProtocol) and one.is_idle]
            min(idle, key=lambda one: one._since, default=self)._abort()  # noqa: SLF001 - of the same class

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_head()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Start the clock with the first byte of a head, and stop it with the last."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_head()
        elif self._head is None and not self.transport.is_closing():
            self._since = self.loop.time()
            self._head = self.loop.call_later(HEAD_S, self._abort)

    def pause_writing(self) -> None:
        """Start the clock: the client does not read."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALL_S, self._abort)

    def resume_writing(self) -> None:
        """Stop the clock: the client reads."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    @property
    def is_idle(self) -> bool:
        """Whether no request of the connection is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _stop_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _abort(self) -> None:
        self._head = None
        if self.transport is not None:
            self.connections.discard(self)
            self.transport.abort()
