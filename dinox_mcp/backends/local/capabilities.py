"""What a model can be asked, known from its name: neither torch nor the network is needed to say so.

A name that tells nothing, of a model that is not on this machine yet, is taken for a detector of labels; what it is
shows when it is loaded, and is checked then.
"""

import json
import os
import shutil
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dinox_mcp.backends.base import Capabilities
from dinox_mcp.backends.local import extra
from dinox_mcp.backends.local.checkpoints import presets
from dinox_mcp.backends.local.checkpoints.presets import PRESETS, ModelSource, resolve
from dinox_mcp.backends.local.models import FAMILIES
from dinox_mcp.errors import InputError, SettingsError, UnsupportedError
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Need, Output

_LABELS: frozenset[Need] = frozenset({"text prompts", "prompt-free detection"})
_ABILITIES = {
    "owl": Capabilities(
        answers=_LABELS
        | {"examples", "points as examples", "negative examples", "examples in other pictures", "saved prompts"}
    ),
    "grounding_dino": Capabilities(answers=_LABELS | {"descriptions"}),
    "omdet": Capabilities(answers=_LABELS),
    # One label takes it seconds, so it is not asked for a thousand.
    "sam3": Capabilities(
        answers=frozenset({"text prompts", "examples", "negative examples"}), outputs=frozenset({"masks"})
    ),
}
_SIGNS = {
    "owl": ("owlv2", "owlvit", "owl-vit"),
    "grounding_dino": ("grounding-dino", "grounding_dino", "groundingdino", "llmdet"),
    "omdet": ("omdet",),
    "sam3": ("sam3",),
}
"""What the names of published models of a family have in them."""
_DRIVER = Path("/dev/nvidiactl")


def of_type(model_type: str) -> Capabilities:
    """Say what models can be asked whose `config.json` has this `model_type`."""
    return _ABILITIES.get(FAMILIES.get(model_type, ""), Capabilities(answers=_LABELS))


def of_name(name: str | None, settings: Settings, cache: Path | None = None) -> Capabilities:
    """Say what a model can be asked; None is the default. `cache` is the hub's, by default the usual one.

    Raises:
        InputError: a caller gave the name, and it is none of a model.
    """
    configured = name is None
    name = name or default(settings)
    try:
        source = resolve(name, "cpu")
    except SettingsError as error:
        if configured:  # the first question tells, with the variable's name
            return Capabilities(answers=_LABELS)
        raise InputError(f"model: {str(error).partition(': ')[2]}") from None
    known = any(preset.repo == source.repo for preset in PRESETS.values())
    configuration = source.folder / "config.json" if source.folder else None if known else _cached(source, cache)
    model_type = _model_type(configuration)
    if model_type is not None:
        return of_type(model_type)
    repository = str(source.repo).lower()
    family = next((family for family, signs in _SIGNS.items() if any(sign in repository for sign in signs)), "")
    return _ABILITIES.get(family, Capabilities(answers=_LABELS))


def default(settings: Settings) -> str:
    """Name the model that is asked where a caller names none.

    Where the settings name none either, it depends on whether there is an NVIDIA GPU; this is a guess, as torch, which
    would know, takes seconds to import.
    """
    return settings.model or presets.default("objects", _device_kind(settings))


def is_here(settings: Settings) -> bool:
    """Tell whether the weights of the default model are on this machine; asks no network.

    Raises:
        SettingsError: the settings name a model that does not exist.
        BackendError: the cache cannot be read.
    """
    source = resolve(default(settings), _device_kind(settings))
    if source.folder is None and not any(
        _cache_folder().glob(f"models--{str(source.repo).replace('/', '--')}/snapshots/*")
    ):
        return False  # most often so; to be certain of the rest takes the hub's library, which is slow to import
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
    """Refuse what a loaded model cannot be asked, whatever its name promised.

    Raises:
        UnsupportedError: it cannot; the message names models that can.
    """
    if unmet := needs - able.answers:
        can = _who(needs <= ability.answers for ability in _ABILITIES.values())
        raise UnsupportedError(f"the model {model} cannot do {' and '.join(sorted(unmet))}; {can}")
    if missing := include - able.outputs:
        can = _who(include <= ability.outputs for ability in _ABILITIES.values())
        raise UnsupportedError(
            f"the model {model} has no {' and '.join(sorted(missing))}; ask without include={sorted(missing)}, or {can}"
        )


def _who(able: Iterable[bool]) -> str:
    families = {family for family, can in zip(_ABILITIES, able, strict=True) if can}
    names = [
        name
        for name, preset in PRESETS.items()
        if any(sign in preset.repo.lower() for family in families for sign in _SIGNS[family])
    ]
    return f"choose the model {' or '.join(names[:2])} (DINOX_MCP_MODEL={names[0]})" if names else "no model here can"


def _model_type(configuration: Path | None) -> str | None:
    try:
        config = json.loads(configuration.read_text(encoding="utf-8")) if configuration else None
    except (OSError, ValueError):
        return None
    return str(config.get("model_type")) if isinstance(config, dict) else None


def _cached(source: ModelSource, cache: Path | None) -> Path | None:
    """Find the configuration of a model of the hub, if it is on this machine."""
    extra.turn_telemetry_off()
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:  # the extra is not installed
        return None
    found = try_to_load_from_cache(str(source.repo), "config.json", cache_dir=cache, revision=source.revision)
    return Path(found) if isinstance(found, str) else None


def _has_gpu() -> bool:
    """Look for NVIDIA's driver, and for a build of torch that could use it."""
    try:
        if version("torch").endswith("+cpu"):
            return False
    except PackageNotFoundError:
        return False
    return shutil.which("nvidia-smi") is not None or _DRIVER.exists()
