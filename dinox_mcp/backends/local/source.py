"""The models that users name: found in presets, on the hub or in a folder, and loaded from a folder."""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from dinox_mcp.backends.local import extra
from dinox_mcp.backends.local.families import FAMILIES
from dinox_mcp.backends.local.families.base import Interrupted
from dinox_mcp.backends.local.model import Loaded, Tell
from dinox_mcp.errors import BackendError, DinoxError, ServiceError, SettingsError
from dinox_mcp.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from dinox_mcp.backends.local.device import Device
    from dinox_mcp.backends.local.hub import Hub
    from dinox_mcp.backends.local.presets import ModelSource

_CUDA_BATCH = 8
_FETCHED = 0.2  # of the progress of a first question
_CACHE_FORMAT = b"1"


class Checkpoint:
    """A model by the name that a user gave it; None is the default of the device."""

    def __init__(self, name: str | None, settings: Settings, hub: "Callable[[], Hub] | None" = None) -> None:
        self.key = name or "default"
        self._name = name
        self._settings = settings
        self._hub = hub
        self._folder = Path()

    def identify(self) -> "ModelSource":
        """Find out where the files come from: None, a preset and its repository may mean the same.

        Raises:
            SettingsError: there is no such model or device.
            BackendError: torch does not work here.
        """
        try:
            return self._source
        except DinoxError:
            raise
        except Exception as error:
            raise self.explain(error) from error

    def fetch(self, tell: Tell) -> int:
        """Download what is missing; gives the size of the weights.

        Raises:
            SettingsError: there is no such model or device.
            BackendError: it cannot be had; the message says why.
        """
        from dinox_mcp.backends.local.hub import Hub, Stopped

        stop = Event()

        def report(done: int, total: int, message: str) -> None:
            try:
                tell(_FETCHED * done / total if total else 0.0, message)
            except Interrupted:
                stop.set()

        try:
            self._folder = (self._hub or Hub)().fetch(self._source, report, stop)
        except Stopped:
            raise Interrupted from None
        return sum(file.stat().st_size for file in self._folder.glob("*.safetensors"))

    def load(self) -> Loaded:
        """Load into memory what was fetched.

        Raises:
            BackendError: it does not load; the message says why.
        """
        from dinox_mcp.backends.local import checkpoint, device
        from dinox_mcp.backends.local.hub import title

        if self._device.kind == "cpu":
            device.tune_cpu()
        adapter = checkpoint.load(self._folder, self._device)
        usual = "float32" if self._device.kind != "cuda" else "bfloat16"
        notes = () if self._device.precision == usual else (f"computed in {self._device.precision}",)
        return Loaded(
            adapter=adapter,
            name=title(self._source, self._folder),
            fingerprint=_fingerprint(self._folder, self._device.precision),
            batch=_CUDA_BATCH if self._device.kind == "cuda" else 1,
            notes=notes,
        )

    def trim(self) -> None:
        """Give freed memory back to the system and the GPU."""
        from dinox_mcp.backends.local import device

        device.trim()

    def explain(self, error: Exception) -> BackendError:
        """Tell running out of memory from everything else."""
        from dinox_mcp.backends.local.device import memory_explained

        try:
            with memory_explained(self._device):
                raise error  # noqa: TRY301 - this is how it gets explained
        except BackendError as explained:
            return explained
        except Exception:  # noqa: BLE001 - it is the error itself
            line = " ".join(str(error).split())[:300]
            return ServiceError(
                f"the model {self.key} failed ({type(error).__name__}: {line}); ask again, or choose another with "
                "DINOX_MCP_MODEL"
            )

    @cached_property
    def _device(self) -> "Device":
        from dinox_mcp.backends.local import device

        extra.require()
        return device.choose(self._settings.device, self._settings.precision)

    @cached_property
    def _source(self) -> "ModelSource":
        from dinox_mcp.backends.local.presets import resolve

        return resolve(self._name, self._device.kind)


def _fingerprint(folder: Path, precision: str) -> str:
    """Identify what decides on label embeddings: the configuration, the tokenizer, the weights, the precision."""
    digest = hashlib.sha256(_CACHE_FORMAT + precision.encode())
    for path in sorted(folder.iterdir()):
        if path.suffix in {".json", ".txt"}:
            digest.update(path.name.encode() + path.read_bytes())
        elif path.suffix == ".safetensors":
            status = path.stat()
            digest.update(f"{path.name} {path.resolve().name} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]


def has_masks(name: str | None, cache: Path | None = None) -> bool:
    """Tell whether a model finds masks, by its name or by its configuration where that is on this machine.

    Imports neither torch nor transformers. `cache` is the hub's; None is the usual one.
    """
    from dinox_mcp.backends.local.presets import PRESETS

    if name is None:
        return False
    known = next((preset for key, preset in PRESETS.items() if name.partition("@")[0] in {key, preset.repo}), None)
    if known:
        return known.masks
    try:
        path = _configuration(name, cache)
        config = json.loads(path.read_text(encoding="utf-8")) if path else None
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and FAMILIES.get(str(config.get("model_type"))) == "sam3"


def _configuration(name: str, cache: Path | None) -> Path | None:
    """Find the configuration of a model that is no preset, in its folder or in the hub's cache."""
    from dinox_mcp.backends.local.presets import resolve

    try:
        source = resolve(name, "cpu")
    except SettingsError:  # whoever asks the model hears of it
        return None
    if source.folder is not None:
        return source.folder / "config.json"
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:  # the extra is not installed
        return None
    found = try_to_load_from_cache(str(source.repo), "config.json", cache_dir=cache, revision=source.revision)
    return Path(found) if isinstance(found, str) else None
