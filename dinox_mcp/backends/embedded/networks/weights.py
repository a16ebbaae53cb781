"""The networks' weights: files inside this package, checked against the list of their sizes, never fetched."""

import json
from importlib import resources
from importlib.resources.abc import Traversable

import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.embedded.networks import runtime
from dinox_mcp.errors import BackendError

Floats = npt.NDArray[np.float32]

# Measured on two cores: NanoDet takes 48 ms with one thread and 27 ms with two. Networks of this size gain little from
# more than four threads.
_THREADS = 4
_MANIFEST = "manifest.json"
_REMEDY = "reinstall it: pip install --force-reinstall dinox-mcp"


class Network:
    """A network that takes one array and gives several, each under its name."""

    def __init__(self, name: str) -> None:
        """Load a network of this package.

        Args:
            name: Its file without the suffix, such as "nanodet".

        Raises:
            BackendError: the file is missing or damaged.
        """
        file = f"{name}.onnx"
        folder = _folder()
        _check_size(folder, file)
        with resources.as_file(folder / file) as path:
            self._session = runtime.session(path, f"the network {path}", _REMEDY, threads=_THREADS, arena=True)
        self._input: str = self._session.get_inputs()[0].name
        self._outputs: list[str] = [output.name for output in self._session.get_outputs()]

    def __call__(self, batch: Floats | npt.NDArray[np.int32]) -> dict[str, Floats]:
        """Run the network."""
        return dict(zip(self._outputs, self._session.run(None, {self._input: batch}), strict=True))


def _folder() -> Traversable:
    return resources.files("dinox_mcp.backends.embedded") / "weights"


def _check_size(folder: Traversable, file: str) -> None:
    """Tell a whole file from one that was cut short, for example by a full disk."""
    try:
        size = json.loads((folder / _MANIFEST).read_bytes())[file]["size"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackendError(
            f"the list of networks {folder / _MANIFEST} does not report the size of {file} "
            f"({type(error).__name__}); {_REMEDY}"
        ) from error
    with resources.as_file(folder / file) as path:
        found = path.stat().st_size if path.is_file() else None
    if found is None:
        raise BackendError(f"the network {folder / file} is missing ({size} bytes); {_REMEDY}")
    if found != size:
        raise BackendError(f"the network {folder / file} has {found} bytes instead of {size}; {_REMEDY}")
