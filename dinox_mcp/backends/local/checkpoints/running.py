"""What runs a model on this machine, and how precisely: ONNX Runtime or torch, the CPU or a GPU."""

import hashlib
import time
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dinox_mcp.backends import local, processor
from dinox_mcp.backends.local import families
from dinox_mcp.backends.local.checkpoints import device as devices
from dinox_mcp.backends.local.checkpoints import files, precision, torch_loading
from dinox_mcp.backends.local.checkpoints.device import Device
from dinox_mcp.backends.local.checkpoints.precision import Trial
from dinox_mcp.backends.local.checkpoints.presets import PRESETS, Role, runs_on_cpu, smaller
from dinox_mcp.errors import UnsupportedError
from dinox_mcp.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from dinox_mcp.backends.local.checkpoints.graph import Architecture
    from dinox_mcp.backends.local.models.owl import OwlGraph

Runtime = Literal["onnx", "torch"]
Running = tuple[Any, Device, tuple[str, ...]]
"""A model, what it computes in, and notes where that is not the usual."""

_CACHE_FORMAT = b"2"
_FASTER_IN_BFLOAT16 = "owlv2"
"""A type of models that has graphs, and that torch runs faster in bfloat16 on a processor with AMX.

An image took OWLv2 base 2.9 s of processor time there, and in int8 by ONNX Runtime 5.4 s. OWL-ViT B/32, whose images
have few patches, took 0.3 s in both.
"""


@dataclass(eq=False)
class Runner:
    """Decides what runs a model, which is called `key` in messages, and loads it.

    A model that `follows` is to follow objects through a video.
    """

    key: str
    settings: Settings
    role: Role = "objects"
    follows: bool = False

    @cached_property
    def runtimes(self) -> tuple[Runtime, ...]:
        """What may run the model: graphs on the CPU, of which some find objects or masks in images; torch runs all."""
        if self.role not in {"objects", "masks"} or self.follows or not local.allows_graphs(self.settings):
            return ("torch",)
        if self.settings.runtime == "onnx" or not local.has_torch():
            return ("onnx",)
        return ("onnx", "torch") if runs_on_cpu(self.settings) else ("torch",)

    @cached_property
    def device(self) -> Device:
        """The CPU where a graph may run the model or torch is not installed; else the device in torch, imported for it.

        Raises:
            SettingsError: there is no such device here.
            UnsupportedError: torch is needed, and missing or broken.
        """
        if "onnx" in self.runtimes:
            return devices.CPU
        if not local.has_torch():
            if self.settings.device not in {"auto", "cpu"}:
                local.require_torch(f"the device {self.settings.device}")
            return devices.CPU
        return self._in_torch

    @cached_property
    def _in_torch(self) -> Device:
        exact = self.role != "objects" and self.settings.precision == "int8"  # which is of graphs
        return devices.choose(self.settings.device, "auto" if exact else self.settings.precision)

    def load(self, folder: Path) -> Running:
        """Load the model in a folder into memory.

        Raises:
            BackendError: it does not load; the message says why.
        """
        kind = files.model_type(folder)
        architecture = _fitting(folder) if self._prefers_graph(kind) else None
        if architecture and not (self._tries_torch(kind) and self._doubt_bfloat16(folder) is None):
            return self._load_graph(folder, architecture)
        self._require_torch()
        if self._in_torch.kind == "cpu":
            return self._load_torch_on_cpu(folder)
        usual = "bfloat16" if self._in_torch.kind == "cuda" else "float32"
        notes = () if self._in_torch.precision == usual else (f"computed in {self._in_torch.precision}",)
        return self._load_torch(folder, self._in_torch), self._in_torch, notes

    def _load_torch_on_cpu(self, folder: Path) -> Running:
        """Load the model into torch on the CPU: in bfloat16 where that pays, by itself only models for objects."""
        devices.tune_cpu()
        wanted = self.settings.precision == "bfloat16"
        doubt: str | None = "not tried"
        if self.role == "objects" and (wanted or self.settings.precision == "auto"):
            doubt = self._doubt_bfloat16(folder)
        elif wanted:
            doubt = precision.slowness()
        device = replace(self._in_torch, precision="float32" if doubt else "bfloat16")
        note = f"computed in float32, as {doubt}" if doubt else "computed in bfloat16"
        return self._load_torch(folder, device), device, (note,) if wanted or not doubt else ()

    def _doubt_bfloat16(self, folder: Path) -> str | None:
        """Return why the model does not compute in bfloat16 on this CPU; None if it does."""
        self._require_torch()
        devices.tune_cpu()
        trial = Trial("bfloat16", self._decision("bfloat16", folder))
        if not precision.is_known(trial.known) and (doubt := precision.slowness()):
            return doubt

        def load(short: bool) -> Any:  # noqa: ANN401 - of any family
            return self._load_torch(folder, replace(self._in_torch, precision="bfloat16" if short else "float32"))

        return precision.decide(load, trial)

    def _load_torch(self, folder: Path, device: Device) -> Any:  # noqa: ANN401 - a model for objects, or another
        return torch_loading.load(folder, device, self.role, follows=self.follows)

    def _load_graph(self, folder: Path, architecture: "Architecture") -> Running:
        """Load the model into ONNX Runtime. Labels are always embedded in float32, so they are kept for all."""
        kind = files.family(folder, self.role).load_graph_class()
        load = partial(kind, architecture, folder, threads=processor.allowed_processors())
        with devices.memory_explained(devices.CPU, smaller(self.role)):
            if not architecture.int8:
                lacks = ", as this model has no int8" if self.settings.precision == "int8" else ""
                notes = (f"computed in float32 by ONNX Runtime{lacks}",) if self.role == "objects" else ()
                return load(), devices.CPU, notes
            if self.settings.precision != "auto":
                note = f"computed in {self.settings.precision} by ONNX Runtime"
                return load(int8=self.settings.precision == "int8"), devices.CPU, (note,)
            if provider := self._accelerator(folder, load):
                note = f"computed in float32 by ONNX Runtime ({provider})"
                return load(int8=False, provider=provider), devices.CPU, (note,)
            doubt = precision.decide(lambda int8: load(int8=int8), Trial("int8", self._decision("int8", folder)))
            note = "int8 by ONNX Runtime" if doubt is None else f"float32 by ONNX Runtime, as {doubt}"
            return load(int8=doubt is None), devices.CPU, (f"computed in {note}",)

    def _accelerator(self, folder: Path, load: "Callable[..., OwlGraph]") -> str | None:
        """Return the first provider of ONNX Runtime besides the CPU that finds the same in less time."""
        for provider in self._accelerators():
            trial = Trial(provider, self._decision(provider, folder), time.monotonic, may_crash=True)

            def load_on(accelerated: bool, provider: str = provider) -> "OwlGraph":
                return load(int8=False, provider=provider) if accelerated else load(int8=False)

            if precision.decide(load_on, trial) is None:
                return provider
        return None

    def _accelerators(self) -> list[str]:
        """Return the providers of this build of ONNX Runtime that may be faster than the CPU."""
        from dinox_mcp.backends.local.checkpoints.graph import ACCELERATORS
        from dinox_mcp.backends.processor import onnxruntime

        here = onnxruntime().get_available_providers() if self.settings.device == "auto" else ()
        return [provider for provider in ACCELERATORS if provider in here]

    def will_run(self, folder: Path | None, repo: str | None) -> tuple[Device, str, str]:
        """Return where a model runs, its precision, and the versions of what runs it, as far as is known by now.

        Args:
            folder: The folder of the model, if it is on this machine.
            repo: Its repository, if it is of the hub.

        Raises:
            SettingsError: There is no such device.
            UnsupportedError: torch is needed, and missing or broken.
        """
        known = next((one for one in PRESETS.values() if one.repo == repo), None)
        kind = files.model_type(folder) if folder else families.likely_type(str(repo))
        graphs = _graphs(folder, kind)
        fits = bool(graphs) or (folder is None and not kind)  # a name may reveal nothing
        if folder is None and known:
            fits = known.without_torch
        tries_torch = self._tries_torch(files.model_type(folder) if folder else str(repo))
        in_torch = tries_torch and not (folder and precision.doubt(self._decision("bfloat16", folder)))
        if self._prefers_graph(kind) and fits and not in_torch:
            chosen = "float32" if graphs and not any(one.int8 for one in graphs) else self._precision_of_graph(folder)
            return devices.CPU, chosen, f"ONNX Runtime {version('onnxruntime')}"
        self._require_torch()
        on_cpu = self._in_torch.kind == "cpu"
        chosen = self._precision("bfloat16", folder) if on_cpu else self._in_torch.precision
        return self._in_torch, chosen, f"torch {version('torch')}, transformers {version('transformers')}"

    def _precision_of_graph(self, folder: Path | None) -> str:
        text = self._precision("int8", folder)
        if folder is None or self.settings.precision != "auto":
            return text
        for provider in reversed(self._accelerators()):
            known = self._decision(provider, folder)
            doubt = precision.doubt(known)
            if doubt is not None:
                text += f"; {provider} is not used, as {doubt}"
            elif precision.is_known(known):
                text = f"float32, by {provider}"
        return text

    def _precision(self, way: str, folder: Path | None) -> str:
        """Return the precision in words, where a shorter one is used on the CPU if it suits."""
        if self.settings.precision not in {"auto", "bfloat16"}:
            return self.settings.precision
        known = self._decision(way, folder) if folder else None
        if known is None or not precision.is_known(known):
            return f"{way} or float32, which the first request decides"
        doubt = precision.doubt(known)
        return way if doubt is None else f"float32, as {doubt}"

    def _prefers_graph(self, kind: str) -> bool:
        """Return whether a model of this type runs in a graph if one fits: some are faster in torch, without int8."""
        family = families.FAMILIES.get(kind)
        in_torch = "torch" in self.runtimes and family is not None and family.faster_in_torch
        return "onnx" in self.runtimes and (not in_torch or self.settings.precision == "int8")

    def _tries_torch(self, kind: str) -> bool:
        """Return whether a model that has a graph may be faster in torch; `kind` is its type or its repository."""
        has_units = "torch" in self.runtimes and "amx_bf16" in processor.units()
        return has_units and self.settings.precision == "auto" and _FASTER_IN_BFLOAT16 in kind

    def _require_torch(self) -> None:
        """Refuse a model for torch where the settings want ONNX Runtime or torch is missing."""
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

    def _decision(self, way: str, folder: Path) -> Path:
        """Return the file that says whether the model in a folder computes in a way on this machine."""
        from platformdirs import user_cache_path

        packages = ("torch", "transformers") if way == "bfloat16" else ("onnxruntime",)
        releases = (f"{package} {version(package)}" for package in packages)
        return precision.decision(user_cache_path("dinox-mcp") / "precision", way, fingerprint(folder), *releases)


def _fitting(folder: Path) -> "Architecture | None":
    """Return the architecture of a checkpoint, if there are graphs of it."""
    from dinox_mcp.backends.local.checkpoints.graph import fitting  # numpy takes as long to import as all else here

    return fitting(folder)


def _graphs(folder: Path | None, kind: str) -> "list[Architecture]":
    """Return what may run a model without torch: what fits it, or all of its type before it is on this machine."""
    from dinox_mcp.backends.local.checkpoints import graph

    if folder is None:
        return [one for one in graph.architectures(graph.FOLDER) if one.model_type == kind]
    architecture = _fitting(folder)
    return [architecture] if architecture else []


def fingerprint(folder: Path, precision: str = "") -> str:
    """Identify what decides on label embeddings: the configuration, the tokenizer, the weights, the precision."""
    digest = hashlib.sha256(_CACHE_FORMAT + precision.encode())
    for path in sorted(folder.iterdir()):
        if path.suffix in {".json", ".txt"}:
            digest.update(path.name.encode() + path.read_bytes())
        elif path.suffix == ".safetensors":
            status = path.stat()
            digest.update(f"{path.name} {path.resolve().name} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]
