"""The workers of all models in use, and what is known of each model."""

from collections.abc import Callable, Hashable
from functools import partial
from typing import NamedTuple

import anyio
import anyio.to_thread

from dinox_mcp.backends import local
from dinox_mcp.backends.base import Call, Capabilities
from dinox_mcp.backends.local import capabilities
from dinox_mcp.backends.local.checkpoints.checkpoint import Checkpoint
from dinox_mcp.backends.local.checkpoints.presets import Role
from dinox_mcp.backends.local.runtime.caches import FeatureCache, ModelMemory
from dinox_mcp.backends.local.runtime.queue import closed
from dinox_mcp.backends.local.runtime.worker import Worker
from dinox_mcp.settings import Settings

Make = Callable[..., Checkpoint]
"""Makes the checkpoint of a name (None for the default), with the options `role` and `follows` of `Checkpoint`."""


class Known(NamedTuple):
    """What is known of a model that was loaded once: its name in results, and what it can do."""

    name: str
    capabilities: Capabilities


class Workers:
    """Keeps one worker for each model, whichever name it is requested by; they share memory and features.

    Args:
        settings: The settings.
        make: Makes checkpoints; tests give their own.
        unloaded: Called with a worker whose model leaves memory.
    """

    def __init__(
        self, settings: Settings, make: Make | None = None, unloaded: Callable[[Worker], object] = lambda _: None
    ) -> None:
        self.settings = settings
        self._make = make or partial(Checkpoint, settings=settings)
        self._unloaded = unloaded
        self.memory = ModelMemory(settings.models_max_bytes)
        self.features = FeatureCache(settings.features_max_bytes)
        self._workers: dict[Hashable, tuple[Worker, Checkpoint]] = {}
        self._named: dict[tuple[str | None, Role, bool], Worker] = {}
        self._known: dict[Worker, Known] = {}
        self._closed = False

    async def get(self, name: str | None, role: Role = "objects", *, follows: bool = False) -> Worker:
        """Return the worker of a model.

        Args:
            name: The model; None for the default of its role.
            role: What it is used for.
            follows: Whether it follows objects through a video; features of frames are not kept.

        Raises:
            UnsupportedError: the extra is not installed.
            SettingsError: there is no such model or device.
            BackendError: all was closed.
        """
        local.require_installed()
        if self._closed:
            raise closed()
        key = name, role, follows
        if key not in self._named:
            checkpoint = self._make(name, role=role, follows=follows)
            others = list(self._workers.values())

            def identify() -> tuple[Hashable, dict[Hashable, Worker]]:
                """Identify it and, by now, the others: once fetched, they are known by their commit."""
                return checkpoint.identify(), {other.identify(): worker for worker, other in others}

            identity, known = await anyio.to_thread.run_sync(identify, abandon_on_cancel=True)  # may import torch
            if self._closed:
                raise closed()
            new = self._worker(checkpoint, FeatureCache(0) if follows else self.features)
            self._named[key] = known.get(identity) or self._workers.setdefault(identity, (new, checkpoint))[0]
        return self._named[key]

    async def know(self, worker: Worker, call: Call) -> Known:
        """Load a model if it is not in memory, and return what is known of it."""
        if not worker.ready or worker not in self._known:
            self._known[worker] = await worker.run(
                lambda loaded, _: Known(loaded.name, capabilities.of_type(loaded.model.family)),
                client=call.client,
                progress=call.progress,
            )
        return self._known[worker]

    def known(self, name: str | None) -> Known | None:
        """Return what is known of a model from earlier."""
        worker = self._named.get((name, "objects", False))
        return self._known.get(worker) if worker else None

    def ready(self) -> set[str | None]:
        """Return the names of the models for objects that are in memory."""
        return {name for (name, role, _), worker in self._named.items() if role == "objects" and worker.ready}

    async def aclose(self) -> None:
        """Stop what runs, and unload all models."""
        self._closed = True
        async with anyio.create_task_group() as group:
            for worker, _ in self._workers.values():
                group.start_soon(worker.aclose)

    def _worker(self, checkpoint: Checkpoint, features: FeatureCache) -> Worker:
        return Worker(
            checkpoint,
            self.memory,
            features,
            queue_max=self.settings.queue_max,
            idle_s=self.settings.idle_unload_s,
            unloaded=self._unloaded,
        )
