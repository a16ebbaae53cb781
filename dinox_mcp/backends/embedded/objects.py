"""Detects objects of 80 kinds, and the poses, faces and hands of persons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from dinox_mcp.backends.embedded.kinds import sense
from dinox_mcp.backends.embedded.networks import bodies, faces, hands, objects
from dinox_mcp.backends.embedded.networks.bodies import Body
from dinox_mcp.backends.embedded.networks.objects import FoundObject
from dinox_mcp.backends.embedded.prompts import BodyPart, Targets
from dinox_mcp.backends.embedded.worker import Report, share
from dinox_mcp.types import keypoints
from dinox_mcp.types.boxes import Box, suppress
from dinox_mcp.types.detection import BBox, Detection, DetectionRequest, Keypoint

PERSON = "person"
_PERSON_SCORE = 0.35
"""The least score of persons whose faces and hands are searched."""
_MOST_PERSONS = 100
"""A pose takes 30 ms; in a larger crowd, only the poses of the persons with the best scores are estimated."""


@dataclass
class ObjectSearcher:
    """Detects objects and parts of persons; each network is loaded on first use."""

    _objects: objects.ObjectDetector | None = None
    _bodies: bodies.PoseEstimator | None = None
    _faces: faces.FaceFinder | None = None
    _hands: hands.HandFinder | None = None

    def search(
        self, image: Image.Image, targets: Targets, request: DetectionRequest, report: Report, *, thorough: bool
    ) -> "ObjectResults":
        """Detect objects, faces and hands.

        Args:
            image: The image, RGB.
            targets: The kinds of objects and parts of the body, with their labels.
            request: Thresholds and outputs.
            report: Called with the progress.
            thorough: Run at two sizes, which takes 1.5 times as long and finds more.

        Raises:
            BackendError: a model is missing or damaged.
        """
        with_hands = "hands" in request.include or BodyPart.HAND in targets.parts
        with_bodies = with_hands or BodyPart.FACE in targets.parts or "pose" in request.include
        self._objects = self._objects or objects.ObjectDetector()
        widths = objects.THOROUGH if thorough else objects.QUICK
        least = min(request.min_score, _PERSON_SCORE) if with_bodies else request.min_score
        detected = self._objects.detect(image, widths, least, request.iou_threshold, share(report, 0.0, 0.3))
        found = ObjectResults([f"{objects.FAMILY} {'+'.join(map(str, widths))}"])
        found.detections = _label(detected, targets.kinds, request)
        if not with_bodies:
            return found
        persons = [one for one in detected if one.kind == PERSON]
        if "pose" not in request.include or PERSON not in targets.kinds:
            persons = [one for one in persons if one.score >= _PERSON_SCORE]
        if len(persons) > _MOST_PERSONS:
            found.notes.append(f"poses, faces and hands only of the {_MOST_PERSONS} surest of {len(persons)} persons")
        poses = self._poses(image, [one.bbox for one in persons[:_MOST_PERSONS]], found, share(report, 0.3, 0.6))
        owners = _Owners(poses, found.detections)
        if "pose" in request.include:
            found.detections = [owners.with_pose(one) for one in found.detections]
        if label := targets.parts.get(BodyPart.FACE):
            self._faces = self._faces or faces.FaceFinder()
            found.models.append(faces.FAMILY)
            for face in self._faces.find(image, poses, share(report, 0.6, 0.75)):
                found.add(_part(label, BodyPart.FACE, face.bbox, face.score, owners.of(face.person)), request)
        if with_hands:
            self._hands = self._hands or hands.HandFinder()
            found.models.append(hands.FAMILY)
            label = targets.parts.get(BodyPart.HAND, BodyPart.HAND.value)
            for hand in self._hands.find(image, poses, share(report, 0.75, 1.0)):
                part = _part(label, f"{hand.side} hand", hand.bbox, hand.score, owners.of(hand.person))
                if "hands" in request.include:
                    part = part.model_copy(update={"keypoints": _named(keypoints.HAND, hand.points)})
                found.add(part, request)
        return found

    def poses(self, image: Image.Image, objects: Sequence[Detection], report: Report) -> "ObjectResults":
        """Estimate the poses of the objects whose labels mean persons, and of regions without a label."""
        found = ObjectResults([], list(objects))
        persons = [index for index, one in enumerate(objects) if _may_be_a_person(one)]
        if len(persons) > _MOST_PERSONS:
            found.notes.append(f"poses only of the first {_MOST_PERSONS} of {len(persons)} persons")
        chosen = persons[:_MOST_PERSONS]
        estimated = self._poses(image, [objects[index].bbox for index in chosen], found, report)
        for index, body in zip(chosen, estimated, strict=True):
            points = _named(keypoints.BODY, body.points)
            found.detections[index] = objects[index].model_copy(update={"keypoints": points})
        return found

    def _poses(self, image: Image.Image, boxes: Sequence[Box], found: "ObjectResults", report: Report) -> list[Body]:
        if not boxes:
            return []
        self._bodies = self._bodies or bodies.PoseEstimator()
        found.models.append(bodies.FAMILY)
        return self._bodies.estimate(image, boxes, report)


@dataclass
class ObjectResults:
    """Detections, the models that found them, and notes for the caller."""

    models: list[str]
    detections: list[Detection] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, one: Detection, request: DetectionRequest) -> None:
        """Add a detection if its score is high enough."""
        if one.score is None or one.score >= request.min_score:
            self.detections.append(one)


class _Owners:
    """Matches detections with poses: a person's box is that of its body, rounded."""

    def __init__(self, poses: Sequence[Body], detections: Sequence[Detection]) -> None:
        self._poses = {_rounded(body.bbox): body for body in poses}
        self._boxes = [_rounded(body.bbox) for body in poses]
        self._listed = {one.bbox for one in detections if one.category == PERSON}

    def of(self, person: int | None) -> BBox | None:
        """Return the box of a person if it is among the detections."""
        box = None if person is None else self._boxes[person]
        return box if box in self._listed else None

    def with_pose(self, one: Detection) -> Detection:
        body = self._poses.get(one.bbox) if one.category == PERSON else None
        return one.model_copy(update={"keypoints": _named(keypoints.BODY, body.points)}) if body else one


def _label(detected: Sequence[FoundObject], labels: Mapping[str, str], request: DetectionRequest) -> list[Detection]:
    """Label objects; of several kinds with one label, only the best of overlapping objects is kept."""
    found = [
        Detection(label=labels[one.kind], bbox=_rounded(one.bbox), score=round(one.score, 4), category=one.kind)
        for one in detected
        if one.kind in labels and one.score >= request.min_score
    ]
    shared = {label for label in labels.values() if sum(other == label for other in labels.values()) > 1}
    mixed = suppress([one for one in found if one.label in shared], request.iou_threshold)
    kept = {id(one) for one in mixed}
    return [one for one in found if one.label not in shared or id(one) in kept]


def _part(label: str, category: str, bbox: Box, score: float, owner: BBox | None) -> Detection:
    return Detection(
        label=label, bbox=_rounded(bbox), score=round(min(score, 1.0), 4), category=str(category), owner=owner
    )


def _named(names: Sequence[str], points: npt.NDArray[np.float64]) -> tuple[Keypoint, ...]:
    """Name the points (n, 2 or 3) of a body or hand: x and y in pixels, and a score if the model gives one."""
    return tuple(
        Keypoint(
            name=name, x=round(x, 1), y=round(y, 1), score=round(min(max(score[0], 0.0), 1.0), 4) if score else None
        )
        for name, (x, y, *score) in zip(names, points.tolist(), strict=True)
    )


def _may_be_a_person(one: Detection) -> bool:
    known = sense(one.label)
    return one.label == "region" or (known is not None and PERSON in known.kinds)


def _rounded(bbox: Box) -> BBox:
    x1, y1, x2, y2 = bbox
    return round(x1, 1), round(y1, 1), round(x2, 1), round(y2, 1)
