"""OWL-ViT and OWLv2 in ONNX Runtime, without torch."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from dinox_mcp.backends.local.checkpoints.graph import CPU, Architecture, Graph
from dinox_mcp.backends.local.models.base import Prepared
from dinox_mcp.backends.local.models.candidates import Floats
from dinox_mcp.backends.local.models.owl import OwlFeatures, OwlModel

_BATCH = 16
"""Labels to embed at once, so that a cancelled request stops soon."""


class OwlGraph(OwlModel):
    """An OWL-ViT or OWLv2 model in ONNX Runtime. Labels are always embedded on the CPU and in float32.

    Args:
        architecture: The architecture that fits the checkpoint.
        folder: The folder of the checkpoint.
        threads: The most threads of one run.
        int8: Whether the large matrix products are computed with bytes.
        provider: What of ONNX Runtime computes the features of images.
    """

    def __init__(
        self, architecture: Architecture, folder: Path, *, threads: int, int8: bool = False, provider: str = CPU
    ) -> None:
        window = next(dims[0] for name, dims in architecture.text.items() if "position_embedding" in name)
        super().__init__(
            architecture.model_type, folder, window=window, width=architecture.image["class_head.dense0.weight"][0] or 0
        )
        with ThreadPoolExecutor(1) as pool:
            text_graph = pool.submit(Graph.of_text, architecture, folder, threads=threads, fold=False)
            self._image_graph = Graph.of_images(
                architecture, folder, int8=int8, threads=threads, provider=provider, fold=provider != CPU
            )
            self._text_graph = text_graph.result()

    def encode(self, batch: Sequence[Prepared]) -> list[OwlFeatures]:
        """Compute the features of images, all at once."""
        return self._features(batch, *self._image_graph(pixels=np.stack([image.pixels for image in batch])))

    def embed(self, labels: Sequence[str]) -> Floats:
        """Embed labels, one normalised row each; what is beyond the text window of 16 tokens is cut off."""
        rows = []
        for start in range(0, len(labels), _BATCH):
            ids, mask = self._text(labels[start : start + _BATCH])
            rows += self._text_graph(ids=ids, mask=mask)
        return np.concatenate(rows)
