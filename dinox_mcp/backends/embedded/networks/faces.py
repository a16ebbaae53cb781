"""Faces, found by BlazeFace in the whole picture and in crops around the heads of known bodies.

The network sees 256 pixels: in a whole photograph, only the face of somebody near is large enough. A pose tells
where each head is, and a crop around it shows the face of somebody far away as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from dinox_mcp.backends.embedded.networks.bodies import Body
from dinox_mcp.backends.embedded.networks.crops import Candidates, Crop, Detector
from dinox_mcp.backends.embedded.networks.runtime import Floats, Report, ignore
from dinox_mcp.types.boxes import Box, shares

FAMILY = "BlazeFace"
POINTS = ("right_eye", "left_eye", "nose", "mouth", "right_ear", "left_ear")
"""The points of a face, in order; left and right are the person's own."""

_WHOLE_SCORE, _HEAD_SCORE = 0.7, 0.65  # below them, what is found is more often no face
_HEAD = slice(0, 5)  # nose, eyes and ears of a body
_LEAST_POINT_SCORE = 0.3
_SAME = 0.5  # faces that share so much of the smaller one are one face
_TOO_FAR = 1.0  # the distance of a face from a head that is another's, as a multiple of the face's size
_GUESSED = 0.9  # the distance of a face in the upper half of a body whose head the pose does not show
_LAYERS = ((16, 2), (32, 6))


@dataclass(frozen=True, slots=True, eq=False)
class FoundFace:
    """A face.

    Attributes:
        bbox: Its box, from the eyebrows to the chin, in pixels and inside the picture.
        score: How sure it is, from 0 to 1.
        points: The points `POINTS` as an array (6, 2) of x and y in pixels.
        person: The number of the body that it belongs to, or None if it belongs to none of the given.
    """

    bbox: Box
    score: float
    points: npt.NDArray[np.float64]
    person: int | None = None


class FaceFinder:
    """Finds faces."""

    def __init__(self) -> None:
        """Load the network.

        Raises:
            BackendError: its file is missing or damaged.
        """
        self._detector = Detector("blazeface-back", _LAYERS, _rows)

    def find(self, image: Image.Image, bodies: Sequence[Body], report: Report = ignore) -> list[FoundFace]:
        """Find each face once.

        Args:
            image: The picture, RGB.
            bodies: The persons in it.
            report: Report how much is done before each crop.

        Returns:
            The faces, the surest first. Each person has at most one.
        """
        report(0.0)
        found = _faces(self._detector.find(image, Crop.whole(image), _WHOLE_SCORE), image)
        for done, body in enumerate(bodies, start=1):
            report(done / (len(bodies) + 1))
            seen = _faces(self._detector.find(image, _head_crop(body), _HEAD_SCORE), image)
            found += [face for face in seen if _distance(face, body) < _TOO_FAR][:1]  # the crop shows neighbors too
        return _assigned(_once(found), bodies)


def _rows(outputs: dict[str, Floats]) -> tuple[Floats, Floats]:
    logits = np.concatenate([outputs["Identity"][0, :, 0], outputs["Identity_1"][0, :, 0]])
    return logits, np.concatenate([outputs["Identity_2"][0], outputs["Identity_3"][0]])


def _faces(found: Candidates, image: Image.Image) -> list[FoundFace]:
    boxes = np.clip(found.boxes, 0, np.tile(image.size, 2))
    return [
        FoundFace((x1, y1, x2, y2), score, points)
        for (x1, y1, x2, y2), score, points in zip(boxes.tolist(), found.scores.tolist(), found.points, strict=True)
        if x2 > x1 and y2 > y1
    ]


def _head(body: Body) -> npt.NDArray[np.float64] | None:
    """Give the points (5, 2) of a head, or None where the pose does not show it."""
    points = body.points[_HEAD]
    return points[:, :2] if points[:, 2].mean() > _LEAST_POINT_SCORE else None


def _head_crop(body: Body) -> Crop:
    """Show a head with some surroundings; without its points, the upper part of the body."""
    x1, y1, x2, y2 = body.bbox
    width, height = x2 - x1, y2 - y1
    head = _head(body)
    if head is None:
        return Crop((x1 + x2) / 2, y1 + 0.12 * height, 0.3 * max(0.6 * height, width))
    x, y = head.mean(axis=0).tolist()
    return Crop(x, y, 2.2 * max(*np.ptp(head, axis=0).tolist(), 0.12 * min(height, 2 * width)))


def _once(found: Sequence[FoundFace]) -> list[FoundFace]:
    """Keep each face once, as it was seen best: crops of neighbors, and the whole picture, show it again."""
    kept: list[FoundFace] = []
    for face in sorted(found, key=lambda item: -item.score):
        if not kept or shares(np.array(face.bbox), np.array([other.bbox for other in kept])).max() <= _SAME:
            kept.append(face)
    return kept


def _assigned(faces: Sequence[FoundFace], bodies: Sequence[Body]) -> list[FoundFace]:
    """Give each face to the person whose head is nearest; each person has one face, the nearest."""
    pairs = sorted(
        (distance, number, person)
        for number, face in enumerate(faces)
        for person, body in enumerate(bodies)
        if (distance := _distance(face, body)) < _TOO_FAR
    )
    owners: dict[int, int] = {}
    for _, number, person in pairs:
        if number not in owners and person not in owners.values():
            owners[number] = person
    return [replace(face, person=owners.get(number)) for number, face in enumerate(faces)]


def _distance(face: FoundFace, body: Body) -> float:
    """Measure how far a face is from a body's head, as a multiple of the face's size."""
    x1, y1, x2, y2 = face.bbox
    center = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    head = _head(body)
    if head is not None:
        return float(np.linalg.norm(head.mean(axis=0) - center)) / max(x2 - x1, y2 - y1)
    left, top, right, bottom = body.bbox
    inside = left <= center[0] <= right and top <= center[1] <= (top + bottom) / 2
    return _GUESSED if inside else _TOO_FAR
