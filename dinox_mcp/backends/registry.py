"""The backends of a detector: which there are, which are ready, and their creation on first use."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from itertools import chain

import anyio
from cachetools import TTLCache

from dinox_mcp.backends.base import Backend, Capabilities, Model, Unready
from dinox_mcp.errors import BackendError, DinoxError, SettingsError
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Need, Output

GROUP = "dinox_mcp.backends"
_READINESS_S = 5


class Backends:
    """The backends of one detector, by name: those given ready-made, and the installed ones on first use."""

    def __init__(self, settings: Settings, given: Iterable[Backend] = ()) -> None:
        self._settings = settings
        self.auto = settings.backend == "auto"  # each request chooses its backends
        self._created: dict[str, Backend] = {backend.name: backend for backend in given}
        self._given = frozenset(self._created)
        self._readiness: TTLCache[tuple[str, bool, bool], Unready | None] = TTLCache(64, _READINESS_S)

    def names(self) -> list[str]:
        """List the names of all backends, in alphabetical order."""
        return sorted({*self._installed, *self._created})

    def usable(self, *, caller_has_key: bool = False) -> list[str]:
        """List the backends that may answer here and now, in the order of preference.

        That is the one that the settings name, or with `auto` each one that has a preference and is ready.
        """
        return self.ready(caller_has_key=caller_has_key) if self.auto else [self._settings.backend]

    def ready(self, *, caller_has_key: bool = False) -> list[str]:
        """List the backends that have a preference and can answer here and now, the most preferred first."""
        return [name for name in self.preferred if self._unready(name, caller_has_key=caller_has_key) is None]

    def unready(self, *, caller_has_key: bool = False) -> dict[str, Unready]:
        """Give what each backend that is not ready lacks, in the order of preference."""
        found = {name: self._unready(name, caller_has_key=caller_has_key) for name in self.preferred}
        return {name: unready for name, unready in found.items() if unready is not None}

    def choose(self, *, caller_has_key: bool = False, model: str | None = None) -> str:
        """Choose the backend that answers by default, or the first one that has the `model`.

        Raises:
            SettingsError: none can answer.
        """
        usable = self.usable(caller_has_key=caller_has_key)
        if self.auto and model is not None:
            usable = [name for name in (*usable, *self.names()) if self._offers(name, model)] or usable
        if not usable:
            raise SettingsError(
                "no backend can answer; reinstall dinox-mcp, or set DINOX_MCP_BACKEND to a plug-in's name"
            )
        return usable[0]

    @cached_property
    def preferred(self) -> tuple[str, ...]:
        """The backends that take part in `auto`, ready or not, the most preferred first."""
        preferences = {name: getattr(self._origin(name), "PREFERENCE", 0) for name in self.names()}
        taking_part = [name for name, preference in preferences.items() if preference > 0]
        return tuple(sorted(taking_part, key=preferences.__getitem__, reverse=True))

    @cached_property
    def _installed(self) -> dict[str, EntryPoint]:
        return installed()  # looking through all packages takes 20 ms

    def needs_key(self, name: str) -> bool:
        """Return whether a backend answers only with a key: its answer to a caller says that the key was accepted."""
        without = self._unready(name, caller_has_key=False, server_key=False)
        return without is not None and self._unready(name, caller_has_key=True, server_key=False) is None

    def _unready(self, name: str, *, caller_has_key: bool, server_key: bool = True) -> Unready | None:
        """Give what a backend lacks, without `server_key` if the key of the settings may not be used.

        It is checked again after a few seconds, as weights may have been downloaded.
        """
        key = name, caller_has_key, server_key
        try:
            return self._readiness[key]
        except KeyError:
            check: Callable[..., Unready | None] | None = getattr(self._origin(name), "unready", None)
            try:
                settings = self._settings if server_key else self._settings.model_copy(update={"api_key": None})
                answer = check(settings, caller_has_key=caller_has_key) if check else None
            except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; the others answer without it
                answer = Unready(
                    f"repair or remove the backend {name}, which fails with {error!r:.200}", installed=True
                )
            self._readiness[key] = answer
            return answer

    def _origin(self, name: str) -> object:
        """Give what says whether a backend takes part in `auto`: a ready-made backend, or its module."""
        if name in self._given:
            return self._created[name]
        try:
            return import_module(self._installed[name].module)
        except Exception:  # noqa: BLE001 - a plug-in may raise anything; `get` explains it
            return None

    def _offers(self, name: str, model: str) -> bool:
        try:
            return model.casefold() in {offer.name.casefold() for offer in self.get(name).models()}
        except DinoxError:
            return False

    def get(self, name: str) -> Backend:
        """Give the backend of a name, created on first use.

        Raises:
            SettingsError: there is none of that name, or it does not load.
        """
        if name not in self._created:
            entry = find(name, self._installed)
            try:
                self._created[name] = entry.load()(self._settings)
            except DinoxError:
                raise
            except Exception as error:
                raise SettingsError(
                    f"the backend {name!r} ({entry.value}) does not load: {error!r}; reinstall it or choose another"
                ) from error
        return self._created[name]

    def combined_capabilities(self, *, caller_has_key: bool = False) -> Capabilities:
        """Combine what all backends that may answer can do; one that does not load is left out."""
        able = []
        for name in self.usable(caller_has_key=caller_has_key):
            with suppress(DinoxError):  # it says why when a request needs it
                able.append(self.get(name).capabilities())
        labels = dict.fromkeys(chain.from_iterable(one.labels or () for one in able))
        anything = any(one.labels is None for one in able)
        return Capabilities(
            answers=frozenset[Need]().union(*(one.answers for one in able)),
            outputs=frozenset[Output]().union(*(one.outputs for one in able)),
            describes=frozenset[Output]().union(*(one.describes for one in able)),
            labels=None if anything else tuple(labels),
            reads=tuple(chain.from_iterable(one.reads for one in able)),
        )

    def remedies(self, *, caller_has_key: bool = False) -> list[str]:
        """List, one line each, how to make the backends ready that cannot answer here and now."""
        remedies = [unready.remedy for unready in self.unready(caller_has_key=caller_has_key).values()]
        if self.auto:
            return remedies
        return [" and then ".join(filter(None, ("set DINOX_MCP_BACKEND to auto", " or ".join(remedies))))]

    def describe(self) -> list[dict[str, object]]:
        """List all backends with what each can do, or why it does not load."""
        return [self._describe(name) for name in self.names()]

    def _describe(self, name: str) -> dict[str, object]:
        try:
            models = self.get(name).models()
        except DinoxError as error:
            return {"name": name, "error": str(error)}
        unready = self._unready(name, caller_has_key=False)
        return {
            "name": name,
            "chosen": name == self.choose(),
            **({"unready": unready.remedy} if unready else {}),
            "models": [_model(model) for model in models],
        }

    async def aclose(self) -> None:
        """Close every backend that was created; one that fails does not keep the others open."""
        failures = []
        while self._created:
            name, backend = self._created.popitem()
            try:
                with anyio.move_on_after(5, shield=True):
                    await backend.aclose()
            except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; all must be closed
                failures.append(f"{name}: {error}")
        if failures:
            raise BackendError(
                f"backends did not close ({', '.join(failures)}); end the program to free what they hold"
            )


def _model(model: Model) -> dict[str, object]:
    able = model.capabilities
    return {
        "name": model.name,
        "about": model.about,
        "loaded": model.loaded,
        "answers": sorted(able.answers),
        "outputs": sorted(able.outputs | able.describes),
        "labels": list(able.labels) if able.labels is not None else "any noun",
    }


def installed() -> dict[str, EntryPoint]:
    """List the installed backends, plug-ins included, by name."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def find(name: str, known: dict[str, EntryPoint] | None = None) -> EntryPoint:
    """Find an installed backend without loading it.

    Raises:
        SettingsError: there is none of that name.
    """
    known = installed() if known is None else known
    if name not in known:
        raise SettingsError(
            f"DINOX_MCP_BACKEND: there is no backend {name!r}; choose auto or one of {', '.join(sorted(known))}"
        )
    return known[name]
