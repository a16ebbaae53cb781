"""SAM 2 in ONNX Runtime, without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dinox_mcp.backends.local.checkpoints.graph import Architecture, Graph
from dinox_mcp.backends.local.models.base import Prepared
from dinox_mcp.backends.local.models.sam2 import Floats, Sam2Model


@dataclass(frozen=True, slots=True)
class MaskFeatures:
    """One image: its feature maps (1, channels, height, width), finest first, and its own (width, height) in pixels."""

    maps: tuple[Floats, ...]
    size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Memory that they take, in bytes."""
        return sum(one.nbytes for one in self.maps)


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

    def encode(self, batch: Sequence[Prepared]) -> list[MaskFeatures]:
        """Compute the features of images, one after the other."""
        return [MaskFeatures(tuple(self._image_graph(pixels=image.pixels[None])), image.size) for image in batch]

    def _logits(self, features: MaskFeatures, prompts: Floats) -> Floats:
        fine, middle, coarse = features.maps
        (logits,) = self._boxes_graph(boxes=prompts, fine=fine, middle=middle, coarse=coarse)
        return logits
