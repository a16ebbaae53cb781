"""One backend for all tests of the embedded backend, as loading its models takes a moment."""

import pytest

from dinox_mcp.backends.base import Backend
from dinox_mcp.backends.embedded import create
from dinox_mcp.settings import Settings


@pytest.fixture(scope="session")
def backend() -> Backend:
    return create(Settings.load())
