"""Open-vocabulary detection by a model on this machine: no key, nothing leaves it."""

from dinox_mcp.backends.base import Backend
from dinox_mcp.settings import Settings


def create(settings: Settings) -> Backend:
    """Create the backend; torch, numpy and transformers are imported by its first question."""
    from dinox_mcp.backends.local.backend import LocalBackend

    return LocalBackend(settings)
