"""Graphs of this package with the weights of a checkpoint, run by ONNX Runtime without torch.

`packaging/graphs.py` exports each architecture once, without weights. Its weights have the names of the authors' own
safetensors files, from which they are read here.
"""

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.local.checkpoints import files
from dinox_mcp.backends.local.checkpoints.device import is_about_memory
from dinox_mcp.backends.local.models.base import check, running
from dinox_mcp.backends.processor import onnxruntime, session_options
from dinox_mcp.errors import BackendError

CPU = "CPUExecutionProvider"
ACCELERATORS = ("CUDAExecutionProvider", "CoreMLExecutionProvider", "DmlExecutionProvider")
"""Providers that may be faster than the CPU."""
FOLDER = Path(__file__).parent.parent / "graphs"
Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

_INT8, _SCALE = "/int8", "/scale"
_LARGEST = 127
_FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
"""The types of weights that NumPy knows as floating point, which bfloat16 is not."""
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Architecture:
    """An architecture whose graphs are in the package.

    Attributes:
        name: What its files are called.
        folder: Where they are.
        model_type: As in the `config.json` of a checkpoint.
        image: The shape of each weight of the graph of images; None for the number of kinds, which may be any.
        config: What the graphs take for granted of the `config.json`, by its parts, such as "text_config" or "a.b", ""
            for itself; what a checkpoint leaves out there is the default of its class, which the graphs of this package
            have.
        text: The shape of each weight of the graph of labels, if there is one.
        boxes: The shape of each weight of the graph of what is in boxes, if there is one.
        int8: The weights that the graph of images in int8 has as bytes, if there is one.
        also: Other values of `model_type` whose checkpoints hold such a model.
        aliases: Other names of weights in checkpoints, as transformers stores one that has several names once.
    """

    name: str
    folder: Path
    model_type: str
    image: Mapping[str, Sequence[int | None]]
    config: Mapping[str, Mapping[str, Any]]
    text: Mapping[str, Sequence[int]] = field(default_factory=dict)
    boxes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    int8: Sequence[str] = ()
    also: Sequence[str] = ()
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def agrees(self, config: Mapping[str, Any]) -> bool:
        """Return whether a `config.json` describes what the graphs compute."""
        return config.get("model_type") in {self.model_type, *self.also} and all(
            _agrees(_part(config, path), values) for path, values in self.config.items()
        )


def _part(config: Any, path: str) -> Any:  # noqa: ANN401 - of a file
    """Return a part of a configuration; {} if it is left out."""
    for key in filter(None, path.split(".")):
        config = (config.get(key) or {}) if isinstance(config, Mapping) else None
    return config


def _agrees(part: Any, values: Mapping[str, Any]) -> bool:  # noqa: ANN401 - of a file
    return isinstance(part, Mapping) and all(part.get(key, value) == value for key, value in values.items())


@cache
def architectures(folder: Path) -> tuple[Architecture, ...]:
    """List the architectures whose graphs are in a folder."""
    described = ((path.stem, json.loads(path.read_bytes())) for path in sorted(folder.glob("*.json")))
    return tuple(Architecture(name, folder, **values) for name, values in described)


def fitting(checkpoint: Path, folder: Path | None = None) -> Architecture | None:
    """Return the architecture whose weights a checkpoint has, each in its shape; None if there is none.

    Args:
        checkpoint: The folder of the checkpoint.
        folder: The folder of the graphs; None for those of this package.
    """
    config = files.read_json(checkpoint / files.CONFIG)
    candidates = [one for one in architectures(folder or FOLDER) if one.agrees(config)]
    if not candidates or not (checkpoint / files.WEIGHTS).is_file():  # checkpoints in several files are larger ones
        return None
    shapes = {name: weight.shape for name, weight in _mapped(checkpoint / files.WEIGHTS).items()}
    for one in candidates:
        weights = {**one.image, **one.text, **one.boxes}.items()
        if all(_has_shape(shapes.get(_stored(key, one.aliases, shapes)), dims) for key, dims in weights):
            return one
    return None


def _stored(name: str, aliases: Mapping[str, Sequence[str]], names: Container[str]) -> str:
    """Return the name that a weight has among those of a checkpoint."""
    return next((one for one in (name, *aliases.get(name, ())) if one in names), name)


def _has_shape(shape: Sequence[int] | None, dims: Sequence[int | None]) -> bool:
    if shape is None or len(shape) != len(dims):
        return False
    return all(dim in {side, None} for side, dim in zip(shape, dims, strict=True))


class Graph:
    """A graph in memory.

    Args:
        architecture: The architecture that fits the checkpoint.
        part: Which of its graphs: of images, of text (labels), or of what is in boxes.
        checkpoint: The folder of the checkpoint.
        threads: The most threads of one run.
        int8: Whether the products of large matrices are of bytes, in the graph of images.
        provider: What of ONNX Runtime computes.
        fold: Whether ONNX Runtime computes what depends on weights alone while it loads the graph. It transposes each
            matrix then, which gains nothing: OWLv2 base loads in 0.3 s less without, keeps 230 MB less, and is as fast.
            SAM 2.1 is 10 % slower without.

    Raises:
        BackendError: A file is missing or damaged.
    """

    def __init__(
        self,
        architecture: Architecture,
        part: Literal["image", "text", "boxes"],
        checkpoint: Path,
        *,
        threads: int = 0,
        int8: bool = False,
        provider: str = CPU,
        fold: bool = True,
    ) -> None:
        library, options = onnxruntime(), session_options(threads)
        path = architecture.folder / f"{architecture.name}.{part}{'-int8' if int8 else ''}.onnx"
        shapes: Mapping[str, Sequence[int | None]] = getattr(architecture, part)
        as_bytes = set(architecture.int8 if int8 else ())
        weights = dict(_weights(checkpoint / files.WEIGHTS, shapes, as_bytes, architecture.aliases))
        # Weights with a row for each kind are inputs of the graph. They are copied, so that the file can change.
        self._given = {name: weights.pop(name).copy() for name, dims in shapes.items() if None in dims}
        values = [library.OrtValue.ortvalue_from_numpy(weight) for weight in weights.values()]
        options.add_external_initializers(list(weights), values)
        try:
            self._session = library.InferenceSession(
                path, options, providers=providers(provider), disabled_optimizers=() if fold else ("ConstantFolding",)
            )
        except Exception as error:
            if is_about_memory(error):
                raise
            line = " ".join(str(error).split())[:200]
            raise BackendError(
                f"the graph {path.name} does not load ({line}); reinstall dinox-mcp, or fetch the model again with "
                "dinox-mcp pull"
            ) from error
        self._options = library.RunOptions

    @property
    def kinds(self) -> int:
        """How many kinds the weights that are inputs have rows for."""
        return max((len(weight) for weight in self._given.values()), default=0)

    def shape_of(self, name: str) -> list[int | str]:
        """Return the shape of an input; what may vary has a name."""
        (shape,) = (one.shape for one in self._session.get_inputs() if one.name == name)
        return list(shape)

    def __call__(self, **inputs: Array) -> list[Floats]:
        """Run the graph; it stops soon after the running call is cancelled.

        Raises:
            Interrupted: The running call was cancelled.
        """
        check()
        options = self._options()
        with _stopping(options):
            try:
                arrays: list[Floats] = self._session.run(None, inputs | self._given, options)
            except Exception:
                check()  # a run that was stopped fails with an error of its own
                raise
        return arrays


def providers(provider: str) -> list[str]:
    """List what computes with a provider: itself, and the CPU what it cannot."""
    return list(dict.fromkeys((provider, CPU)))


@contextmanager
def _stopping(options: Any) -> Iterator[None]:  # noqa: ANN401 - ONNX Runtime has no types
    """Stop a run, in the block, when the running call is cancelled."""
    event = running()
    if event is None:
        yield
        return
    done = Event()

    def watch() -> None:
        while not done.wait(_POLL_S):
            if event.is_set():
                options.terminate = True
                return

    watcher = Thread(target=watch, name="dinox-mcp stops a run", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _weights(
    path: Path, names: Iterable[str], int8: set[str], aliases: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, Array]]:
    """Read weights; a matrix for a product of bytes becomes bytes (in, out) and a scale for each output."""
    present = _mapped(path)
    for name in names:
        weight = present.get(_stored(name, aliases, present))
        if weight is None:
            raise BackendError(f"{path} cannot be read (it has no weight {name}); get it anew with dinox-mcp pull")
        if name in int8:
            yield from _as_bytes(name, weight)
        else:
            yield name, np.asarray(weight, np.float32, order="C")


def _mapped(path: Path) -> dict[str, Array]:
    """Map the floating-point weights of a file into memory; reading those of OWLv2 base takes 0.2 s longer."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np"), path.open("rb") as file:  # which checks the header against the file
            length = int.from_bytes(file.read(8), "little")  # https://huggingface.co/docs/safetensors, "Format"
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)  # texts of whoever wrote the file
            data = np.memmap(file, np.uint8, "r", offset=8 + length)
    except (OSError, ValueError, SafetensorError) as error:
        raise BackendError(f"{path} cannot be read ({error}); get it anew with dinox-mcp pull") from error
    return {
        name: data[slice(*about["data_offsets"])].view(_FLOATS[about["dtype"]]).reshape(about["shape"])
        for name, about in header.items()
        if about.get("dtype") in _FLOATS
    }


def _as_bytes(name: str, weight: Array) -> Iterator[tuple[str, Array]]:
    exact = weight.astype(np.float32, copy=False)
    scale = np.maximum(np.abs(exact).max(axis=1), np.finfo(np.float32).tiny) / _LARGEST
    rounded = np.rint(exact / scale[:, None]).astype(np.int8)
    yield name + _INT8, np.ascontiguousarray(rounded.T)
    yield name + _SCALE, scale
