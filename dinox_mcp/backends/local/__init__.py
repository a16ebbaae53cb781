"""Open-vocabulary detection by a model on this machine: no key, nothing leaves it."""

from dinox_mcp.backends.base import Backend
from dinox_mcp.settings import Settings


def create(settings: Settings) -> Backend:
    """Create the backend; the first question imports torch, numpy and transformers, mostly in another process."""
    from dinox_mcp.backends.local import extra

    if settings.model_process == "own" and extra.installed():
        from dinox_mcp.backends.local.process.backend import ProcessBackend

        return ProcessBackend(settings)
    from dinox_mcp.backends.local.backend import LocalBackend

    return LocalBackend(settings)
