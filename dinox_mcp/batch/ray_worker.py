"""A worker on a Ray cluster: it works on shards of a run with a detector of its own, which it makes of settings."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import anyio.to_thread

from dinox_mcp import __version__
from dinox_mcp.batch.manifest import MANIFEST, Shard
from dinox_mcp.batch.parts import Done
from dinox_mcp.batch.search import answered_by
from dinox_mcp.batch.shards import Batch, Detecting, run_shard
from dinox_mcp.errors import SettingsError
from dinox_mcp.settings import Settings


class Closing(Detecting, Protocol):
    """A detector that is closed in the end."""

    async def aclose(self) -> None:
        """Close connections, models and threads."""
        ...


Make = Callable[[Settings], Closing]


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker must know; it can be pickled, and holds no secret.

    Attributes:
        make: makes a detector of settings.
        settings: the options that are set, as `Settings.without_secrets` gives them.
        batch: the run.
        answering: the version, and the backends and models that must answer, so that all workers find the same.
    """

    make: Make
    settings: Mapping[str, Any]
    batch: Batch
    answering: Any


class Worker:
    """Works on shards in a process of its own, one after another; Ray makes it an actor."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._detector: Closing | None = None
        self._share = 0.0

    async def work(self, shard: Shard) -> Done:
        """Finish a shard.

        Raises:
            DinoxError: the run has to stop.
        """

        async def report(share: float, _: str) -> None:
            self._share = share

        self._share = 0.0
        if self._detector is None:
            # Here and not in the constructor, where Ray would wrap the error in a death.
            self._detector = await anyio.to_thread.run_sync(_open, self._orders)
        return await run_shard(self._detector, self._orders.batch, shard, report)

    async def share(self) -> float:
        """Return which share of the shard in hand is done."""
        return self._share

    async def close(self) -> None:
        """Close the detector; processes of its models end with it."""
        if self._detector is not None:
            await self._detector.aclose()


def _open(orders: Orders) -> Closing:
    """Make a detector, and check that it answers as that of the driver does. Blocks.

    Raises:
        SettingsError: this machine lacks the run's folder, or the same backend and model.
    """
    run, here = orders.batch.run, socket.gethostname()
    if not (run / MANIFEST).is_file():
        raise SettingsError(
            f"the worker on {here} does not have the run's folder {run}; choose --out on a file system that all "
            "machines of the cluster mount"
        )
    # Without a key, whatever the environment of this machine has: no call of a worker is ever paid.
    settings = Settings.load(**orders.settings).model_copy(update={"api_key": None})
    detector = orders.make(settings)
    if (own := answering(detector, orders.batch)) != orders.answering:
        raise SettingsError(
            f"the worker on {here} would answer with {own} instead of {orders.answering}; install the same version, "
            "extras and models on all machines"
        )
    return detector


def answering(detector: Detecting, batch: Batch) -> list[Any]:
    """Name the version, and the backends, models and thresholds that answer the request of a run."""
    return [__version__, *answered_by(detector.backends, detector.pipeline.router.plan(batch.request))]
