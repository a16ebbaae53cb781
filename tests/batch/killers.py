"""A detector whose backend dies of some images, for tests of processes that are killed: the width says which."""

import os
import signal
from pathlib import Path

import anyio

from dinox_mcp.backends.base import Call
from dinox_mcp.batch.manifest import Shard
from dinox_mcp.batch.parts import Done
from dinox_mcp.batch.ray_engine import Worker
from dinox_mcp.detector import Detector
from dinox_mcp.errors import UnreachableError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest, Detections
from tests.fakes import FakeBackend

USUAL, ONCE, ALWAYS, UNREACHABLE = 100, 101, 102, 103
"""Widths of images: harmless, one that kills the first process that works on it, each one, and the backend."""


class Deadly(FakeBackend):
    """Finds what the fake finds, names its process as the model, and dies of some images."""

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        if image.width == ALWAYS or (image.width == ONCE and _is_first_death(Path(f"{image.source}.killed"))):
            os.kill(os.getpid(), signal.SIGKILL)
        if image.width == UNREACHABLE:
            raise UnreachableError("nobody answers; try later")
        await anyio.sleep(0.01)
        found = await super().detect(image, request, call)
        return found.model_copy(update={"model": f"process {os.getpid()}"})


def _is_first_death(mark: Path) -> bool:
    """Return whether no process has died here before, and leave a mark with this one."""
    try:
        with mark.open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return False
    return True


class Forgetful(Worker):
    """A worker that dies once after it has finished a shard, before anybody hears of it."""

    async def work(self, shard: Shard) -> Done:
        done = await super().work(shard)
        if _is_first_death(self._orders.batch.run / "killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        return done


class DeadlyDetector(Detector):
    """A detector with that backend, which every worker makes for itself."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, [Deadly()])


def settings() -> Settings:
    """Choose that backend."""
    return Settings.load(backend="fake")
