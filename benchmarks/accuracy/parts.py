"""How many faces and hands of labelled people are found, and how many belong to nobody."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from benchmarks.accuracy.labelled import Answers, Json, Labelled, Share, labelled

_LARGE = 96**2  # pixels from which COCO calls an object large
_SEEN = 2
_NOSE, _LEFT_EYE, _RIGHT_EYE, _LEFT_EAR, _RIGHT_EAR = range(5)
_ARMS = ((7, 9), (8, 10))  # elbow and wrist

Point = tuple[float, float]


class _Place(NamedTuple):
    """A point in a picture that something should be near, and a length that says how near."""

    picture: int
    point: Point
    size: float


def faces(truth: Labelled, answers: Answers) -> tuple[Share, Share]:
    """Judge faces: how many of those with nose and both eyes in sight are found, and how many are nobody's.

    A face is found if a box of 0.4 to 4 times its width holds the nose. It is nobody's if its center is in the box
    of no labelled person.
    """
    boxes = {picture: [one["bbox"] for one in labelled(answers, picture, "face")] for picture in truth.posed}
    hits = [any(_shows(box, place) for box in boxes[place.picture]) for place in _faces(truth)]
    centers = [
        (picture, ((x1 + x2) / 2, (y1 + y2) / 2)) for picture, those in boxes.items() for x1, y1, x2, y2 in those
    ]
    return Share(sum(hits), len(hits)), _nobodys(truth, centers)


def hands(truth: Labelled, answers: Answers) -> tuple[Share, Share]:
    """Judge hands by their points: how many wrists in sight of large persons have one, and how many are nobody's.

    A hand is at a wrist if its own wrist is no farther than 0.4 times the length of the forearm, or the middle of
    its points no farther than 0.6 times. It is nobody's if that middle is in the box of no labelled person.
    """
    found = {picture: [_wrist_and_middle(one) for one in labelled(answers, picture, "hand")] for picture in truth.posed}
    hits = [
        any(
            math.dist(wrist, place.point) < 0.4 * place.size or math.dist(middle, place.point) < 0.6 * place.size
            for wrist, middle in found[place.picture]
        )
        for place in _wrists(truth)
    ]
    middles = [(picture, middle) for picture, those in found.items() for _, middle in those]
    return Share(sum(hits), len(hits)), _nobodys(truth, middles)


def _faces(truth: Labelled) -> Iterable[_Place]:
    for picture in truth.posed:
        for points in (one.points for one in truth.persons(picture) if one.points and not one.crowd):
            if all(points[place][2] == _SEEN for place in (_NOSE, _LEFT_EYE, _RIGHT_EYE)):
                width = 2.4 * _distance(points, _LEFT_EYE, _RIGHT_EYE)
                if points[_LEFT_EAR][2] and points[_RIGHT_EAR][2]:
                    width = max(width, _distance(points, _LEFT_EAR, _RIGHT_EAR))
                yield _Place(picture, _point(points, _NOSE), width)


def _wrists(truth: Labelled) -> Iterable[_Place]:
    for picture in truth.posed:
        for one in truth.persons(picture):
            if not one.points or one.crowd or one.area <= _LARGE:
                continue
            x1, y1, x2, y2 = one.bbox
            for elbow, wrist in _ARMS:
                if one.points[wrist][2] == _SEEN and one.points[elbow][2]:
                    length = max(_distance(one.points, wrist, elbow), 0.1 * max(x2 - x1, y2 - y1))
                    yield _Place(picture, _point(one.points, wrist), length)


def _point(points: Sequence[Sequence[float]], place: int) -> Point:
    return points[place][0], points[place][1]


def _distance(points: Sequence[Sequence[float]], one: int, other: int) -> float:
    return math.dist(_point(points, one), _point(points, other))


def _shows(box: Sequence[float], face: _Place) -> bool:
    return _holds(box, face.point) and 0.4 * face.size < box[2] - box[0] < 4 * face.size


def _holds(box: Sequence[float], point: Point) -> bool:
    x, y = point
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _wrist_and_middle(hand: Json) -> tuple[Point, Point]:
    points = [(point["x"], point["y"]) for point in hand["keypoints"]]
    return points[0], (sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points))


def _nobodys(truth: Labelled, places: Sequence[tuple[int, Point]]) -> Share:
    outside = [not any(_holds(one.bbox, point) for one in truth.persons(picture)) for picture, point in places]
    return Share(sum(outside), len(outside))
