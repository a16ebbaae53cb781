"""Servers in memory, spoken to by the SDK's own client in both protocol eras."""

from collections.abc import AsyncIterator, Callable
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
