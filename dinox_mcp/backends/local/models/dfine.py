"""D-FINE: a detector of the kinds of things that it was trained for, without a text model.

An image is turned into 300 candidates: a box each, and a score for each kind, whatever a request is about. Another
request about the same image chooses other kinds, which takes less than a millisecond. As in the reference, a box may
have several labels: the best pairs of box and label are given, as many as there are boxes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dinox_mcp.backends.local.checkpoints import files
from dinox_mcp.backends.local.checkpoints.graph import Architecture, Graph
from dinox_mcp.backends.local.kinds import labels_in
from dinox_mcp.backends.local.models.base import DetectionModel, ImageFeatures, Prepared, RawDetection
from dinox_mcp.backends.local.models.candidates import Floats, best_pairs, corners, sigmoid
from dinox_mcp.errors import BackendError, UnsupportedError


class DFineModel(DetectionModel):
    """A D-FINE model in any runtime. Features are a logit of each kind (n, kinds), and boxes (n, 4) by corners.

    Args:
        family: The `model_type` of the checkpoint.
        folder: The folder of the checkpoint, whose `config.json` names the kinds.
    """

    def __init__(self, family: str, folder: Path) -> None:
        super().__init__(family, folder)
        self._config = folder / files.CONFIG
        self._columns = {label: column for column, label in labels_in(files.read_json(self._config)).items()}
        self.labels = tuple(self._columns)

    def _require_columns(self, count: int) -> None:
        """Check that the weights score `count` kinds, among them all that have a label.

        Raises:
            BackendError: They do not.
        """
        if not self._columns or max(self._columns.values()) >= count:
            named = f"{self._config} names {len(self._columns)} kinds (id2label)"
            raise BackendError(f"{named} and the weights score {count}; {files.REMEDY}")

    def overlong(self, labels: Sequence[str]) -> list[int]:  # noqa: ARG002 - it reads no text
        """Return no labels: none has a text window."""
        return []

    def find(
        self,
        features: ImageFeatures,
        labels: Sequence[str],
        embeddings: Floats | None,  # noqa: ARG002 - this family has none
        min_score: float,
        *,
        masks: bool = False,  # noqa: ARG002 - nor these
    ) -> list[RawDetection]:
        """Find the best pairs of box and label."""
        logits, boxes = features.arrays
        scores = sigmoid(logits[:, [self._columns[label] for label in labels]])
        return best_pairs(scores, boxes, features.size, min_score)

    @staticmethod
    def _features(batch: Sequence[Prepared], logits: Floats, boxes: Floats) -> list[ImageFeatures]:
        """Split what was computed of several images; boxes are by centre and size, in fractions of their image."""
        rows = zip(batch, logits, corners(boxes), strict=True)
        return [ImageFeatures((one.copy(), where.copy()), image.size) for image, one, where in rows]


class DFineGraph(DFineModel):
    """A D-FINE model in ONNX Runtime, on the CPU; arguments are those of `Graph`.

    Raises:
        BackendError: The weights score another number of kinds than the configuration names.
        UnsupportedError: The checkpoint wants images of another size than the graph takes.
    """

    def __init__(self, architecture: Architecture, folder: Path, *, threads: int) -> None:
        super().__init__(architecture.model_type, folder)
        self._graph = Graph(architecture, "image", folder, threads=threads)
        self._require_columns(self._graph.kinds)
        *_, height, width = self._graph.shape_of("pixels")
        wanted = self._preprocess.height, self._preprocess.width
        if wanted != (height, width):
            raise UnsupportedError(
                f"the graph of this model takes images of {width}x{height} pixels, and the model in {folder} wants "
                f"{wanted[1]}x{wanted[0]}; let torch run it (DINOX_MCP_RUNTIME=torch)"
            )

    def encode(self, batch: Sequence[Prepared]) -> list[ImageFeatures]:
        """Compute the features of images, all at once."""
        return self._features(batch, *self._graph(pixels=np.stack([image.pixels for image in batch])))
