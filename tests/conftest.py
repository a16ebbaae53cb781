"""What every test shares."""

import os
from collections.abc import Iterator

import pytest

from tests.emulator import Emulator, serve


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on the settings of whoever runs it."""
    for name in list(os.environ):
        if name.startswith("DINOX_") or name == "IMAGE_STORAGE_DIRECTORY":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def _emulator() -> Iterator[Emulator]:
    with serve(Emulator()) as emulator:
        yield emulator


@pytest.fixture
def emulator(_emulator: Emulator) -> Emulator:
    """The DINO-X API on loopback, as new: `url`, `key`, `faults`, `stats()`."""
    _emulator.reset()
    return _emulator
