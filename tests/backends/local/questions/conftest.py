"""A local backend over a tiny model, and pictures to ask it about."""

import io
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from dinox_mcp.backends.local.backend import LocalBackend
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from tests.backends.local.pictures import picture as draw

if find_spec("torch") is None or find_spec("transformers") is None:  # the extra is not installed
    collect_ignore_glob = ["test_*.py"]

Open = Callable[[str], AbstractAsyncContextManager[LocalBackend]]


@pytest.fixture
def local(checkpoint: Callable[[str], Path], tmp_path: Path) -> Open:
    """Open a backend over a family's tiny checkpoint, as in `async with local("owlv2") as backend`."""

    @asynccontextmanager
    async def opened(family: str) -> AsyncIterator[LocalBackend]:
        backend = LocalBackend(Settings.load(model=str(checkpoint(family)), device="cpu"), cache=tmp_path / "labels")
        yield backend
        await backend.aclose()

    return opened


def photo(width: int = 160, height: int = 120, seed: int = 0) -> Picture:
    """Make a picture with things in it."""
    buffer = io.BytesIO()
    draw(width, height, seed=seed).save(buffer, "PNG")
    return Picture.from_bytes(buffer.getvalue(), f"photo {seed}")
