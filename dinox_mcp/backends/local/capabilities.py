"""What a model can do, known from its name, without torch and without the network.

A name that reveals nothing, of a model that is not on this machine yet, is taken for a detector of labels. What it is
shows when it is loaded, and is checked then.
"""

import json
import os
import shutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dinox_mcp.backends import local
from dinox_mcp.backends.base import Capabilities
from dinox_mcp.backends.local.checkpoints import presets
from dinox_mcp.backends.local.checkpoints.presets import PRESETS, ModelSource, resolve
from dinox_mcp.backends.local.models import FAMILIES, Family
from dinox_mcp.errors import InputError, SettingsError, UnsupportedError
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Need, Output

_DRIVER = Path("/dev/nvidiactl")


_UNKNOWN = Family("")


def of_type(model_type: str) -> Capabilities:
    """Return what the models can do whose `config.json` has this `model_type`."""
    return FAMILIES.get(model_type, _UNKNOWN).capabilities


def of_name(name: str | None, settings: Settings, cache: Path | None = None) -> Capabilities:
    """Return what a model can do.

    Args:
        name: The model; None for the default.
        settings: The settings.
        cache: The cache of the hub; None for the usual one.

    Raises:
        InputError: a caller gave the name, and there is no such model.
    """
    configured = name is None
    name = name or default(settings)
    try:
        source = resolve(name, "cpu")
    except SettingsError as error:
        if configured:  # the first request reports it, with the variable's name
            return _UNKNOWN.capabilities
        raise InputError(f"model: {str(error).partition(': ')[2]}") from None
    known = any(preset.repo == source.repo for preset in PRESETS.values())
    configuration = source.folder / "config.json" if source.folder else None if known else _cached(source, cache)
    model_type = _model_type(configuration)
    if model_type is not None:
        return of_type(model_type)
    repository = str(source.repo).lower()
    return next((family for family in FAMILIES.values() if _is_of(repository, family)), _UNKNOWN).capabilities


def default(settings: Settings) -> str:
    """Return the name of the model that is used where a caller names none.

    Where the settings name none either, it depends on whether there is an NVIDIA GPU. This is a guess: torch, which
    would know, takes seconds to import.
    """
    return settings.model or presets.default("objects", _device_kind(settings))


def is_here(settings: Settings) -> bool:
    """Return whether the weights of the default model are on this machine, without using the network.

    Raises:
        SettingsError: the settings name a model that does not exist.
        BackendError: the cache cannot be read.
    """
    source = resolve(default(settings), _device_kind(settings))
    if source.folder is None and not any(
        _cache_folder().glob(f"models--{str(source.repo).replace('/', '--')}/snapshots/*")
    ):
        return False  # mostly so; to check the rest takes the hub's library, which is slow to import
    from dinox_mcp.backends.local.checkpoints.hub import Hub

    return Hub().find(source) is not None


def _cache_folder() -> Path:
    """Find the cache of the hub's library where that library finds it, without importing it."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    hub = os.environ.get("HF_HOME") or f"{home}/huggingface"
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or f"{hub}/hub"
    return Path(os.path.expandvars(cache)).expanduser()


def _device_kind(settings: Settings) -> presets.DeviceKind:
    gpu = settings.device.startswith("cuda") or (settings.device == "auto" and _has_gpu())
    return "cuda" if gpu else "cpu"


def require(able: Capabilities, model: str, needs: frozenset[Need], include: frozenset[Output]) -> None:
    """Check that a loaded model can do what a request needs, whatever its name promised.

    Raises:
        UnsupportedError: it cannot; the message names models that can.
    """
    if unmet := needs - able.answers:
        can = _remedy([family for family in FAMILIES.values() if needs <= family.capabilities.answers])
        raise UnsupportedError(f"the model {model} cannot do {' and '.join(sorted(unmet))}; {can}")
    if missing := include - able.outputs:
        can = _remedy([family for family in FAMILIES.values() if include <= family.capabilities.outputs])
        raise UnsupportedError(
            f"the model {model} has no {' and '.join(sorted(missing))}; ask without include={sorted(missing)}, or {can}"
        )


def _remedy(families: Sequence[Family]) -> str:
    names = [
        name for name, preset in PRESETS.items() if any(_is_of(preset.repo.lower(), family) for family in families)
    ]
    return f"choose the model {' or '.join(names[:2])} (DINOX_MCP_MODEL={names[0]})" if names else "no model here can"


def _is_of(repository: str, family: Family) -> bool:
    return any(part in repository for part in family.repositories)


def _model_type(configuration: Path | None) -> str | None:
    try:
        config = json.loads(configuration.read_text(encoding="utf-8")) if configuration else None
    except (OSError, ValueError):
        return None
    return str(config.get("model_type")) if isinstance(config, dict) else None


def _cached(source: ModelSource, cache: Path | None) -> Path | None:
    """Find the configuration of a model of the hub, if it is on this machine."""
    local.disable_telemetry()
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:  # the extra is not installed
        return None
    found = try_to_load_from_cache(str(source.repo), "config.json", cache_dir=cache, revision=source.revision)
    return Path(found) if isinstance(found, str) else None


def _has_gpu() -> bool:
    """Return whether there is NVIDIA's driver, and a build of torch that could use it."""
    try:
        if version("torch").endswith("+cpu"):
            return False
    except PackageNotFoundError:
        return False
    return shutil.which("nvidia-smi") is not None or _DRIVER.exists()
