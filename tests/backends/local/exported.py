"""Graphs of the tiny checkpoints, exported by the script that exports those of the package.

python -m tests.backends.local.exported  # writes those in graphs/, for tests without torch
"""

import sys
import tempfile
from importlib import import_module
from pathlib import Path

from dinox_mcp.backends.local.checkpoints.graph import fitting
from dinox_mcp.backends.local.models.owl_graph import OwlGraph
from tests.backends.local.parity import load_model
from tests.backends.local.tiny_checkpoints import build
from tests.backends.local.tiny_graphs import GRAPHS

_SCRIPTS = Path(__file__).parents[3] / "packaging"


def load_graph(folder: Path, graphs: Path, *, int8: bool = False) -> OwlGraph:
    """Export the graphs of a checkpoint into a folder, and load them with its weights."""
    model = load_model(folder)
    export(model, graphs, "tiny")
    architecture = fitting(folder, graphs)
    assert architecture is not None
    return OwlGraph(architecture, folder, int8=int8, threads=1)


def export(model: object, graphs: Path, stem: str) -> None:
    """Export the graphs of a model of transformers, by the scripts as they find each other when they are run."""
    sys.path.insert(0, str(_SCRIPTS))
    try:
        import_module("export_owl").export_owl(model, graphs, stem)
    finally:
        sys.path.remove(str(_SCRIPTS))


if __name__ == "__main__":
    for family in ("owlv2", "owlvit"):
        with tempfile.TemporaryDirectory() as checkpoint:
            export(load_model(build(family, Path(checkpoint))), GRAPHS, f"tiny-{family}")
