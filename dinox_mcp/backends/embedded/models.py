"""The text models: files inside the wheel of RapidOCR, run on ONNX Runtime, never fetched from anywhere."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.embedded.networks import runtime
from dinox_mcp.errors import BackendError

Floats = npt.NDArray[np.float32]

FAMILY = "PP-OCRv6 small"
LINES = "PP-OCRv6_det_small.onnx"
LETTERS = "PP-OCRv6_rec_small.onnx"
TURNS = "ch_ppocr_mobile_v2.0_cls_mobile.onnx"
_REMEDY = "reinstall it: pip install --force-reinstall 'rapidocr>=3.10,<4'"


class Model:
    """A network that takes one array of shape (batch, 3, height, width) and gives one array."""

    def __init__(self, name: str) -> None:
        """Load a model.

        Raises:
            BackendError: its file is missing or damaged.
        """
        path = _folder() / name
        self._session: Any = runtime.session(path, f"the text model {path}", _REMEDY)
        self._input = self._session.get_inputs()[0].name

    def __call__(self, batch: Floats) -> Floats:
        """Run the network."""
        answer: Floats = self._session.run(None, {self._input: batch})[0]
        return answer

    def characters(self) -> list[str]:
        """List what the classes of a recognizer stand for; the first is the blank between letters."""
        listed = self._session.get_modelmeta().custom_metadata_map["character"].splitlines()
        return ["", *listed, " "]


def normalize(bgr: npt.NDArray[np.uint8]) -> Floats:
    """Bring pixels (height, width, 3) to the networks' (3, height, width) from -1 to 1."""
    return np.ascontiguousarray(bgr.transpose(2, 0, 1), np.float32) / np.float32(127.5) - np.float32(1)


def _folder() -> Path:
    """Find the wheel's folder of models without importing RapidOCR, which is slow and can download."""
    spec = importlib.util.find_spec("rapidocr")
    if spec is None or not spec.submodule_search_locations:
        raise BackendError(f"the package rapidocr with the text models is missing; {_REMEDY}")
    return Path(spec.submodule_search_locations[0]) / "models"
