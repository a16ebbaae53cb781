"""A model by the name that a user gave it: found, fetched, and loaded in the precision that suits this machine."""

import hashlib
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from dinox_mcp.backends import local
from dinox_mcp.backends.local.checkpoints.presets import Role, resolve, smaller, variable
from dinox_mcp.backends.local.models.base import DetectionModel, Interrupted, Loaded, RawDetection, Report
from dinox_mcp.errors import BackendError, DinoxError, ServiceError
from dinox_mcp.settings import Settings

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from dinox_mcp.backends.local.checkpoints.device import Device
    from dinox_mcp.backends.local.checkpoints.hub import Hub
    from dinox_mcp.backends.local.checkpoints.presets import ModelSource

_CUDA_BATCH = 8
_FETCHED = 0.2  # of the progress of a first request
_CACHE_FORMAT = b"2"
FASTER = 1.3
"""How many times faster matrix products must be in bfloat16; without units for it they are several times slower."""
PIXELS = 4.0
"""How far the edges of the surest boxes may move, on a pattern of 640 by 480."""
SCORE = 0.05
"""How far their scores may move."""
_SUREST = 10
_LABELS = ("object",)  # of several, those with equal scores may change their order, which is not a fault


class Checkpoint:
    """A model by its name. Its methods are slow: they are called in a worker's thread.

    Args:
        name: The name that a user gave it; None for the default of the device for its role.
        settings: The settings.
        hub: Makes the client of the hub; tests give their own.
        role: What the model is used for.
        follows: Whether it is to follow objects through a video.
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
        """Return what is equal for two names of one model, such as a preset, its repository, and a commit of that.

        A model on this machine is identified by its folder, which is that of its commit.

        Raises:
            SettingsError: there is no such model or device.
            BackendError: torch does not work here.
        """
        from dinox_mcp.backends.local.checkpoints.hub import Hub

        try:
            source = self._source
            return (
                self._role,
                self._follows,
                (self._hub or Hub)().find(source) or replace(source, revision=source.revision or "main"),
            )
        except DinoxError:
            raise
        except Exception as error:
            raise self.explain(error) from error

    def fetch(self, report: Report) -> int:
        """Download what is missing; return the size of the weights in bytes.

        Raises:
            SettingsError: there is no such model or device.
            BackendError: it cannot be had; the message says why.
        """
        from dinox_mcp.backends.local.checkpoints.hub import Hub
        from dinox_mcp.backends.local.checkpoints.transfer import Stopped

        stop = Event()

        def report_bytes(done: int, total: int, message: str) -> None:
            try:
                report(_FETCHED * done / total if total else 0.0, message)
            except Interrupted:
                stop.set()

        try:
            self._folder = (self._hub or Hub)().fetch(self._source, report_bytes, stop)
        except Stopped:
            raise Interrupted from None
        return sum(file.stat().st_size for file in self._folder.glob("*.safetensors"))

    def load(self) -> Loaded:
        """Load into memory what was fetched.

        Raises:
            BackendError: it does not load; the message says why.
        """
        from dinox_mcp.backends.local.checkpoints.hub import title

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

    def _load(self) -> "tuple[Any, Device, tuple[str, ...]]":
        """Return the model, what it computes in, and a note where that is not the usual."""
        from dinox_mcp.backends.local.checkpoints import device, loader

        wanted = self._device
        if wanted.kind == "cpu":
            device.tune_cpu()
            if wanted.precision != "float32" and self._role == "objects":
                return load_checked(partial(loader.load, self._folder), wanted)
        usual = "bfloat16" if wanted.kind == "cuda" else "float32"
        notes = () if wanted.precision == usual else (f"computed in {wanted.precision}",)
        if wanted.kind == "cpu" and wanted.precision != "float32" and (doubt := slowness()):
            wanted, notes = replace(wanted, precision="float32"), (f"computed in float32, as {doubt}",)
        return loader.load(self._folder, wanted, self._role, follows=self._follows), wanted, notes

    def trim(self) -> None:
        """Return freed memory to the system and the GPU."""
        from dinox_mcp.backends.local.checkpoints import device

        device.trim()

    def explain(self, error: Exception) -> BackendError:
        """Explain an error of the model's own code in one line, with a remedy."""
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

        local.require_installed()
        return device.choose(self._settings.device, self._settings.precision)

    @cached_property
    def _source(self) -> "ModelSource":
        return resolve(self._name, self._device.kind, self._role)


def load_checked(load: Callable[["Device"], Any], device: "Device") -> tuple[Any, "Device", tuple[str, ...]]:
    """Load a model for objects in bfloat16 if that pays here, else in float32.

    The check runs it on a test pattern in both precisions, so that loading takes two loads and two passes.

    Returns:
        The model, what it computes in, and a note.
    """
    from dinox_mcp.backends.local.checkpoints import device as devices

    exact = replace(device, precision="float32")
    doubt = slowness()
    if doubt is None:
        expected = _find_in_pattern(load(exact))
        devices.trim()
        model = load(device)
        doubt = difference(expected, _find_in_pattern(model))
        if doubt is None:
            return model, device, ("computed in bfloat16",)
        del model
        devices.trim()
    return load(exact), exact, (f"computed in float32, as {doubt}",)


def difference(expected: Sequence[RawDetection], found: Sequence[RawDetection]) -> str | None:
    """Return how the surest expected detections differ from what was found, or None if they hardly do."""
    for one in expected[:_SUREST]:
        alike = [(_distance(one, other), other) for other in found if other.label == one.label]
        distance, other = min(alike, key=lambda pair: pair[0], default=(math.inf, one))
        if not distance <= PIXELS:
            return f"bfloat16 moves this model's boxes (by {distance:.0f} pixels on a test pattern)"
        if abs(other.score - one.score) > SCORE:
            return f"bfloat16 changes this model's scores ({one.score:.2f} to {other.score:.2f} on a test pattern)"
    return None


def _distance(one: RawDetection, other: RawDetection) -> float:
    return max(abs(here - there) for here, there in zip(one.bbox, other.bbox, strict=True))


def slowness() -> str | None:
    """Return that this processor gains nothing from bfloat16, if it is so."""
    import torch

    exact, short = _seconds(torch.float32), _seconds(torch.bfloat16)
    if short * FASTER <= exact:
        return None
    return f"this processor is hardly faster in bfloat16 ({exact / short:.1f} times)"


def _seconds(dtype: "torch.dtype") -> float:
    import torch

    from dinox_mcp.backends.local.checkpoints.device import seconds

    one, two = torch.ones(1024, 768, dtype=dtype), torch.ones(768, 3072, dtype=dtype)
    with torch.inference_mode():
        return min(seconds(lambda: one @ two) for _ in range(5))


def _find_in_pattern(model: DetectionModel) -> list[RawDetection]:
    (features,) = model.encode([model.prepare(_pattern())])
    labels = [_LABELS[index] for index in model.chunks(_LABELS)[0]]
    embeddings = model.embed(labels) if model.reuses_text else None
    return model.find(features, labels, embeddings, 0.0)


def _pattern() -> "Image.Image":
    """Draw what has edges, colours and shades of several sizes."""
    from PIL import Image, ImageDraw

    picture = Image.radial_gradient("L").resize((640, 480)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for step, colour in enumerate(("red", "navy", "gold", "white", "green", "black")):
        draw.rectangle((40 + 90 * step, 60 + 50 * step, 110 + 95 * step, 120 + 58 * step), fill=colour)
        draw.ellipse((30 + 100 * step, 400 - 60 * step, 100 + 100 * step, 460 - 60 * step), outline=colour, width=6)
    return picture


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
