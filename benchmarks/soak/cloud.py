"""The emulated cloud with faults that a prompt orders, so that each hits the call that it is meant for."""

import json
import multiprocessing
import re
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.emulator.app import Emulator, Faults
from tests.emulator.server import serve

MODEL_S = (0.05, 0.3)


@dataclass(frozen=True)
class Fault:
    """A fault as the emulator names it; `once` hits the first request only, `recovers` if the call has to succeed."""

    name: str
    once: bool = True
    recovers: bool = True
    poll: bool = False


FAULTS = (
    Fault("500"),
    Fault("503:0.2"),
    Fault("202001"),
    Fault("rate"),
    Fault("drop"),
    Fault("drop-after"),
    Fault("instant"),
    Fault("malformed"),
    Fault("500", poll=True),
    Fault("drop", poll=True),
    Fault("hang"),
    Fault("500", once=False, recovers=False),
    Fault("400", recovers=False),
    Fault("quota", recovers=False),
    Fault("bad-key", recovers=False),
    Fault("html", recovers=False),
    Fault("truncated", recovers=False),
    Fault("failed", recovers=False),
    Fault("empty", recovers=False),
    Fault("bad-uuid", recovers=False),
    Fault("html", poll=True, recovers=False),
    Fault("never", recovers=False),
)
NEVER = len(FAULTS) - 1
"""Number of the fault that keeps a call in flight."""

_ORDER = re.compile(rb"fault (\d+) bolt (\d+)")
_ordered: ContextVar[str] = ContextVar("ordered", default="")


def label(fault: int, number: int) -> str:
    """Write the prompt that orders a fault for one call."""
    return f"fault {fault} bolt {number}"


@contextmanager
def faulty_cloud(keys: set[str]) -> Iterator[str]:
    """Run the cloud in a process of its own; gives its URL."""
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    process = context.Process(target=_work, args=(other, keys), daemon=True)
    process.start()
    try:
        yield pipe.recv()
    finally:
        process.kill()
        process.join()


class _Ordered(Faults):
    """The fault that the request itself orders."""

    def next(self, kind: str) -> str:
        """Take the fault of this request."""
        del kind
        return _ordered.get()


class _Orders:
    """Reads orders from the prompts of new tasks, and remembers those for the polls of a task."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._seen: set[bytes] = set()
        self._polls: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":
            _ordered.set(self._polls.pop(scope["path"].rpartition("/")[2], ""))
            await self._app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False) and message["type"] == "http.request"
        fault = self._fault(body)
        _ordered.set(fault.name if fault and not fault.poll else "")
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> MutableMapping[str, Any]:
            return waiting.pop() if waiting else await receive()

        async def watched(message: MutableMapping[str, Any]) -> None:
            if fault and fault.poll and b"task_uuid" in message.get("body", b""):
                self._polls[json.loads(message["body"])["data"]["task_uuid"]] = fault.name
            await send(message)

        await self._app(scope, again, watched)

    def _fault(self, body: bytes) -> Fault | None:
        order = _ORDER.search(body)
        if order is None:
            return None
        fault = FAULTS[int(order[1])]
        if fault.once and order[0] in self._seen:
            return None
        self._seen.add(order[0])
        return fault


class _Faulty(Emulator):
    def app(self) -> Starlette:
        app = super().app()
        app.add_middleware(_Orders)
        return app


def _work(pipe: Connection, keys: set[str]) -> None:
    emulator = _Faulty()
    emulator.strict = False  # the tests see to it; here it would only take time
    emulator.keys, emulator.model_time, emulator.faults = keys, MODEL_S, _Ordered()
    with serve(emulator), suppress(EOFError):
        pipe.send(emulator.url)
        pipe.recv()
