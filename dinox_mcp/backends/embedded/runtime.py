"""Sessions of ONNX Runtime, and the networks of this package."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.processor import allowed_processors, onnxruntime, session_options
from dinox_mcp.errors import BackendError

Floats = npt.NDArray[np.float32]

FOLDER = Path(__file__).parent / "weights"
MOST_THREADS = 8
# Measured on two cores: NanoDet takes 48 ms with one thread and 27 ms with two. Networks of this size gain little from
# more than four threads.
_THREADS = 4
_REMEDY = "reinstall it: pip install --force-reinstall dinox-mcp"


def session(path: Path, name: str, remedy: str, *, threads: int = MOST_THREADS, arena: bool = False) -> Any:  # noqa: ANN401 - ONNX Runtime has no types
    """Load a network as an `onnxruntime.InferenceSession`.

    Args:
        path: The ONNX file.
        name: The name of the file in error messages.
        remedy: What to do if the file is missing or damaged.
        threads: The most threads of one run; never more than cores.
        arena: Keep the memory of a run for the next one: a little faster, and suits networks with small inputs.

    Raises:
        BackendError: the file is missing or does not load.
    """
    options = session_options(min(threads, allowed_processors()))
    options.enable_cpu_mem_arena = arena
    if not path.is_file():
        raise BackendError(f"{name} is missing; {remedy}")
    try:
        return onnxruntime().InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BackendError(f"{name} does not load ({type(error).__name__}); {remedy}") from error


class Network:
    """A network of this package that takes one array and gives several, each under its name."""

    def __init__(self, name: str) -> None:
        """Load the network whose file has this name, such as "nanodet"."""
        path = FOLDER / f"{name}.onnx"
        _check_size(path)
        self._session = session(path, f"the network {path}", _REMEDY, threads=_THREADS, arena=True)
        self._input: str = self._session.get_inputs()[0].name
        self._outputs: list[str] = [output.name for output in self._session.get_outputs()]

    def __call__(self, batch: Floats | npt.NDArray[np.int32]) -> dict[str, Floats]:
        """Run the network."""
        return dict(zip(self._outputs, self._session.run(None, {self._input: batch}), strict=True))


def _check_size(path: Path) -> None:
    """Check the size of a file, which a full disk, for example, may have truncated."""
    manifest = path.with_name("manifest.json")
    try:
        size = json.loads(manifest.read_bytes())[path.name]["size"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackendError(
            f"the list of networks {manifest} does not report the size of {path.name} "
            f"({type(error).__name__}); {_REMEDY}"
        ) from error
    if path.is_file() and path.stat().st_size != size:
        raise BackendError(f"the network {path} has {path.stat().st_size} bytes instead of {size}; {_REMEDY}")
