"""Real servers over stdio and HTTP, with the clients that call them, and what the server takes of the machine."""

import contextlib
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from benchmarks.contenders import OURS
from benchmarks.harness import BenchmarkError, Server, clean_environment, family, processor_s, rss_mib

Transport = Literal["stdio", "http"]
TOKEN = "let-me-in"
CALLERS = 6
CROWD = 12
TIMEOUT_S = 30
"""Seconds that the server gives one detection (DINOX_MCP_TIMEOUT_S), so that a cloud that hangs is soon given up."""
_TOO_MUCH_MIB = 8192
"""Memory at which a server is killed, before the machine runs out of it; its calls are lost."""


def key_of(number: int) -> str:
    """Give the key of a caller."""
    return f"key-of-caller-{number}"


KEYS = {key_of(number) for number in range(CROWD)}


@dataclass
class Line:
    """One caller's client. `url` and `http` are for what the SDK's client does not send."""

    client: Client
    url: str = ""
    http: httpx2.AsyncClient | None = None
    statuses: list[int] = field(default_factory=list)
    """HTTP statuses that were errors, the latest last."""


@dataclass(frozen=True)
class Serving:
    """A running server; `errors` gives what it has written to stderr."""

    transport: Transport
    pid: int
    errors: Callable[[], str]
    url: str = ""
    shared: Line | None = None

    @asynccontextmanager
    async def line(self, number: int) -> AsyncIterator[Line]:
        """Connect a caller: over HTTP by a connection and with a key of its own, every other one an older client."""
        if self.shared:
            yield self.shared
            return
        statuses: list[int] = []

        async def note(response: httpx2.Response) -> None:
            if response.is_error:
                statuses.append(response.status_code)

        headers = {"Authorization": f"Bearer {TOKEN}", "X-DINOX-API-Key": key_of(number)}
        hooks: dict[str, list[Callable[..., Any]]] = {"response": [note]}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=600, trust_env=False, event_hooks=hooks) as http,
            Client(
                streamable_http_client(self.url, http_client=http),
                mode="legacy" if number % 2 else "auto",
                cache=None,
            ) as client,
        ):
            yield Line(client, self.url, http, statuses)


@asynccontextmanager
async def serving(
    transport: Transport, cloud: str, prompts: Path, timeout_s: float = TIMEOUT_S
) -> AsyncIterator[Serving]:
    """Start a server, all its defaults but the cloud, the time for a detection and the folder of saved prompts."""
    environment = {
        "DINOX_API_BASE_URL": cloud,
        "DINOX_MCP_TIMEOUT_S": str(timeout_s),
        "DINOX_MCP_PROMPTS_FOLDER": str(prompts),
    }
    if transport == "http":
        environment["DINOX_MCP_TOKEN"] = TOKEN
        with Server([*OURS, "serve", "--transport", "http", "--port", "0"], environment) as server:
            while not (where := re.search(r"http://\S+", server.errors())):
                if server.popen.poll() is not None or server.seconds() > 30:
                    raise BenchmarkError(f"the server does not start: {server.errors()}")
                await anyio.sleep(0.02)
            yield Serving(transport, server.popen.pid, server.errors, where.group())
        return
    environment |= clean_environment() | {"DINOX_API_KEY": key_of(0)}
    parameters = StdioServerParameters(command=OURS[0], args=OURS[1:], env=environment)
    before = set(family(os.getpid()))
    with tempfile.TemporaryFile("w+") as log:
        async with Client(stdio_client(parameters, errlog=log), cache=None) as client:
            pid = min(set(family(os.getpid())) - before)

            def errors() -> str:
                return os.pread(log.fileno(), 1_000_000, 0).decode(errors="replace")

            yield Serving(transport, pid, errors, shared=Line(client))


class Memory:
    """Watches the RSS of a server and of all that it starts, from a thread, together with how far the calls are."""

    def __init__(self, pid: int, done: Callable[[], int], every_s: float = 0.1) -> None:
        self._pid = pid
        self._done = done
        self._every_s = every_s
        self._stop = threading.Event()
        self.samples: list[tuple[int, float]] = []

    @contextmanager
    def watching(self) -> Iterator["Memory"]:
        """Watch as long as the context lasts."""
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    def peak(self) -> float:
        """Give the most that was seen, in MiB."""
        return max((mib for _, mib in self.samples), default=0.0)

    def _watch(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError, BenchmarkError):  # a process that has just ended
                self.samples.append((self._done(), memory_mib(self._pid)))
                if self.samples[-1][1] > _TOO_MUCH_MIB:
                    os.kill(self._pid, signal.SIGKILL)
            self._stop.wait(self._every_s)


def memory_mib(pid: int) -> float:
    """Read the RSS of a process and of all that it has started, in MiB."""
    return sum(rss_mib(one) for one in family(pid))


async def seconds_to_rest(pid: int, limit_s: float = 60) -> float:
    """Wait until the server does next to nothing for a second; gives how long that took, infinite if it never did."""
    started = time.perf_counter()
    while (waited := time.perf_counter() - started) < limit_s:
        before = _cpu_s(pid)
        await anyio.sleep(1)
        if _cpu_s(pid) - before < 0.1:
            return waited
    return float("inf")


def _cpu_s(pid: int) -> float:
    return sum(map(processor_s, family(pid)))
