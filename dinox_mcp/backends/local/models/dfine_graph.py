"""D-FINE in ONNX Runtime, without torch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dinox_mcp.backends.local.checkpoints.graph import Architecture, Graph
from dinox_mcp.backends.local.models.base import Prepared
from dinox_mcp.backends.local.models.dfine import DFineFeatures, DFineModel
from dinox_mcp.errors import UnsupportedError


class DFineGraph(DFineModel):
    """A D-FINE model in ONNX Runtime, on the CPU.

    Args:
        architecture: The architecture that fits the checkpoint.
        folder: The folder of the checkpoint.
        threads: The most threads of one run.

    Raises:
        BackendError: The weights score another number of kinds than the configuration names.
        UnsupportedError: The checkpoint wants images of another size than the graph takes.
    """

    def __init__(self, architecture: Architecture, folder: Path, *, threads: int) -> None:
        super().__init__(architecture.model_type, folder)
        self._graph = Graph.of_images(architecture, folder, int8=False, threads=threads)
        self._require_columns(self._graph.kinds)
        *_, height, width = self._graph.shape_of("pixels")
        wanted = self._preprocess.height, self._preprocess.width
        if wanted != (height, width):
            raise UnsupportedError(
                f"the graph of this model takes images of {width}x{height} pixels, and the model in {folder} wants "
                f"{wanted[1]}x{wanted[0]}; let torch run it (DINOX_MCP_RUNTIME=torch)"
            )

    def encode(self, batch: Sequence[Prepared]) -> list[DFineFeatures]:
        """Compute the features of images, all at once."""
        return self._features(batch, *self._graph(pixels=np.stack([image.pixels for image in batch])))
