"""The models that users name: found in presets, on the hub or in a folder, and loaded from a folder."""

import hashlib
from collections.abc import Hashable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from dinox_mcp.backends.local import extra
from dinox_mcp.backends.local.checkpoints.presets import Role, resolve, smaller, variable
from dinox_mcp.backends.local.models.base import Interrupted
from dinox_mcp.backends.local.models.interfaces import Loaded, Tell
from dinox_mcp.errors import BackendError, DinoxError, ServiceError
from dinox_mcp.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from dinox_mcp.backends.local.checkpoints.device import Device
    from dinox_mcp.backends.local.checkpoints.hub import Hub
    from dinox_mcp.backends.local.checkpoints.presets import ModelSource

_CUDA_BATCH = 8
_FETCHED = 0.2  # of the progress of a first question
_CACHE_FORMAT = b"1"


class Checkpoint:
    """A model by the name that a user gave it; None is the default of the device for its role.

    With `follows`, it is loaded to follow things from frame to frame.
    """

    def __init__(
        self,
        name: str | None,
        settings: Settings,
        hub: "Callable[[], Hub] | None" = None,
        role: Role = "objects",
        *,
        follows: bool = False,
    ) -> None:
        self.key = name or ("default" if role == "objects" else f"for {role}")
        self._role = role
        self._follows = follows
        self._name = name
        self._settings = settings
        self._hub = hub
        self._folder = Path()

    def identify(self) -> Hashable:
        """Find out where the files come from: None, a preset, its repository and a commit may mean the same.

        What is on this machine is known by its folder, which is its commit's.

        Raises:
            SettingsError: there is no such model or device.
            BackendError: torch does not work here.
        """
        from dinox_mcp.backends.local.checkpoints.hub import Hub

        try:
            source = self._source
            return self._role, (self._hub or Hub)().find(source) or replace(source, revision=source.revision or "main")
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
        from dinox_mcp.backends.local.checkpoints.hub import Hub, Stopped

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

    def load(self) -> Loaded[Any]:
        """Load into memory what was fetched.

        Raises:
            BackendError: it does not load; the message says why.
        """
        from dinox_mcp.backends.local.checkpoints.hub import title

        adapter, used, notes = self._load()
        name = title(self._source, self._folder)
        return Loaded(
            adapter=adapter,
            name=name,
            fingerprint=_fingerprint(self._folder, used.precision),
            batch=_CUDA_BATCH if used.kind == "cuda" else 1,
            notes=notes,
            signature=name if self._source.repo else f"{name}#{_fingerprint(self._folder, '')[:8]}",
        )

    def _load(self) -> "tuple[Any, Device, tuple[str, ...]]":
        """Give the adapter, what it computes in, and a note where that is not the usual."""
        from dinox_mcp.backends.local.checkpoints import device, loader, precision

        wanted = self._device
        if wanted.kind == "cpu":
            device.tune_cpu()
            if wanted.precision != "float32" and self._role == "objects":
                return precision.load_checked(partial(loader.load, self._folder), wanted)
        usual = "bfloat16" if wanted.kind == "cuda" else "float32"
        notes = () if wanted.precision == usual else (f"computed in {wanted.precision}",)
        if wanted.kind == "cpu" and wanted.precision != "float32" and (doubt := precision.slowness()):
            wanted, notes = replace(wanted, precision="float32"), (f"computed in float32, as {doubt}",)
        return loader.load(self._folder, wanted, self._role, follows=self._follows), wanted, notes

    def trim(self) -> None:
        """Give freed memory back to the system and the GPU."""
        from dinox_mcp.backends.local.checkpoints import device

        device.trim()

    def explain(self, error: Exception) -> BackendError:
        """Tell running out of memory from everything else."""
        from dinox_mcp.backends.local.checkpoints.device import memory_explained

        try:
            with memory_explained(self._device, smaller(self._role)):
                raise error  # noqa: TRY301 - this is how it gets explained
        except BackendError as explained:
            return explained
        except Exception:  # noqa: BLE001 - it is the error itself
            line = " ".join(str(error).split())[:300]
            return ServiceError(
                f"the model {self.key} failed ({type(error).__name__}: {line}); ask again, or choose another with "
                f"{variable(self._role)}"
            )

    @cached_property
    def _device(self) -> "Device":
        from dinox_mcp.backends.local.checkpoints import device

        extra.require()
        return device.choose(self._settings.device, self._settings.precision)

    @cached_property
    def _source(self) -> "ModelSource":
        return resolve(self._name, self._device.kind, self._role)


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
