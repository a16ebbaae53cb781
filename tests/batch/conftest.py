"""What the tests share: installed backends, a folder without links in its path, a website of it, a store in memory."""

from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import fsspec
import pytest

from dinox_mcp.backends import registry
from tests.batch.containers import Website, served


@pytest.fixture(scope="module", autouse=True)
def listed_backends() -> Iterator[None]:
    """List the installed backends once, as that takes longer than a detector of a test otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "entry_points", cache(entry_points))
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path.resolve()


@pytest.fixture
def site(folder: Path) -> Iterator[Website]:
    with served(folder) as site:
        yield site


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """A store in memory, empty before and after."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()
