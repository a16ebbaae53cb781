"""Open-vocabulary detection by a model on this machine: no key, nothing leaves it."""

from dinox_mcp.backends.base import Backend, Unready
from dinox_mcp.errors import DinoxError
from dinox_mcp.settings import Settings

PREFERENCE = 20
"""With `auto`, the largest preference that can answer does."""


def unready(settings: Settings, *, caller_has_key: bool) -> Unready | None:  # noqa: ARG001 - asked of every backend
    """Say what is missing before a local model can answer: the packages, or its weights on this machine."""
    from dinox_mcp.backends.local import abilities, extra

    if not extra.installed():
        return Unready('install "dinox-mcp[local]" and run dinox-mcp pull to use a model on this machine')
    try:
        if abilities.is_here(settings):
            return None
    except DinoxError as error:
        return Unready(str(error), installed=True)
    return Unready(f"run dinox-mcp pull {abilities.default(settings)} to use a model on this machine", installed=True)


def create(settings: Settings) -> Backend:
    """Create the backend; the first question imports torch, numpy and transformers, mostly in another process."""
    from dinox_mcp.backends.local import extra

    if settings.model_process == "own" and extra.installed():
        from dinox_mcp.backends.local.process.backend import ProcessBackend

        return ProcessBackend(settings)
    from dinox_mcp.backends.local.backend import LocalBackend

    return LocalBackend(settings)
