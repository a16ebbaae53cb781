"""D-FINE: a detector of the kinds of things that it was trained for, without a text model.

An image is turned into 300 candidates: a box each, and a score for each kind, whatever a request is about. Another
request about the same image chooses other kinds, which takes less than a millisecond. As in the reference, a box may
have several labels: the best pairs of box and label are given, as many as there are boxes. All that is the same in each
runtime, and needs numpy alone; `dfine_torch` and `dfine_graph` encode.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.local.checkpoints import files
from dinox_mcp.backends.local.kinds import labels_in
from dinox_mcp.backends.local.models.base import DetectionModel, Prepared, RawDetection
from dinox_mcp.errors import BackendError

if TYPE_CHECKING:
    from dinox_mcp.backends.local.models.base import Rows

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DFineFeatures:
    """One image: for each candidate a logit of each kind (n, kinds), and its box (n, 4) by corners in its pixels."""

    logits: Floats
    boxes: Floats

    @property
    def nbytes(self) -> int:
        """Memory that they take, in bytes."""
        return self.logits.nbytes + self.boxes.nbytes


class DFineModel(DetectionModel):
    """A D-FINE model.

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
        features: DFineFeatures,
        labels: Sequence[str],
        embeddings: "Rows | None",  # noqa: ARG002 - this family has none
        min_score: float,
        *,
        masks: bool = False,  # noqa: ARG002 - nor these
    ) -> list[RawDetection]:
        """Find the best pairs of box and label."""
        with np.errstate(over="ignore"):  # of a score near 0
            scores = 1 / (1 + np.exp(-features.logits[:, [self._columns[label] for label in labels]]))
        best = np.argsort(-scores, axis=None, kind="stable")[: len(scores)]
        best = best[scores.flat[best] >= min_score]
        rows = zip(best.tolist(), scores.flat[best].tolist(), strict=True)
        pairs = [(*divmod(pair, len(labels)), score) for pair, score in rows]
        return [RawDetection(label, score, tuple(features.boxes[box].tolist())) for box, label, score in pairs]

    @staticmethod
    def _features(batch: Sequence[Prepared], logits: Any, boxes: Floats) -> list[DFineFeatures]:  # noqa: ANN401
        """Split what was computed of several images; boxes are by centre and size, in fractions of their image."""
        centre, half = boxes[..., :2], boxes[..., 2:] / 2
        corners = np.concatenate((centre - half, centre + half), axis=-1)
        return [
            DFineFeatures(one.copy(), rows * np.array(image.size * 2, np.float32))
            for image, one, rows in zip(batch, logits, corners, strict=True)
        ]
