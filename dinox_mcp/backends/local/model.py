"""What a host asks of a model: to be fetched, loaded, and explained when it fails."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

from dinox_mcp.backends.local.families.base import Adapter
from dinox_mcp.errors import BackendError

Tell = Callable[[float, str], None]
"""Hears, in a worker thread, how far a slow step is (0 to 1) and what it is; may raise to stop the step."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory: `name` as results tell it, `fingerprint` of its weights, `batch` pictures per pass."""

    adapter: Adapter
    name: str
    fingerprint: str
    batch: int = 1
    notes: tuple[str, ...] = ()


class Model(Protocol):
    """A model that can be had. All methods are slow: they are called in a worker thread."""

    @property
    def key(self) -> str:
        """What tells this model from others, as a user would write it."""
        ...

    def identify(self) -> Hashable:
        """Give what is equal for two names of the same model.

        Raises:
            SettingsError: there is no such model or device.
            BackendError: what is missing, and the remedy.
        """
        ...

    def fetch(self, tell: Tell) -> int:
        """Bring the weights onto this machine; gives the memory that they will take, in bytes.

        Raises:
            BackendError: what is missing, and the remedy.
        """
        ...

    def load(self) -> Loaded:
        """Load into memory what was fetched.

        Raises:
            BackendError: what is wrong, and the remedy.
        """
        ...

    def trim(self) -> None:
        """Collect what nothing refers to any more, and give its memory back to the system."""
        ...

    def explain(self, error: Exception) -> BackendError:
        """Say in one line what an error of the model's own code means, and the remedy."""
        ...
