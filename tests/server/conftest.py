"""Servers in memory, spoken to by the SDK's own client in both protocol eras, and servers behind a real port."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal

import pytest
from mcp import Client

from dinox_mcp.detector import Detector
from dinox_mcp.server.app import build_server
from dinox_mcp.settings import Settings
from tests.fakes import FakeBackend

Era = Literal["auto", "legacy"]
Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(params=["auto", "legacy"], ids=["2026-07-28", "2025-11-25"])
def era(request: pytest.FixtureRequest) -> Era:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def connect(backend: FakeBackend, era: Era) -> Connect:
    """Give a function that connects a client to a server over the fake backend, with any settings."""

    @asynccontextmanager
    async def connection(**settings: object) -> AsyncIterator[Client]:
        detector = Detector(Settings.load(backend=backend.name, **settings), backends=[backend])
        async with detector, Client(build_server(detector), mode=era, raise_exceptions=True) as client:
            yield client

    return connection


class Server:
    """A server process on a free port."""

    def __init__(self, transport: str, **environment: str) -> None:
        self.popen = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "dinox_mcp", "serve", "--transport", transport, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | environment,
        )
        assert self.popen.stderr is not None
        line = self.popen.stderr.readline().decode()
        match = re.search(r"http://\S+", line)
        assert match, line + self.popen.stderr.read().decode()
        self.url = match[0]
        self.root = self.url.rpartition("/")[0]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send a signal; give the seconds until the process ended."""
        started = time.monotonic()
        self.popen.send_signal(number)
        self.popen.wait(10)
        return time.monotonic() - started


Start = Callable[..., Server]


@pytest.fixture
def start() -> Iterator[Start]:
    """Give a function that starts servers, which end with the test."""
    servers: list[Server] = []

    def starting(transport: str = "http", **environment: str) -> Server:
        servers.append(Server(transport, **environment))
        return servers[-1]

    yield starting
    for server in servers:
        with server.popen:
            server.popen.kill()
