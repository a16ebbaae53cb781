"""Which backends there are, which one answers, and their lives: created on first use, closed together."""

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import anyio

from dinox_mcp.backends.base import Backend, Model
from dinox_mcp.backends.local import extra
from dinox_mcp.errors import BackendError, DinoxError, SettingsError
from dinox_mcp.settings import Settings

GROUP = "dinox_mcp.backends"


class Backends:
    """The backends of one detector, by name: those given ready-made, and the installed ones on first use."""

    def __init__(self, settings: Settings, given: Iterable[Backend] = ()) -> None:
        self._settings = settings
        self._created: dict[str, Backend] = {backend.name: backend for backend in given}

    def names(self) -> list[str]:
        """List the names of all backends, in alphabetical order."""
        return sorted({*installed(), *self._created})

    def choose(self, *, caller_has_key: bool = False, model: str | None = None) -> str:
        """Name the backend that settings ask for.

        `auto` is the cloud where there is a key, else the local one where its extra is installed, else embedded; or,
        where that one does not list the `model`, another one that does.
        """
        if self._settings.backend != "auto":
            return self._settings.backend
        usual = self._usual(caller_has_key=caller_has_key)
        if model is None:
            return usual
        return next((name for name in (usual, *self.names()) if self._offers(name, model)), usual)

    def _usual(self, *, caller_has_key: bool) -> str:
        if caller_has_key or self._settings.api_key:
            return "dinox"
        return "local" if extra.installed() else "embedded"

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
            self._created[name] = _load(name, self._settings)
        return self._created[name]

    def describe(self) -> list[dict[str, object]]:
        """List the installed backends with what each can do, or why it does not load."""
        return [self._describe(name) for name in self.names()]

    def _describe(self, name: str) -> dict[str, object]:
        try:
            models = self.get(name).models()
        except DinoxError as error:
            return {"name": name, "error": str(error)}
        return {"name": name, "chosen": name == self.choose(), "models": [_model(model) for model in models]}

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
            raise BackendError(f"closing failed: {'; '.join(failures)}")


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


def find(name: str) -> EntryPoint:
    """Find an installed backend without loading it.

    Raises:
        SettingsError: there is none of that name.
    """
    known = installed()
    if name not in known:
        raise SettingsError(
            f"DINOX_MCP_BACKEND: there is no backend {name!r}; choose auto or one of {', '.join(sorted(known))}"
        )
    return known[name]


def _load(name: str, settings: Settings) -> Backend:
    entry = find(name)
    try:
        create: Callable[[Settings], Any] = entry.load()
        backend: Backend = create(settings)
    except DinoxError:
        raise
    except Exception as error:
        raise SettingsError(
            f"the backend {name!r} ({entry.value}) does not load: {error!r}; reinstall it or choose another"
        ) from error
    return backend
