"""Faces and hands, found in the full image and in crops around the heads and arms of known bodies.

The networks see 256 pixels: in a full photograph, only near faces and hands are large enough. Poses give the heads and
forearms, and crops around them show the faces and hands of persons far away. Faces are found by BlazeFace. Hands are
found by two networks of MediaPipe: one finds palms, in the full image and around wrists; the other finds the points of
a hand, also without a palm in crops along forearms, and scores for each crop whether it shows a hand.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from dinox_mcp.backends.embedded.bodies import AnchorDetector, Body, Candidates, Crop, Points
from dinox_mcp.backends.embedded.readings import distinct
from dinox_mcp.backends.embedded.runtime import Floats, Network
from dinox_mcp.backends.embedded.worker import Report, ignore
from dinox_mcp.types.boxes import Box, clip, is_ordered, shares

Side = Literal["left", "right"]

FACES = "BlazeFace"
HANDS = "MediaPipe Hands"

_FACE_LAYERS = ((16, 2), (32, 6))
_FACE_SCORE, _HEAD_SCORE = 0.7, 0.65  # in the full image and around a head: below, most candidates are not faces
_HEAD = slice(0, 5)  # nose, eyes and ears of a body
_LEAST_HEAD_SCORE = 0.3
_SAME_FACE = 0.5  # faces that share so much of the smaller one are the same face
_TOO_FAR = 1.0  # from this distance on, a face or hand does not belong to a head or wrist; in its own sizes
_GUESSED = 0.9  # the distance of a face in the upper half of a body whose pose has no head

_PALM_LAYERS = ((8, 2), (16, 2), (32, 6))
_PALM_SCORE, _WRIST_SCORE = 0.6, 0.5  # of a palm, in the full image and around a wrist
_HAND_SCORE = 0.5  # below it, a crop shows no hand
_SURE = 0.8  # above it, no palm is searched at the same wrist: that network takes twice as long
_RIGHT = 0.5  # above it, a right hand of the person: true for all 17 labelled hands of COCO images
_SIDE = 224
_WRIST, _MIDDLE_KNUCKLE = 0, 2  # among the seven points of a palm
_ELBOWS_AND_WRISTS = ((7, 9), (8, 10))  # among the points of a body
_LEAST_WRIST_SCORE = 0.2
_SAME_HAND = 0.4  # hands closer than this, in sizes of the larger, are the same hand
_MARGIN = 0.1  # the points are joints, inside the hand
_OTHER: dict[Side, Side] = {"left": "right", "right": "left"}


class FoundFace(NamedTuple):
    """A face from the eyebrows to the chin, its box inside the image; `person` is the index of its body, if any."""

    bbox: Box
    score: float
    person: int | None = None


class FoundHand(NamedTuple):
    """A hand: its 21 points (x, y) of `types.keypoints.HAND`, a box around them, and which hand of a person it is."""

    bbox: Box
    score: float
    points: Points
    side: Side
    person: int | None = None

    @property
    def size(self) -> float:
        """The longer side of the box around the points."""
        return float(np.ptp(self.points, axis=0).max())


class FaceFinder:
    """Finds faces."""

    def __init__(self) -> None:
        self._detector = AnchorDetector("blazeface-back", _FACE_LAYERS, _face_rows)

    def find(self, image: Image.Image, bodies: Sequence[Body], report: Report = ignore) -> list[FoundFace]:
        """Find each face in an RGB image once, the best score first; each person has at most one."""
        report(0.0)
        found = _faces(self._detector.find(image, Crop.of_image(image), _FACE_SCORE), image)
        for done, body in enumerate(bodies, start=1):
            report(done / (len(bodies) + 1))
            near = _faces(self._detector.find(image, _head_crop(body), _HEAD_SCORE), image)
            found += [face for face in near if _face_distance(face, body) < _TOO_FAR][:1]  # neighbors may show, too
        faces = distinct(sorted(found, key=lambda face: -face.score), _is_same_face)
        owners = _nearest([[_face_distance(face, body) for body in bodies] for face in faces])
        return [face._replace(person=owners.get(number)) for number, face in enumerate(faces)]


class HandFinder:
    """Finds hands and their points."""

    def __init__(self) -> None:
        self._palms = AnchorDetector("handdetect", _PALM_LAYERS, _palm_rows)
        self._landmarks = Network("handlandmark-full")

    def find(self, image: Image.Image, bodies: Sequence[Body], report: Report = ignore) -> list[FoundHand]:
        """Find each hand in an RGB image once, the best score first; each wrist has at most one."""
        report(0.0)
        palms = self._palms.find(image, Crop.of_image(image), _PALM_SCORE)
        found = list(self._hands(image, _palm_crops(palms)))
        forearms = list(_forearms(bodies))
        for done, forearm in enumerate(forearms, start=1):
            report(done / (len(forearms) + 1))
            along = list(self._hands(image, [_hand_crop(forearm)]))
            found += along
            if not any(hand.score > _SURE for hand in along):
                palms = self._palms.find(image, _wrist_crop(forearm), _WRIST_SCORE)
                found += self._hands(image, list(_palm_crops(palms))[:1])
        hands = distinct(sorted(found, key=lambda hand: -hand.score), _is_same_hand)
        return _with_persons(hands, forearms)

    def _hands(self, image: Image.Image, crops: Iterable[Crop]) -> Iterator[FoundHand]:
        """Find the points of hands whose fingers point up in the crops."""
        for crop in crops:
            outputs = self._landmarks(crop.pixels(image, _SIDE)[None].astype(np.float32) / np.float32(255))
            score, right = outputs["Identity_1"].item(), outputs["Identity_2"].item()
            points = crop.to_image(outputs["Identity"].reshape(21, 3)[:, :2] / _SIDE)
            margin = _MARGIN * np.ptp(points, axis=0).max()
            (x1, y1), (x2, y2) = points.min(axis=0) - margin, points.max(axis=0) + margin
            bbox = clip((x1, y1, x2, y2), *image.size)
            if score > _HAND_SCORE and is_ordered(bbox):
                yield FoundHand(bbox, score, points, "right" if right > _RIGHT else "left")


def _nearest(distances: Sequence[Sequence[float]]) -> dict[int, int]:
    """Match faces or hands (rows) with heads or wrists (columns), the nearest pairs first, each at most once."""
    pairs = sorted(
        (distance, number, owner)
        for number, row in enumerate(distances)
        for owner, distance in enumerate(row)
        if distance < _TOO_FAR
    )
    owners: dict[int, int] = {}
    for _, number, owner in pairs:
        if number not in owners and owner not in owners.values():
            owners[number] = owner
    return owners


def _face_rows(outputs: dict[str, Floats]) -> tuple[Floats, Floats]:
    logits = np.concatenate([outputs["Identity"][0, :, 0], outputs["Identity_1"][0, :, 0]])
    return logits, np.concatenate([outputs["Identity_2"][0], outputs["Identity_3"][0]])


def _faces(found: Candidates, image: Image.Image) -> list[FoundFace]:
    boxes = [clip(box, *image.size) for box in found.boxes.tolist()]
    return [FoundFace(box, score) for box, score in zip(boxes, found.scores.tolist(), strict=True) if is_ordered(box)]


def _head(body: Body) -> Points | None:
    """Return the points (5, 2) of a head; None if the pose does not show it."""
    points = body.points[_HEAD]
    return points[:, :2] if points[:, 2].mean() > _LEAST_HEAD_SCORE else None


def _head_crop(body: Body) -> Crop:
    """Return a crop around a head; without its points, around the upper part of the body."""
    x1, y1, x2, y2 = body.bbox
    width, height = x2 - x1, y2 - y1
    head = _head(body)
    if head is None:
        return Crop((x1 + x2) / 2, y1 + 0.12 * height, 0.3 * max(0.6 * height, width))
    x, y = head.mean(axis=0).tolist()
    return Crop(x, y, 2.2 * max(*np.ptp(head, axis=0).tolist(), 0.12 * min(height, 2 * width)))


def _is_same_face(one: FoundFace, other: FoundFace) -> bool:
    return bool(shares(np.array(one.bbox), np.array([other.bbox]))[0] > _SAME_FACE)


def _face_distance(face: FoundFace, body: Body) -> float:
    """Measure how far a face is from a body's head, as a multiple of the face's size."""
    x1, y1, x2, y2 = face.bbox
    center = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    head = _head(body)
    if head is not None:
        return float(np.linalg.norm(head.mean(axis=0) - center)) / max(x2 - x1, y2 - y1)
    left, top, right, bottom = body.bbox
    inside = left <= center[0] <= right and top <= center[1] <= (top + bottom) / 2
    return _GUESSED if inside else _TOO_FAR


class _Forearm(NamedTuple):
    person: int
    wrist: Points
    direction: Points
    """From the elbow to the wrist; as long as a forearm of the body at least."""


def _palm_rows(outputs: dict[str, Floats]) -> tuple[Floats, Floats]:
    rows = outputs["Identity"][0]
    return rows[:, 0], rows[:, 1:]


def _palm_crops(palms: Candidates) -> Iterator[Crop]:
    """Yield a crop of the hand of each palm, rotated so that the fingers point up, and large enough for them."""
    for (x1, y1, x2, y2), points in zip(palms.boxes.tolist(), palms.points, strict=True):
        up = points[_MIDDLE_KNUCKLE] - points[_WRIST]
        angle = math.atan2(up[0], -up[1])
        shift = (y2 - y1) / 2
        x, y = (x1 + x2) / 2 + shift * math.sin(angle), (y1 + y2) / 2 - shift * math.cos(angle)
        yield Crop(x, y, 2.6 / 2 * max(x2 - x1, y2 - y1), angle)


def _forearms(bodies: Sequence[Body]) -> Iterator[_Forearm]:
    """List the forearms that the poses show."""
    for person, body in enumerate(bodies):
        x1, y1, x2, y2 = body.bbox
        least = 0.1 * max(x2 - x1, y2 - y1)  # a forearm that points at the camera looks short
        for elbow, wrist in _ELBOWS_AND_WRISTS:
            direction = body.points[wrist, :2] - body.points[elbow, :2]
            length = float(np.linalg.norm(direction))
            if length > 0 and body.points[[elbow, wrist], 2].min() >= _LEAST_WRIST_SCORE:
                yield _Forearm(person, body.points[wrist, :2], direction * (max(length, least) / length))


def _wrist_crop(forearm: _Forearm) -> Crop:
    """Return an upright crop around a wrist, to search a palm in it."""
    x, y = (forearm.wrist + 0.3 * forearm.direction).tolist()
    return Crop(x, y, float(np.linalg.norm(forearm.direction)))


def _hand_crop(forearm: _Forearm) -> Crop:
    """Return a crop of the hand that continues the forearm, rotated so that the fingers point up."""
    x, y = (forearm.wrist + 0.4 * forearm.direction).tolist()
    right, down = forearm.direction.tolist()
    return Crop(x, y, 0.75 * math.hypot(right, down), math.atan2(right, -down))


def _is_same_hand(one: FoundHand, other: FoundHand) -> bool:
    """Compare the means of the points: if a hand is found twice, its fingers may be in another order."""
    apart = np.linalg.norm(one.points.mean(axis=0) - other.points.mean(axis=0))
    return bool(apart < _SAME_HAND * max(one.size, other.size))


def _with_persons(hands: Sequence[FoundHand], forearms: Sequence[_Forearm]) -> list[FoundHand]:
    """Give each hand to the person whose wrist is nearest."""
    wrists = _nearest(
        [[float(np.linalg.norm(hand.points[0] - arm.wrist)) / hand.size for arm in forearms] for hand in hands]
    )
    owned: list[FoundHand] = []
    for number, hand in enumerate(hands):
        person = forearms[wrists[number]].person if number in wrists else None
        twice = any(person is not None and (other.person, other.side) == (person, hand.side) for other in owned)
        # Nobody has two left hands: the one with the better score keeps its side.
        owned.append(hand._replace(person=person, side=_OTHER[hand.side] if twice else hand.side))
    return owned
