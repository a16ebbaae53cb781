"""What every test shares: markers by folder, Hypothesis profiles, a clean environment and the emulated cloud."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.emulator import Emulator, serve

HERE = Path(__file__).parent
LOCAL = HERE / "backends" / "local"
MARKED_FOLDERS = {LOCAL: pytest.mark.models, HERE / "hosts": pytest.mark.hosts}

# The profile `repeatable` draws the same examples in each run, so that CI fails only where a change is at fault. The
# profile `search` draws new ones: `make search`, and the job of that name in .github/workflows/ci.yml.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None, max_examples=50)
settings.register_profile("search", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("repeatable")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import torch, which takes seconds in each worker, to leave out the tests that need it."""
    return True if collection_path == LOCAL and "not models" in config.option.markexpr else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, and those that use a browser by their fixtures."""
    for item in items:
        for folder, mark in MARKED_FOLDERS.items():
            if item.path.is_relative_to(folder):
                item.add_marker(mark)
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the settings of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("DINOX_") or name == "IMAGE_STORAGE_DIRECTORY":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def _emulator() -> Iterator[Emulator]:
    with serve(Emulator()) as emulator:
        yield emulator


@pytest.fixture
def emulator(_emulator: Emulator) -> Emulator:
    """The DINO-X API on loopback, reset before each test: `url`, `key`, `faults`, `stats()`."""
    _emulator.reset()
    return _emulator
