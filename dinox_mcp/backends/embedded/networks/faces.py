"""Faces, found by BlazeFace in the full image and in crops around the heads of known bodies.

The network sees 256 pixels: in a full photograph, only near faces are large enough. Poses give the heads, and crops
around them show the faces of persons far away.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from dinox_mcp.backends.embedded.networks.bodies import Body
from dinox_mcp.backends.embedded.networks.crops import AnchorDetector, Candidates, Crop
from dinox_mcp.backends.embedded.networks.runtime import Floats
from dinox_mcp.backends.embedded.worker import Report, ignore
from dinox_mcp.types.boxes import Box, shares

FAMILY = "BlazeFace"

_WHOLE_SCORE, _HEAD_SCORE = 0.7, 0.65  # below them, most candidates are not faces
_HEAD = slice(0, 5)  # nose, eyes and ears of a body
_LEAST_POINT_SCORE = 0.3
_SAME = 0.5  # faces that share so much of the smaller one are the same face
_TOO_FAR = 1.0  # from this distance on, a face does not belong to a head; in face sizes
_GUESSED = 0.9  # the distance of a face in the upper half of a body whose pose has no head
_LAYERS = ((16, 2), (32, 6))


@dataclass(frozen=True, slots=True, eq=False)
class FoundFace:
    """A face.

    Attributes:
        bbox: Its box, from the eyebrows to the chin, in pixels and inside the image.
        score: From 0 to 1.
        person: The index of its body; None if it belongs to none of the given bodies.
    """

    bbox: Box
    score: float
    person: int | None = None


class FaceFinder:
    """Finds faces."""

    def __init__(self) -> None:
        """Load the network.

        Raises:
            BackendError: its file is missing or damaged.
        """
        self._detector = AnchorDetector("blazeface-back", _LAYERS, _rows)

    def find(self, image: Image.Image, bodies: Sequence[Body], report: Report = ignore) -> list[FoundFace]:
        """Find each face once.

        Args:
            image: The image, RGB.
            bodies: The persons in it.
            report: Called before each crop.

        Returns:
            The faces, the best score first. Each person has at most one.
        """
        report(0.0)
        found = _faces(self._detector.find(image, Crop.of_image(image), _WHOLE_SCORE), image)
        for done, body in enumerate(bodies, start=1):
            report(done / (len(bodies) + 1))
            seen = _faces(self._detector.find(image, _head_crop(body), _HEAD_SCORE), image)
            found += [face for face in seen if _distance(face, body) < _TOO_FAR][:1]  # the crop may show neighbors, too
        return _assign(_unique(found), bodies)


def _rows(outputs: dict[str, Floats]) -> tuple[Floats, Floats]:
    logits = np.concatenate([outputs["Identity"][0, :, 0], outputs["Identity_1"][0, :, 0]])
    return logits, np.concatenate([outputs["Identity_2"][0], outputs["Identity_3"][0]])


def _faces(found: Candidates, image: Image.Image) -> list[FoundFace]:
    boxes = np.clip(found.boxes, 0, np.tile(image.size, 2))
    return [
        FoundFace((x1, y1, x2, y2), score)
        for (x1, y1, x2, y2), score in zip(boxes.tolist(), found.scores.tolist(), strict=True)
        if x2 > x1 and y2 > y1
    ]


def _head(body: Body) -> npt.NDArray[np.float64] | None:
    """Return the points (5, 2) of a head; None if the pose does not show it."""
    points = body.points[_HEAD]
    return points[:, :2] if points[:, 2].mean() > _LEAST_POINT_SCORE else None


def _head_crop(body: Body) -> Crop:
    """Return a crop around a head; without its points, around the upper part of the body."""
    x1, y1, x2, y2 = body.bbox
    width, height = x2 - x1, y2 - y1
    head = _head(body)
    if head is None:
        return Crop((x1 + x2) / 2, y1 + 0.12 * height, 0.3 * max(0.6 * height, width))
    x, y = head.mean(axis=0).tolist()
    return Crop(x, y, 2.2 * max(*np.ptp(head, axis=0).tolist(), 0.12 * min(height, 2 * width)))


def _unique(found: Sequence[FoundFace]) -> list[FoundFace]:
    """Keep each face once, with its best score: crops of neighbors and the full image show it again."""
    kept: list[FoundFace] = []
    for face in sorted(found, key=lambda item: -item.score):
        if not kept or shares(np.array(face.bbox), np.array([other.bbox for other in kept])).max() <= _SAME:
            kept.append(face)
    return kept


def _assign(faces: Sequence[FoundFace], bodies: Sequence[Body]) -> list[FoundFace]:
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
