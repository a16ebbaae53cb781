"""What the tests of sources share: a folder without links in its path, a website of it, and a store in memory."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from tests.batch.containers import Website, served


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
