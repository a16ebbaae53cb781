"""Servers in memory, called by the SDK's own client, and servers behind a real port."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import CodeType, FunctionType
from typing import Any, Literal

import pytest
from mcp import Client
from mcp.server.mcpserver.tools import Tool

from dinox_mcp.detector import Detector
from dinox_mcp.server.app import build_server
from dinox_mcp.settings import Settings
from tests.fakes import FakeBackend

Era = Literal["auto", "legacy"]
Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def era() -> Era:
    """The newest protocol; test_contract.py runs in both eras."""
    return "auto"


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture(scope="session", autouse=True)
def tools_made_once() -> Iterator[None]:
    """Share the schemas of the tools between servers, as they depend on the tools' signatures alone."""
    make = Tool.from_function
    made: dict[CodeType, Tool] = {}

    def from_function(function: FunctionType, **options: Any) -> Tool:  # noqa: ANN401 - those of the SDK
        code = function.__code__
        if code not in made:
            made[code] = make(function, **options)
        return made[code].model_copy(update={"fn": function, "annotations": options["annotations"]})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tool, "from_function", from_function)
        yield


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

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal, and wait until the process ends; it ends by itself in less time than this waits."""
        self.popen.send_signal(number)
        self.popen.wait(10)


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


@pytest.fixture(scope="session")
def running() -> Iterator[Start]:
    """Give a function that returns an embedded server with the given settings, started once and shared by all tests."""
    servers: dict[tuple[str, frozenset[tuple[str, str]]], Server] = {}

    def of(transport: str = "http", **environment: str) -> Server:
        settings = (transport, frozenset(environment.items()))
        if settings not in servers:
            servers[settings] = Server(transport, DINOX_MCP_BACKEND="embedded", **environment)
        return servers[settings]

    yield of
    for server in servers.values():
        with server.popen:
            server.popen.kill()
