"""Graphs of the tiny checkpoints, exported by the scripts that export those of the package.

python -m tests.backends.local.exported [family]  # writes those in graphs/, for tests without torch
"""

import sys
import tempfile
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from dinox_mcp.backends.local.checkpoints.graph import fitting
from dinox_mcp.backends.local.families import find
from tests.backends.local.parity import load_model
from tests.backends.local.tiny_checkpoints import build
from tests.backends.local.tiny_graphs import GRAPHS

_SCRIPTS = Path(__file__).parents[3] / "packaging"
_EXPORTS = {
    "owlv2": "owl",
    "owlvit": "owl",
    "sam2": "sam2",
    "sam2_video": "sam2",
    "grounding-dino": "grounding",
    "mm-grounding-dino": "grounding",
    "d_fine": "dfine",
}
_WITHOUT_TORCH = ("owlv2", "owlvit", "sam2", "mm-grounding-dino", "d_fine")


def load_graph(folder: Path, graphs: Path, *, int8: bool = False) -> Any:  # noqa: ANN401 - each has its own class
    """Load the graphs in a folder with the weights of a checkpoint."""
    architecture = fitting(folder, graphs)
    assert architecture is not None
    options = {"int8": int8} if architecture.int8 else {}
    return find(architecture.model_type, None).load_graph_class()(architecture, folder, threads=1, **options)


def export(model: Any, graphs: Path, stem: str) -> None:  # noqa: ANN401 - any model of transformers
    """Export the graphs of a model."""
    kind = _EXPORTS[model.config.model_type]
    options = {"side": 128} if kind == "dfine" else {}  # its weights do not show the side of its input
    getattr(script(f"export_{kind}"), f"export_{kind}")(model, graphs, stem, **options)


def script(name: str) -> ModuleType:
    """Import a script of `packaging`; scripts find each other as when they are run."""
    sys.path.insert(0, str(_SCRIPTS))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(_SCRIPTS))


if __name__ == "__main__":
    for family in sys.argv[1:] or _WITHOUT_TORCH:
        with tempfile.TemporaryDirectory() as checkpoint:
            export(load_model(build(family, Path(checkpoint))), GRAPHS, f"tiny-{family}")
