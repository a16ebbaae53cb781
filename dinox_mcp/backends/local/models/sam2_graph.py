"""SAM 2 in ONNX Runtime, without torch."""

from collections.abc import Sequence
from pathlib import Path

from dinox_mcp.backends.local.checkpoints.graph import Architecture, Graph
from dinox_mcp.backends.local.models.base import MapFeatures, Prepared
from dinox_mcp.backends.local.models.sam2 import Floats, Sam2Model


class Sam2Graph(Sam2Model):
    """A SAM 2 model in ONNX Runtime, on the CPU, in float32.

    Args:
        architecture: The architecture that fits the checkpoint.
        folder: The folder of the checkpoint.
        threads: The most threads of one run.
    """

    def __init__(self, architecture: Architecture, folder: Path, *, threads: int) -> None:
        super().__init__(architecture.model_type, folder)
        self._image_graph = Graph.of_images(architecture, folder, int8=False, threads=threads)
        self._boxes_graph = Graph.of_boxes(architecture, folder, threads=threads)

    def encode(self, batch: Sequence[Prepared]) -> list[MapFeatures]:
        """Compute the features of images, one after the other."""
        return [MapFeatures(tuple(self._image_graph(pixels=image.pixels[None])), image.size) for image in batch]

    def _logits(self, features: MapFeatures, prompts: Floats) -> Floats:
        fine, middle, coarse = features.maps
        (logits,) = self._boxes_graph(boxes=prompts, fine=fine, middle=middle, coarse=coarse)
        return logits
