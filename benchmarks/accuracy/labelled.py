"""Photographs whose people and things are labelled, in COCO's format, and COCO's own judgement of answers."""

import contextlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dinox_mcp.types.boxes import Box
from dinox_mcp.types.keypoints import BODY

Json = dict[str, Any]
Answers = Mapping[int, Sequence[Json]]
"""The objects that were found, as `dinox-mcp detect --json` lists them, by the number of the picture."""

PERSON = "person"
_FIGURES = 12  # as many as COCO's evaluation gives at most


class BoxQuality(NamedTuple):
    """COCO's average precisions, from 0 to 1; -1 where no object of the size is labelled."""

    ap: float
    ap50: float
    small: float
    medium: float
    large: float


class Share(NamedTuple):
    """So many of so many."""

    part: int
    whole: int

    @property
    def ratio(self) -> float:
        """Give the share from 0 to 1, or NaN of nothing."""
        return self.part / self.whole if self.whole else math.nan

    def __str__(self) -> str:
        return f"{100 * self.ratio:.1f}% ({self.part} of {self.whole})" if self.whole else "none there"


class Person(NamedTuple):
    """A labelled person, or a crowd; `points` (x, y, visibility) in the order of `BODY` where they are labelled."""

    bbox: Box
    area: float
    crowd: bool
    points: Sequence[Sequence[float]]


class Labelled:
    """A folder with `instances.json` and `images`; the first `limit` pictures of it, or all."""

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        data: Json = json.loads((folder / "instances.json").read_text())
        pictures: list[Json] = data["images"][:limit]
        self.files = {one["id"]: folder / "images" / one["file_name"] for one in pictures}
        self.posed = [one["id"] for one in pictures if one.get("has_keypoints")]
        self.kinds = {one["name"]: one["id"] for one in data["categories"]}
        self._annotations: list[Json] = [one for one in data["annotations"] if one["image_id"] in self.files]
        self._data = {**data, "images": pictures, "annotations": self._annotations}
        self._persons: dict[int, list[Person]] = {number: [] for number in self.files}
        for one in self._annotations:
            if one["category_id"] == self.kinds[PERSON]:
                self._persons[one["image_id"]].append(_person(one))

    def persons(self, picture: int) -> list[Person]:
        """List the labelled people of a picture, and its crowds."""
        return self._persons[picture]

    def boxes(self, answers: Answers, kind: str | None = None) -> BoxQuality:
        """Judge boxes of all kinds, or of one."""
        found = [
            {
                "image_id": picture,
                "category_id": self.kinds[one["label"]],
                "bbox": _as_coco(one["bbox"]),
                "score": one["score"],
            }
            for picture, objects in answers.items()
            for one in objects
            if one["label"] in self.kinds
        ]
        kinds = sorted(self.kinds.values()) if kind is None else [self.kinds[kind]]
        figures = _evaluate(self._data, found, "bbox", kinds)
        return BoxQuality(figures[0], figures[1], *figures[3:6])

    def poses(self, answers: Answers) -> float:
        """Give the average precision of poses by object keypoint similarity (OKS), of pictures with keypoints.

        A pose ranks by the person's score, multiplied by the mean score of its points above 0.2.
        """
        person = self.kinds[PERSON]
        pictures = [one for one in self._data["images"] if one["id"] in self.posed]
        people = [one for one in self._annotations if one["image_id"] in self.posed and one["category_id"] == person]
        found = [
            {"image_id": picture, "category_id": person, **_pose(one)}
            for picture in self.posed
            for one in labelled(answers, picture, PERSON)
        ]
        return _evaluate({**self._data, "images": pictures, "annotations": people}, found, "keypoints", [person])[0]


def labelled(answers: Answers, picture: int, label: str) -> list[Json]:
    """List what was found in a picture under a label, the surest first."""
    found = [one for one in answers[picture] if one["label"] == label]
    return sorted(found, key=lambda one: -one["score"])


def divide(part: float, whole: float) -> float:
    """Divide, with NaN where there is nothing to divide by."""
    return part / whole if whole else math.nan


def _person(one: Json) -> Person:
    x, y, width, height = one["bbox"]
    flat = one.get("keypoints", []) if one.get("num_keypoints") else []
    points = [flat[place : place + 3] for place in range(0, len(flat), 3)]
    return Person((x, y, x + width, y + height), one["area"], bool(one["iscrowd"]), points)


def _pose(one: Json) -> Json:
    points = {point["name"]: point for point in one["keypoints"]}
    sure = [point["score"] for point in points.values() if point["score"] > 0.2]
    return {
        "keypoints": [value for name in BODY for value in (points[name]["x"], points[name]["y"], 1)]
        if points
        else [0] * 3 * len(BODY),
        "score": one["score"] * (sum(sure) / len(sure) if sure else 0.05),
    }


def _as_coco(box: Sequence[float]) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def _evaluate(data: Json, found: list[Json], what: str, kinds: list[int]) -> list[float]:
    """Let pycocotools judge answers about all pictures; of none, all is 0."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not found:
        return [0.0] * _FIGURES
    with contextlib.redirect_stdout(io.StringIO()):  # it prints at every step
        truth = COCO()
        truth.dataset = data
        truth.createIndex()
        judged = COCOeval(truth, truth.loadRes(found), what)
        judged.params.catIds = kinds
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    figures: list[float] = judged.stats.tolist()
    return figures
