"""Single-shot detectors with anchors, as MediaPipe's for faces and palms: boxes with points, and how to merge them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from dinox_mcp.backends.embedded.networks.crops import Crop
from dinox_mcp.backends.embedded.networks.weights import Floats, Network
from dinox_mcp.geometry import ious

_SIDE = 256
_SAME_IOU = 0.3  # candidates that overlap more show one thing


class Candidates(NamedTuple):
    """What a detector sees: boxes (n, 4) and points (n, k, 2) in pixels of the picture, and scores (n,)."""

    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    points: npt.NDArray[np.float64]

    def merged(self) -> "Candidates":
        """Merge candidates that overlap to their mean, weighted by their scores (weighted NMS), the best first."""
        left = np.argsort(-self.scores, kind="stable")
        merged = []
        while left.size:
            same = ious(self.boxes[left[0]], self.boxes[left]) > _SAME_IOU
            same[0] = True  # also where the box is empty
            group, left = left[same], left[~same]
            weights = self.scores[group] / self.scores[group].sum()
            box = np.tensordot(weights, self.boxes[group], axes=1)
            merged.append((box, self.scores[group[0]], np.tensordot(weights, self.points[group], axes=1)))
        return Candidates(*map(np.array, zip(*merged, strict=True))) if merged else self


class Detector:
    """Finds things of one kind in a square crop."""

    def __init__(
        self,
        name: str,
        layers: Sequence[tuple[int, int]],
        rows: Callable[[dict[str, Floats]], tuple[Floats, Floats]],
    ) -> None:
        """Load the network.

        Args:
            name: The network's name.
            layers: For each grid of the network, the side of its cells in pixels and the anchors in a cell.
            rows: Takes what the network gives and tells its logits (n,) and its rows (n, 4 + 2 * k) apart. A row
                holds a box as center, width and height, then points, all in the crop's pixels from the anchor.

        Raises:
            BackendError: its file is missing or damaged.
        """
        self._network = Network(name)
        self._anchors = _anchors(layers)
        self._rows = rows

    def find(self, image: Image.Image, crop: Crop, min_score: float) -> Candidates:
        """Find things in a crop that is not turned; what overlaps is merged, the best comes first.

        Args:
            image: The picture, RGB.
            crop: Where to look.
            min_score: The lowest score of a candidate, from 0 to 1.
        """
        pixels = crop.pixels(image, _SIDE)[None].astype(np.float32) / np.float32(127.5) - np.float32(1)
        logits, rows = self._rows(self._network(pixels))
        scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -80, 80)))
        good = scores >= min_score
        pairs = rows[good].reshape(-1, rows.shape[1] // 2, 2) / _SIDE
        anchors = self._anchors[good]
        centers, halves = pairs[:, 0] + anchors, pairs[:, 1] / 2
        low, high = crop.to_picture(centers - halves), crop.to_picture(centers + halves)
        points = crop.to_picture(pairs[:, 2:] + anchors[:, None])
        return Candidates(np.concatenate([low, high], axis=1), scores[good], points).merged()


def _anchors(layers: Sequence[tuple[int, int]]) -> npt.NDArray[np.float64]:
    """Give the anchors' centers (n, 2) as shares of the crop: grid by grid, row by row, cell by cell."""
    grids = []
    for stride, copies in layers:
        cells = _SIDE // stride
        rows, columns = np.divmod(np.arange(cells * cells), cells)
        grids.append(np.repeat(np.stack([columns, rows], axis=1) + 0.5, copies, axis=0) / cells)
    return np.concatenate(grids)
