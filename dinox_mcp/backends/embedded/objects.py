"""Detects objects of the 80 kinds of COCO by NanoDet, and the poses, faces and hands of persons by other networks.

NanoDet (https://github.com/RangiLyu/nanodet) scores each cell of three grids for each kind, and gives each cell one
box. A side of the box is a distance from the cell's centre: a distribution over 11 bins, whose mean counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from dinox_mcp.backends.embedded import bodies, parts
from dinox_mcp.backends.embedded.bodies import Body, Points
from dinox_mcp.backends.embedded.prompts import BodyPart, Targets
from dinox_mcp.backends.embedded.readings import rounded
from dinox_mcp.backends.embedded.runtime import Floats, Network
from dinox_mcp.backends.embedded.worker import Report, ignore, share
from dinox_mcp.backends.kind_words import KINDS
from dinox_mcp.backends.kinds import sense
from dinox_mcp.types import keypoints
from dinox_mcp.types.boxes import Box, best_boxes, suppress
from dinox_mcp.types.detection import BBox, Detection, DetectionRequest, Keypoint

FAMILY = "NanoDet"
QUICK = (608,)
THOROUGH = (416, 608)
MOST_OBJECTS = 300
_SMALL, _LARGE = 0.4, 0.7
"""Of several widths, objects below the first size come from the largest and those above the second from the smallest.

Sizes are the longer side of the box as a share of the image's. At a large width, the network sees only parts of a
person who fills the image; at a small one, little of what is far away. On 79 photographs of COCO, AP is 30.0 with
width 608 and 32.3 with both; people are counted as well as with 608 alone (F1 0.75; without this rule 0.73).
"""
_MOST_CANDIDATES = 3000  # of one run
_REDUCING_GAP = 3.0  # makes 20 megapixels small in half the time; nothing changes for sides below 2400 pixels
# The outputs of each grid by the side of its cells in pixels: scores (cells, 80) and distances (cells, 4 * 11).
_OUTPUTS = {8: ("Identity", "Identity_3"), 16: ("Identity_1", "Identity_4"), 32: ("Identity_2", "Identity_5")}
_MULTIPLE = 32  # height and width must be multiples of the largest cell
_BINS = np.arange(11, dtype=np.float32)
_MEAN = np.array([103.53, 116.28, 123.675], np.float32)  # of BGR
_DEVIATION = np.array([57.375, 57.12, 58.395], np.float32)

PERSON = "person"
_PERSON_SCORE = 0.35
"""The least score of persons whose faces and hands are searched."""
_MOST_PERSONS = 100
"""A pose takes 30 ms; in a larger crowd, only the poses of the persons with the best scores are estimated."""


class FoundObject(NamedTuple):
    """An object: its kind as COCO calls it, its box in pixels of the image, and its score from 0 to 1."""

    kind: str
    bbox: Box
    score: float


@dataclass
class ObjectResults:
    """Detections, the models that found them, and notes for the caller."""

    models: list[str]
    detections: list[Detection] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class ObjectSearcher:
    """Detects objects and parts of persons; each network is loaded on first use."""

    def __init__(self) -> None:
        self._objects: ObjectDetector | None = None
        self._bodies: bodies.PoseEstimator | None = None
        self._faces: parts.FaceFinder | None = None
        self._hands: parts.HandFinder | None = None

    def search(
        self, image: Image.Image, targets: Targets, request: DetectionRequest, report: Report, *, thorough: bool
    ) -> ObjectResults:
        """Detect objects, faces and hands in an RGB image; `thorough` at two sizes, which takes half as long again."""
        with_hands = "hands" in request.include or BodyPart.HAND in targets.parts
        with_bodies = with_hands or BodyPart.FACE in targets.parts or "pose" in request.include
        self._objects = self._objects or ObjectDetector()
        widths = THOROUGH if thorough else QUICK
        least = min(request.min_score, _PERSON_SCORE) if with_bodies else request.min_score
        detected = self._objects.detect(image, widths, least, request.iou_threshold, share(report, 0.0, 0.3))
        found = ObjectResults([f"{FAMILY} {'+'.join(map(str, widths))}"], _label(detected, targets.kinds, request))
        if not with_bodies:
            return found
        persons = [one for one in detected if one.kind == PERSON]
        if "pose" not in request.include or PERSON not in targets.kinds:
            persons = [one for one in persons if one.score >= _PERSON_SCORE]
        if len(persons) > _MOST_PERSONS:
            found.notes.append(f"poses, faces and hands only of the {_MOST_PERSONS} surest of {len(persons)} persons")
        poses = self._poses(image, [one.bbox for one in persons[:_MOST_PERSONS]], found, share(report, 0.3, 0.6))
        owners = [rounded(body.bbox) for body in poses]
        listed = {one.bbox for one in found.detections if one.category == PERSON}
        if "pose" in request.include:
            bodies_at = dict(zip(owners, poses, strict=True))
            found.detections = [_with_pose(one, bodies_at) for one in found.detections]

        def part(label: str, category: str, one: parts.FoundFace | parts.FoundHand) -> Detection:
            owner = None if one.person is None else owners[one.person]
            return _detection(label, category, one.bbox, min(one.score, 1.0), owner if owner in listed else None)

        more: list[Detection] = []
        if label := targets.parts.get(BodyPart.FACE):
            self._faces = self._faces or parts.FaceFinder()
            found.models.append(parts.FACES)
            faces = self._faces.find(image, poses, share(report, 0.6, 0.75))
            more += [part(label, BodyPart.FACE.value, face) for face in faces]
        if with_hands:
            self._hands = self._hands or parts.HandFinder()
            found.models.append(parts.HANDS)
            label = targets.parts.get(BodyPart.HAND, BodyPart.HAND.value)
            for hand in self._hands.find(image, poses, share(report, 0.75, 1.0)):
                one = part(label, f"{hand.side} hand", hand)
                more.append(_with_keypoints(one, keypoints.HAND, hand.points) if "hands" in request.include else one)
        found.detections += [one for one in more if one.score is None or one.score >= request.min_score]
        return found

    def poses(self, image: Image.Image, objects: Sequence[Detection], report: Report) -> ObjectResults:
        """Estimate the poses of the objects whose labels mean persons, and of regions without a label."""
        found = ObjectResults([], list(objects))
        persons = [index for index, one in enumerate(objects) if _may_be_a_person(one)]
        if len(persons) > _MOST_PERSONS:
            found.notes.append(f"poses only of the first {_MOST_PERSONS} of {len(persons)} persons")
        chosen = persons[:_MOST_PERSONS]
        estimated = self._poses(image, [objects[index].bbox for index in chosen], found, report)
        for index, body in zip(chosen, estimated, strict=True):
            found.detections[index] = _with_keypoints(objects[index], keypoints.BODY, body.points)
        return found

    def _poses(self, image: Image.Image, boxes: Sequence[Box], found: ObjectResults, report: Report) -> list[Body]:
        if not boxes:
            return []
        self._bodies = self._bodies or bodies.PoseEstimator()
        found.models.append(bodies.FAMILY)
        return self._bodies.estimate(image, boxes, report)


def _label(detected: Sequence[FoundObject], labels: Mapping[str, str], request: DetectionRequest) -> list[Detection]:
    """Label objects; of several kinds with one label, only the best of overlapping objects is kept."""
    found = [
        _detection(labels[one.kind], one.kind, one.bbox, one.score)
        for one in detected
        if one.kind in labels and one.score >= request.min_score
    ]
    shared = {label for label in labels.values() if sum(other == label for other in labels.values()) > 1}
    mixed = suppress([one for one in found if one.label in shared], request.iou_threshold)
    kept = {id(one) for one in mixed}
    return [one for one in found if one.label not in shared or id(one) in kept]


def _detection(label: str, category: str, bbox: Box, score: float, owner: BBox | None = None) -> Detection:
    return Detection(label=label, bbox=rounded(bbox), score=round(score, 4), category=category, owner=owner)


def _with_pose(one: Detection, bodies_at: Mapping[BBox, Body]) -> Detection:
    """Add the pose to a person, whose box is that of its body, rounded."""
    body = bodies_at.get(one.bbox) if one.category == PERSON else None
    return _with_keypoints(one, keypoints.BODY, body.points) if body else one


def _with_keypoints(one: Detection, names: Sequence[str], points: Points) -> Detection:
    """Add the points (n, 2 or 3) of a body or hand: x and y in pixels, and a score if the model gives one."""
    named = tuple(
        Keypoint(
            name=name, x=round(x, 1), y=round(y, 1), score=round(min(max(score[0], 0.0), 1.0), 4) if score else None
        )
        for name, (x, y, *score) in zip(names, points.tolist(), strict=True)
    )
    return one.model_copy(update={"keypoints": named})


def _may_be_a_person(one: Detection) -> bool:
    known = sense(one.label)
    return one.label == "region" or (known is not None and PERSON in known.kinds)


class _Candidates(NamedTuple):
    boxes: Points
    scores: Floats
    classes: npt.NDArray[np.intp]


class ObjectDetector:
    """Finds objects of the 80 kinds of COCO."""

    def __init__(self) -> None:
        self._network = Network("nanodet")

    def detect(
        self,
        image: Image.Image,
        widths: Sequence[int],
        min_score: float,
        iou_threshold: float,
        report: Report = ignore,
    ) -> list[FoundObject]:
        """Find at most `MOST_OBJECTS` objects, the best score first; boxes lie in the image and are never empty.

        Args:
            image: The image, RGB.
            widths: The longer side in pixels at which the network sees the image, for each run: `QUICK`, `THOROUGH`.
            min_score: The lowest score of an object, from 0 to 1.
            iou_threshold: The highest overlap of two objects of one kind, from 0 to 1.
            report: Called before each run.
        """
        runs = []
        for done, width in enumerate(widths):
            report(done / len(widths))
            found = self._candidates(image, width, min_score)
            runs.append(found if len(widths) == 1 else _of_size(found, image, widths, width))
        found = _Candidates(*map(np.concatenate, zip(*runs, strict=True)))
        kept = best_boxes(found.boxes, found.scores, found.classes, iou_threshold, MOST_OBJECTS)
        return [
            FoundObject(KINDS[number], (x1, y1, x2, y2), score)
            for number, (x1, y1, x2, y2), score in zip(
                found.classes[kept].tolist(), found.boxes[kept].tolist(), found.scores[kept].tolist(), strict=True
            )
        ]

    def _candidates(self, image: Image.Image, width: int, min_score: float) -> _Candidates:
        """Run the network once: each pair of a cell and a kind that scores high enough is a candidate."""
        factor = width / max(image.size)
        size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
        pixels = _pixels(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=_REDUCING_GAP))
        outputs = self._network(pixels)
        scores = np.concatenate([outputs[name][0] for name, _ in _OUTPUTS.values()])
        cells, classes = _best(scores, min_score)
        logits = np.concatenate([outputs[name][0] for _, name in _OUTPUTS.values()])[cells]
        centers, strides = _grids(*pixels.shape[2:])
        boxes = _boxes(logits, centers[cells], strides[cells]) * np.tile(np.divide(image.size, size), 2)
        boxes = np.clip(boxes, 0, np.tile(image.size, 2))
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)  # the others lie in the padding
        return _Candidates(boxes[inside], scores[cells, classes][inside], classes[inside])


def _of_size(found: _Candidates, image: Image.Image, widths: Sequence[int], width: int) -> _Candidates:
    """Keep the candidates of the sizes for which this width works best."""
    sizes = (found.boxes[:, 2:] - found.boxes[:, :2]).max(axis=1) / max(image.size)
    keep = (sizes >= _SMALL) | (width == max(widths))
    keep &= (sizes <= _LARGE) | (width == min(widths))
    return _Candidates(found.boxes[keep], found.scores[keep], found.classes[keep])


def _pixels(shown: Image.Image) -> Floats:
    """Convert an image to the network's input (1, 3, height, width), padded with the mean."""
    height, width = (-(-side // _MULTIPLE) * _MULTIPLE for side in (shown.height, shown.width))
    pixels = np.zeros((1, 3, height, width), np.float32)
    bgr = np.asarray(shown, np.float32)[..., ::-1]
    pixels[0, :, : shown.height, : shown.width] = ((bgr - _MEAN) / _DEVIATION).transpose(2, 0, 1)
    return pixels


def _grids(height: int, width: int) -> tuple[Points, npt.NDArray[np.int64]]:
    """Return the centers (n, 2) of all cells in pixels, grid by grid and row by row, and cell sides (n,)."""
    centers, strides = [], []
    for stride in _OUTPUTS:
        rows, columns = np.divmod(np.arange(height // stride * (width // stride)), width // stride)
        centers.append((np.stack([columns, rows], axis=1) + 0.5) * stride)
        strides.append(np.full(rows.size, stride))
    return np.concatenate(centers), np.concatenate(strides)


def _boxes(logits: Floats, centers: Points, strides: npt.NDArray[np.int64]) -> Points:
    """Decode boxes (n, 4) in pixels from the distances' logits (n, 4 * 11) of cells."""
    bins = logits.reshape(-1, 4, _BINS.size)
    odds = np.exp(bins - bins.max(axis=2, keepdims=True))
    distances = (odds @ _BINS) / odds.sum(axis=2) * strides[:, None]
    return np.concatenate([centers - distances[:, :2], centers + distances[:, 2:]], axis=1)


def _best(scores: Floats, min_score: float) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Choose the best pairs of a cell and a kind by their scores (cells, kinds): without a limit, NMS takes seconds."""
    cells, classes = np.nonzero(scores >= min_score)
    if cells.size > _MOST_CANDIDATES:
        best = np.argpartition(-scores[cells, classes], _MOST_CANDIDATES)[:_MOST_CANDIDATES]
        cells, classes = cells[best], classes[best]
    return cells, classes
