"""Open-vocabulary detection by models on this machine: no key, nothing leaves it."""

import os
from importlib.util import find_spec
from pathlib import Path

from dinox_mcp.backends.base import Backend, Unready
from dinox_mcp.errors import DinoxError, UnsupportedError
from dinox_mcp.settings import Settings

PREFERENCE = 20
"""With `auto`, the largest preference that can answer does."""
_TORCH = ("torch", "transformers")


def unready(settings: Settings, *, caller_has_key: bool) -> Unready | None:  # noqa: ARG001 - the same for all backends
    """Return what is missing before a local model can answer: the packages, or its weights on this machine."""
    from dinox_mcp.backends.local.checkpoints.presets import default_model

    model = default_model(settings)
    if not has_torch() and not runs_without_torch(settings):
        return Unready(f"install the extra 'local' (dinox-mcp doctor prints how) to use the model {model}")
    try:
        if is_here(settings):
            return None
    except DinoxError as error:
        return Unready(str(error), installed=has_torch())
    return Unready(f"run dinox-mcp pull {model} to use a model on this machine", installed=has_torch())


def is_here(settings: Settings) -> bool:
    """Return whether the weights of the default model are on this machine, without using the network.

    Raises:
        SettingsError: the settings name a model that does not exist.
        BackendError: the cache cannot be read.
    """
    from dinox_mcp.backends.local.checkpoints import presets

    source = presets.resolve(presets.default_model(settings), presets.device_kind(settings))
    kept = f"models--{str(source.repo).replace('/', '--')}/snapshots/*"
    if source.folder is None and not any(_cache_folder().glob(kept)):
        return False  # mostly so; to check the rest takes the hub's library, which is slow to import
    from dinox_mcp.backends.local.checkpoints.hub import Hub

    return Hub().find(source) is not None


def _cache_folder() -> Path:
    """Find the cache of the hub's library where that library finds it, without importing it."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    hub = os.environ.get("HF_HOME") or f"{home}/huggingface"
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or f"{hub}/hub"
    return Path(os.path.expandvars(cache)).expanduser()


def create(settings: Settings) -> Backend:
    """Create the backend; the first request imports what runs models, mostly in another process."""
    if settings.model_process == "own":
        from dinox_mcp.backends.local.process import ProcessBackend

        return ProcessBackend(settings)
    from dinox_mcp.backends.local.backend import LocalBackend

    return LocalBackend(settings)


def has_torch() -> bool:
    """Return whether the packages of the `local` extra are installed, without importing any."""
    return all(find_spec(package) is not None for package in _TORCH)


def allows_graphs(settings: Settings) -> bool:
    """Return whether the settings allow ONNX Runtime, which runs on the CPU and in float32 or int8."""
    shortened = settings.precision in {"bfloat16", "float16"}
    return settings.runtime != "torch" and settings.device in {"auto", "cpu"} and not shortened


def runs_without_torch(settings: Settings) -> bool:
    """Return whether the model of the settings may run without torch; a model that is not a preset may."""
    from dinox_mcp.backends.local.checkpoints.presets import PRESETS, default_model

    if not allows_graphs(settings):
        return False
    preset = PRESETS.get(default_model(settings))
    return preset is None or preset.without_torch


def masks_without_torch(settings: Settings) -> bool:
    """Return whether the model for masks may run without torch, in images; one that is not a preset may."""
    from dinox_mcp.backends.local.checkpoints.presets import DESCRIBING, default

    preset = DESCRIBING.get(settings.masks_model or default("masks", "cpu"))
    return allows_graphs(settings) and (preset is None or preset.without_torch)


def require_torch(
    model: str = "this model", instead: str = "choose the model balanced or fast, which need neither"
) -> None:
    """Refuse to go on without the packages of the extra; call it before their first import.

    Args:
        model: What needs them.
        instead: What to do without them.

    Raises:
        UnsupportedError: they are not installed.
    """
    if not has_torch():
        raise UnsupportedError(
            f"{model} needs torch and transformers, which are not installed; {instead}, or install the extra 'local' "
            "with the command that dinox-mcp doctor prints"
        )
    disable_telemetry()


def disable_telemetry() -> None:
    """Keep huggingface_hub from reporting what is used; it reads the variable when it is first imported."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
