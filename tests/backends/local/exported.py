"""Graphs of the tiny checkpoints, exported by the script that exports those of the package.

python -m tests.backends.local.exported  # writes those in graphs/, for tests without torch
"""

import sys
import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from dinox_mcp.backends.local.checkpoints.graph import fitting
from dinox_mcp.backends.local.models.owl_graph import OwlGraph
from tests.backends.local.parity import load_model
from tests.backends.local.tiny_checkpoints import build
from tests.backends.local.tiny_graphs import GRAPHS

_SCRIPT = Path(__file__).parents[3] / "packaging/graphs.py"


def load_graph(folder: Path, graphs: Path, *, int8: bool = False) -> OwlGraph:
    """Export the graphs of a checkpoint into a folder, and load them with its weights."""
    model = load_model(folder)
    export(model, graphs, "tiny")
    architecture = fitting(folder, graphs)
    assert architecture is not None
    return OwlGraph(architecture, folder, int8=int8, threads=1)


def export(model: object, graphs: Path, stem: str) -> None:
    """Export the graphs of a model of transformers; `packaging` is also the name of a package of others."""
    name = "dinox_mcp_packaging_graphs"
    if name not in sys.modules:
        spec = spec_from_file_location(name, _SCRIPT)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    sys.modules[name].export_owl(model, graphs, stem)


if __name__ == "__main__":
    for family in ("owlv2", "owlvit"):
        with tempfile.TemporaryDirectory() as checkpoint:
            export(load_model(build(family, Path(checkpoint))), GRAPHS, f"tiny-{family}")
