"""The cloud backend at the emulator, in a hurry."""

import io
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from PIL import Image

from dinox_mcp.backends.dinox.backend import DinoxBackend
from dinox_mcp.backends.dinox.tasks import RetrySettings
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from tests.emulator import Emulator

QUICK = RetrySettings(attempts=3, first_s=0.01, longest_s=0.02, first_poll_s=0.03, heartbeat_s=0.05)

Connect = Callable[..., DinoxBackend]


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> Picture:
    """Make a picture of pixels, as it would arrive."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Picture.from_bytes(buffer.getvalue())


def plain(width: int = 60, height: int = 40, colour: str = "teal") -> Picture:
    """Make a small picture."""
    return encoded(Image.new("RGB", (width, height), colour))


def noisy(width: int, height: int, strength: float) -> Image.Image:
    """Make what JPEG likes least: noise, the same each time."""
    tile = np.random.default_rng(1).normal(128, strength, (250, 250, 3)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.tile(tile, (height // 250 + 1, width // 250 + 1, 1))[:height, :width])


@pytest.fixture
async def connect(emulator: Emulator) -> AsyncIterator[Connect]:
    """Make backends that know the emulator and its key, and close them in the end."""
    backends = []

    def make(*, retry: RetrySettings = QUICK, **settings: object) -> DinoxBackend:
        known = {"api_base_url": emulator.url, "api_key": emulator.key}
        backends.append(DinoxBackend(Settings(**(known | settings)), retry))
        return backends[-1]

    yield make
    for backend in backends:
        await backend.aclose()


@pytest.fixture
async def dinox(connect: Connect) -> DinoxBackend:
    return connect()
