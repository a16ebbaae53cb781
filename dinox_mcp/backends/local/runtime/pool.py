"""The models that were asked for, by all their names, and what is known of each."""

from collections.abc import Callable, Hashable
from typing import NamedTuple

import anyio
import anyio.to_thread

from dinox_mcp.backends.base import Call, Capabilities
from dinox_mcp.backends.local import abilities, extra
from dinox_mcp.backends.local.models.interfaces import Model
from dinox_mcp.backends.local.runtime.caches import ImageStates, Room
from dinox_mcp.backends.local.runtime.queue import closed
from dinox_mcp.backends.local.runtime.worker import Host
from dinox_mcp.settings import Settings


class Known(NamedTuple):
    """What is known of a model that was loaded once: its name as answers tell it, and what it can be asked."""

    name: str
    able: Capabilities


class Hosts:
    """Keeps a host for each model, whichever name it is asked by; they share one room and one memory of pictures.

    `models` makes a model of a name, which is None for the default; `unloaded` hears of those that leave memory.
    """

    def __init__(
        self, settings: Settings, models: Callable[[str | None], Model], unloaded: Callable[[Host], object]
    ) -> None:
        self._settings = settings
        self._models = models
        self._unloaded = unloaded
        self.room = Room(settings.models_max_bytes)
        self.states = ImageStates(settings.features_max_bytes)
        self._hosts: dict[Hashable, tuple[Host, Model]] = {}
        self._named: dict[str | None, Host] = {}
        self._known: dict[Host, Known] = {}
        self._closed = False

    async def get(self, name: str | None) -> Host:
        """Give the host of a model.

        Raises:
            UnsupportedError: the extra is not installed.
            SettingsError: there is no such model or device.
            BackendError: all was closed.
        """
        extra.require()
        if name not in self._named:
            model = self._models(name)
            others = list(self._hosts.values())

            def identify() -> tuple[Hashable, dict[Hashable, Host]]:
                """Say which model it is, and which the others are by now: fetched, they are known by their commit."""
                return model.identify(), {other.identify(): host for host, other in others}

            identity, known = await anyio.to_thread.run_sync(identify, abandon_on_cancel=True)  # may import torch
            if self._closed:
                raise closed()
            host = known.get(identity) or self._hosts.setdefault(identity, (self._host(model), model))[0]
            self._named[name] = host
        return self._named[name]

    async def know(self, host: Host, call: Call) -> Known:
        """Load a model if it is not in memory, and say what it is."""
        if not host.ready or host not in self._known:
            self._known[host] = await host.ask(
                lambda loaded, _: Known(loaded.name, abilities.of_type(loaded.adapter.family)),
                client=call.client,
                progress=call.progress,
            )
        return self._known[host]

    def known(self, name: str | None) -> Known | None:
        """Say what is known of a model from earlier."""
        host = self._named.get(name)
        return self._known.get(host) if host else None

    def ready(self) -> set[str | None]:
        """Give the names of the models that are in memory."""
        return {name for name, host in self._named.items() if host.ready}

    async def aclose(self) -> None:
        """Stop what runs, and unload all models."""
        self._closed = True
        async with anyio.create_task_group() as group:
            for host, _ in self._hosts.values():
                group.start_soon(host.aclose)

    def _host(self, model: Model) -> Host:
        return Host(
            model,
            self.room,
            self.states,
            queue_max=self._settings.queue_max,
            idle_s=self._settings.idle_unload_s,
            unloaded=self._unloaded,
        )
