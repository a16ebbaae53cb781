"""A model by the name that a user gave it: found, fetched, and loaded into the runtime that suits it."""

import hashlib
import platform
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from dinox_mcp.backends import local
from dinox_mcp.backends.base import Report
from dinox_mcp.backends.local import families
from dinox_mcp.backends.local.checkpoints import device as devices
from dinox_mcp.backends.local.checkpoints import files, precision, torch_loading
from dinox_mcp.backends.local.checkpoints.device import Device
from dinox_mcp.backends.local.checkpoints.hub import Hub, title
from dinox_mcp.backends.local.checkpoints.presets import (
    PRESETS,
    DeviceKind,
    ModelSource,
    Role,
    resolve,
    runs_on_cpu,
    smaller,
    variable,
)
from dinox_mcp.backends.local.models.base import ImageModel, Interrupted, Loaded
from dinox_mcp.errors import BackendError, DinoxError, ServiceError, UnsupportedError
from dinox_mcp.settings import Settings

if TYPE_CHECKING:
    from dinox_mcp.backends.local.checkpoints.graph import Architecture

_CUDA_BATCH = 8
_FETCHED = 0.2  # of the progress of a first request
_CACHE_FORMAT = b"2"


@dataclass(eq=False)
class Checkpoint:
    """A model by its name. Its methods are slow: they are called in a worker's thread.

    Attributes:
        name: The name that a user gave it; None for the default of the device for its role.
        settings: The settings.
        hub: The hub of models.
        role: What the model is used for.
        follows: Whether it is to follow objects through a video.
    """

    name: str | None
    settings: Settings
    hub: Hub = field(default_factory=Hub)
    role: Role = "objects"
    follows: bool = False
    _folder: Path = Path()

    @property
    def key(self) -> str:
        """What the model is called in messages."""
        return self.name or ("default" if self.role == "objects" else f"for {self.role}")

    def identify(self) -> Hashable:
        """Return what is equal for two names of one model, such as a preset, its repository, and a commit of that.

        A model on this machine is identified by its folder, which is that of its commit.

        Raises:
            SettingsError: there is no such model or device.
            BackendError: torch does not work here.
        """
        try:
            source = self._source
            here = self.hub.find(source)
        except DinoxError:
            raise
        except Exception as error:
            raise self.explain(error) from error
        return self.role, self.follows, here or replace(source, revision=source.revision or "main")

    def fetch(self, report: Report) -> int:
        """Download what is missing; return the size of the weights in bytes.

        Raises:
            SettingsError: there is no such model or device.
            BackendError: it cannot be had; the message says why.
        """
        stop = Event()

        def report_download(fraction: float, message: str) -> None:
            try:
                report(_FETCHED * fraction, message)
            except Interrupted:
                stop.set()

        try:
            self._folder = self.hub.fetch(self._source, report_download, stop)
        except files.Stopped:
            raise Interrupted from None
        return sum(file.stat().st_size for file in self._folder.glob("*.safetensors"))

    def load(self) -> Loaded:
        """Load into memory what was fetched.

        Raises:
            BackendError: it does not load; the message says why.
        """
        model, used, notes = self._load()
        name = title(self._source, self._folder)
        return Loaded(
            model=model,
            name=name,
            fingerprint=_fingerprint(self._folder, used.precision),
            batch=_CUDA_BATCH if used.kind == "cuda" else 1,
            notes=notes,
            signature=name if self._source.repo else f"{name}#{_fingerprint(self._folder, '')[:8]}",
        )

    def _load(self) -> tuple[Any, Device, tuple[str, ...]]:
        """Return the model, what it computes in, and a note where that is not the usual."""
        if self._prefers_graph(files.model_type(self._folder)) and (architecture := _fitting(self._folder)):
            return self._load_graph(architecture)
        self._require_torch()
        wanted = self._device
        if wanted.kind == "cpu":
            devices.tune_cpu()
            if wanted.precision != "float32" and self.role == "objects":
                return precision.load_checked(partial(torch_loading.load, self._folder), wanted)
        usual = "bfloat16" if wanted.kind == "cuda" else "float32"
        notes = () if wanted.precision == usual else (f"computed in {wanted.precision}",)
        if wanted.kind == "cpu" and wanted.precision != "float32" and (doubt := precision.slowness()):
            wanted, notes = replace(wanted, precision="float32"), (f"computed in float32, as {doubt}",)
        return torch_loading.load(self._folder, wanted, self.role, follows=self.follows), wanted, notes

    def _load_graph(self, architecture: "Architecture") -> tuple[ImageModel, Device, tuple[str, ...]]:
        """Load the model into ONNX Runtime. Labels are always embedded in float32, so they are kept for both."""
        kind = files.family(self._folder, self.role).load_graph_class()
        load = partial(kind, architecture, self._folder, threads=devices.allowed_processors())
        with devices.memory_explained(devices.CPU, smaller(self.role)):
            if not architecture.int8:
                return load(), devices.CPU, ("computed in float32 by ONNX Runtime",) if self.role == "objects" else ()
            if self.settings.precision == "auto":
                model, note = precision.load_int8(lambda int8: load(int8=int8), self._decision)
            else:
                model = load(int8=self.settings.precision == "int8")
                note = f"computed in {self.settings.precision} by ONNX Runtime"
        return model, devices.CPU, (note,)

    def trim(self) -> None:
        """Return freed memory to the system and the GPU."""
        devices.trim()

    def explain(self, error: Exception) -> BackendError:
        """Explain an error of the model's own code in one line, with a remedy."""
        if devices.is_about_memory(error):
            return devices.out_of_memory(devices.CPU if self._may_use_graph else self._device, smaller(self.role))
        line = " ".join(str(error).split())[:300]
        return ServiceError(
            f"the model {self.key} failed ({type(error).__name__}: {line}); try again, or choose another with "
            f"{variable(self.role)}"
        )

    def will_run(self) -> tuple[Device, str]:
        """Return where the model runs, and the versions of what runs it, as far as is known before it is fetched.

        Raises:
            SettingsError: There is no such model or device.
            UnsupportedError: torch is needed, and missing or broken.
        """
        folder = self.hub.find(self._source)
        known = next((one for one in PRESETS.values() if one.repo == self._source.repo), None)
        if folder:
            fits = self._prefers_graph(files.model_type(folder)) and _fitting(folder) is not None
        else:
            likely = families.likely_type(str(self._source.repo))
            fits = self._prefers_graph(likely) and (known is None or known.without_torch)
        if fits:
            return devices.CPU, f"ONNX Runtime {version('onnxruntime')}"
        self._require_torch()
        return self._device, f"torch {version('torch')}, transformers {version('transformers')}"

    @property
    def _may_use_graph(self) -> bool:
        """Whether a graph is used if one fits, on the CPU: there are some for objects, and for masks in images."""
        if self.role not in {"objects", "masks"} or self.follows or not local.allows_graphs(self.settings):
            return False
        return self.settings.runtime == "onnx" or not local.has_torch() or runs_on_cpu(self.settings)

    def _prefers_graph(self, model_type: str) -> bool:
        """Whether a model of this type runs in a graph if one fits: some are faster in torch, where that is at hand."""
        family = families.FAMILIES.get(model_type)
        slower = family is not None and family.faster_in_torch and local.has_torch()
        return self._may_use_graph and (self.settings.runtime == "onnx" or not slower)

    def _require_torch(self) -> None:
        """Refuse a model for torch where the settings want ONNX Runtime or torch is missing.

        Raises:
            UnsupportedError: it is so.
        """
        if self.role == "objects" and self.settings.runtime == "onnx":
            raise UnsupportedError(
                f"the model {self.key} does not run in ONNX Runtime as set (DINOX_MCP_DEVICE={self.settings.device}, "
                f"DINOX_MCP_PRECISION={self.settings.precision}); choose the model balanced or fast, "
                "with the device cpu and the precision auto, or set DINOX_MCP_RUNTIME=auto"
            )
        if self.follows:
            local.require_torch("a model for masks of a video", "leave masks out")
        elif self.role == "masks":
            local.require_torch(f"the model {self.key}", f"choose {smaller('masks')}, which needs neither")
        local.require_torch(f"the model {self.key}")

    @cached_property
    def _device(self) -> Device:
        """The device in torch, or the CPU where torch is not needed or not installed."""
        if self._may_use_graph or not local.has_torch():
            if self.settings.device not in {"auto", "cpu"}:
                local.require_torch(f"the device {self.settings.device}")
            if not local.has_torch():
                return devices.CPU
        exact = self.role != "objects" and self.settings.precision == "int8"  # which is of graphs
        return devices.choose(self.settings.device, "auto" if exact else self.settings.precision)

    @cached_property
    def _source(self) -> ModelSource:
        kind: DeviceKind = "cpu" if self._may_use_graph else self._device.kind
        return resolve(self.name, kind, self.role)

    @property
    def _decision(self) -> Path:
        """The file that says whether the model computes in int8 on this machine."""
        from platformdirs import user_cache_path

        name = _fingerprint(self._folder, f"int8 {platform.machine()} {version('onnxruntime')}")
        return user_cache_path("dinox-mcp") / "precision" / f"{name}.json"


def _fitting(folder: Path) -> "Architecture | None":
    """Return the architecture of a checkpoint, if there are graphs of it."""
    from dinox_mcp.backends.local.checkpoints.graph import fitting  # numpy takes as long to import as all else here

    return fitting(folder)


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
