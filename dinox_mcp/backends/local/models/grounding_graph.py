"""Grounding DINO and its variants in ONNX Runtime, without torch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dinox_mcp.backends.local.checkpoints.graph import Architecture, Graph
from dinox_mcp.backends.local.models.base import MapFeatures, Prepared
from dinox_mcp.backends.local.models.grounding import Floats, GroundingDinoModel
from dinox_mcp.backends.local.models.texts import attending


class GroundingDinoGraph(GroundingDinoModel):
    """A Grounding DINO, MM-Grounding-DINO or LLMDet model in ONNX Runtime, on the CPU, in float32.

    Args:
        architecture: The architecture that fits the checkpoint.
        folder: The folder of the checkpoint.
        threads: The most threads of one run.
    """

    def __init__(self, architecture: Architecture, folder: Path, *, threads: int) -> None:
        super().__init__(architecture.model_type, folder, window=architecture.config[""]["max_text_len"])
        self._image_graph = Graph.of_images(architecture, folder, int8=False, threads=threads)
        self._text_graph = Graph.of_text(architecture, folder, threads=threads)

    def encode(self, batch: Sequence[Prepared]) -> list[MapFeatures]:
        """Compute the features of images, one after the other."""
        return [MapFeatures(tuple(self._image_graph(pixels=image.pixels[None])), image.size) for image in batch]

    def _candidates(self, features: MapFeatures, ids: Sequence[int]) -> tuple[Floats, Floats]:
        blocks, places = attending(ids)
        maps = {f"map{number}": one for number, one in enumerate(features.maps, start=1)}
        tokens = np.array([ids], np.int64)
        logits, boxes = self._text_graph(ids=tokens, places=places[None], blocks=blocks, **maps)
        centre, half = boxes[:, :2], boxes[:, 2:] / 2
        with np.errstate(over="ignore"):  # of a probability near 0
            probabilities = np.reciprocal(np.float32(1) + np.exp(-logits))
        return probabilities, np.concatenate((centre - half, centre + half), axis=-1)
