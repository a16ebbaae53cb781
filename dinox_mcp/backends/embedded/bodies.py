"""Square crops of an image, single-shot detectors that run on them, and the poses of persons in given boxes.

Poses are estimated by MoveNet Thunder. The detectors, which have anchors, find faces and hands: see `parts`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from dinox_mcp.backends.embedded.runtime import Floats, Network
from dinox_mcp.backends.embedded.worker import Report, ignore
from dinox_mcp.types.boxes import Box, ious

FAMILY = "MoveNet Thunder"
_SIDE = 256  # of what the networks see, in pixels
_CROP = 1.2  # side of the crop, in longer sides of the person's box; as in Google's demo
_SAME_IOU = 0.3  # candidates that overlap more show the same thing

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Crop:
    """A square of an image, which may reach beyond it.

    Its middle (x, y) and half the length of its side are in pixels, its clockwise rotation is in radians.
    """

    x: float
    y: float
    half: float
    angle: float = 0.0

    @classmethod
    def around(cls, bbox: Box, factor: float) -> "Crop":
        """Return the square around a box whose side is `factor` times the longer side of the box."""
        x1, y1, x2, y2 = bbox
        return cls((x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, y2 - y1) * factor / 2)

    @classmethod
    def of_image(cls, image: Image.Image) -> "Crop":
        """Return the smallest square that holds an image in its upper left corner."""
        half = max(image.size) / 2
        return cls(half, half, half)

    def pixels(self, image: Image.Image, side: int) -> npt.NDArray[np.uint8]:
        """Cut the crop out of an RGB image: pixels (side, side, 3), black where it reaches beyond the image."""
        reduced = max(1, int(2 * self.half / side))  # bilinear sampling alone would skip pixels
        corners = self.to_image(np.array([(0, 0), (0, 1), (1, 0), (1, 1)]))
        left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int).tolist()
        right, bottom = np.minimum(np.ceil(corners.max(axis=0)), image.size).astype(int).tolist()
        if right <= left or bottom <= top:
            return np.zeros((side, side, 3), np.uint8)
        if reduced > 1:
            image = image.reduce(reduced, (left, top, right, bottom))
        else:
            left = top = 0
        step = self._axes() / (side * reduced)
        start = (corners[0] - (left, top)) / reduced
        matrix = (step[0, 0], step[0, 1], start[0], step[1, 0], step[1, 1], start[1])
        cut = image.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
        return np.asarray(cut, np.uint8)

    def to_image(self, shares: npt.NDArray[np.floating]) -> Points:
        """Map points (..., 2), given as shares of the crop's width and height, to pixels of the image."""
        return np.asarray((shares - 0.5) @ self._axes().T + (self.x, self.y))

    def _axes(self) -> Points:
        """Return the crop's upper and left sides as vectors in the image: the columns of a matrix."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        return 2 * self.half * np.array([[cosine, -sine], [sine, cosine]])


class Candidates(NamedTuple):
    """The candidates of a detector: boxes (n, 4) and points (n, k, 2) in pixels of the image, and scores (n,)."""

    boxes: Points
    scores: Points
    points: Points

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


class AnchorDetector:
    """Finds things of one kind in a square crop."""

    def __init__(
        self,
        name: str,
        layers: Sequence[tuple[int, int]],
        rows: Callable[[dict[str, Floats]], tuple[Floats, Floats]],
    ) -> None:
        """Load the network of this name.

        For each of its grids, `layers` has the side of the cells in pixels and the anchors in a cell. `rows` splits
        its outputs into logits (n,) and rows (n, 4 + 2 * k): a box as center, width and height, then points, all in
        the crop's pixels relative to the anchor.
        """
        self._network = Network(name)
        self._anchors = np.concatenate([_anchors(side, copies) for side, copies in layers])
        self._rows = rows

    def find(self, image: Image.Image, crop: Crop, min_score: float) -> Candidates:
        """Find things of at least a score in a crop that is not rotated, overlapping candidates merged."""
        pixels = crop.pixels(image, _SIDE)[None].astype(np.float32) / np.float32(127.5) - np.float32(1)
        logits, rows = self._rows(self._network(pixels))
        scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -80, 80)))
        good = scores >= min_score
        pairs = rows[good].reshape(-1, rows.shape[1] // 2, 2) / _SIDE
        anchors = self._anchors[good]
        centers, halves = pairs[:, 0] + anchors, pairs[:, 1] / 2
        low, high = crop.to_image(centers - halves), crop.to_image(centers + halves)
        points = crop.to_image(pairs[:, 2:] + anchors[:, None])
        return Candidates(np.concatenate([low, high], axis=1), scores[good], points).merged()


def _anchors(side: int, copies: int) -> Points:
    """Return the anchors' centers (n, 2) of a grid as shares of the crop, row by row."""
    cells = _SIDE // side
    rows, columns = np.divmod(np.arange(cells * cells), cells)
    return np.repeat(np.stack([columns, rows], axis=1) + 0.5, copies, axis=0) / cells


class Body(NamedTuple):
    """The pose of a person in a box, both in pixels of the image.

    The points (17, 3) are those of `types.keypoints.BODY`: x, y, and a score from 0 to 1. Points that are hidden or
    outside the image are guesses with a low score.
    """

    bbox: Box
    points: Points


class PoseEstimator:
    """Finds the points of bodies."""

    def __init__(self) -> None:
        self._network = Network("movenet-thunder")

    def estimate(self, image: Image.Image, boxes: Sequence[Box], report: Report = ignore) -> list[Body]:
        """Find the pose of the person in each box (in pixels of the RGB image); `report` is called before each."""
        bodies = []
        for done, bbox in enumerate(boxes):
            report(done / len(boxes))
            crop = Crop.around(bbox, _CROP)
            rows = self._network(crop.pixels(image, _SIDE)[None].astype(np.int32))["Identity"].reshape(17, 3)
            points = crop.to_image(rows[:, 1::-1])  # the network gives y before x
            bodies.append(Body(bbox, np.column_stack([points, rows[:, 2]])))
        return bodies
