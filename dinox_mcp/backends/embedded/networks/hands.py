"""Hands and their points, found by MediaPipe's two networks: one finds palms, one finds the points of a hand.

The palm network sees 256 pixels, too few for the hands of persons who do not fill the image. So hands are searched
three times: by palms in the full image, without palms in crops along the forearms of known bodies, and by palms in
crops around their wrists. The second network scores for each crop whether it shows a hand.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from dinox_mcp.backends.embedded.networks.bodies import Body
from dinox_mcp.backends.embedded.networks.crops import AnchorDetector, Candidates, Crop
from dinox_mcp.backends.embedded.networks.runtime import Floats, Network
from dinox_mcp.backends.embedded.worker import Report, ignore
from dinox_mcp.types.boxes import Box

Side = Literal["left", "right"]

FAMILY = "MediaPipe Hands"
_OTHER: dict[Side, Side] = {"left": "right", "right": "left"}

_WHOLE_SCORE, _WRIST_SCORE = 0.6, 0.5  # of a palm
_HAND_SCORE = 0.5  # below it, a crop shows no hand
_SURE = 0.8  # above it, no palm is searched at the same wrist: that network takes twice as long
_RIGHT = 0.5  # above it, a right hand of the person: true for all 17 labelled hands of COCO images
_SIDE = 224
_LAYERS = ((8, 2), (16, 2), (32, 6))
_WRIST, _MIDDLE_KNUCKLE = 0, 2  # among the seven points of a palm
_ELBOWS_AND_WRISTS = ((7, 9), (8, 10))  # among the points of a body
_LEAST_POINT_SCORE = 0.2
_SAME = 0.4  # hands closer than this, in sizes of the larger, are the same hand
_OWN = 1.0  # from this distance on, a hand does not belong to a wrist; in hand sizes
_MARGIN = 0.1  # the points are joints, inside the hand


@dataclass(frozen=True, slots=True, eq=False)
class FoundHand:
    """A hand.

    Attributes:
        bbox: A box around its points, a little wider, in pixels and inside the image.
        score: From 0 to 1.
        points: The 21 points of `dinox_mcp.types.keypoints.HAND` as an array (21, 2) of x and y in pixels.
        side: Which hand of the person it is.
        person: The index of its body; None if it belongs to none of the given bodies.
    """

    bbox: Box
    score: float
    points: npt.NDArray[np.float64]
    side: Side
    person: int | None = None

    @property
    def size(self) -> float:
        """The longer side of the box around the points."""
        return float(np.ptp(self.points, axis=0).max())


class _Forearm(NamedTuple):
    person: int
    wrist: npt.NDArray[np.float64]
    direction: npt.NDArray[np.float64]
    """From the elbow to the wrist; as long as a forearm of the body at least."""


class HandFinder:
    """Finds hands and their points."""

    def __init__(self) -> None:
        """Load the networks.

        Raises:
            BackendError: a file is missing or damaged.
        """
        self._palms = AnchorDetector("handdetect", _LAYERS, _rows)
        self._landmarks = Network("handlandmark-full")

    def find(self, image: Image.Image, bodies: Sequence[Body], report: Report = ignore) -> list[FoundHand]:
        """Find each hand once.

        Args:
            image: The image, RGB.
            bodies: The persons in it.
            report: Called before each crop.

        Returns:
            The hands, the best score first. Each wrist has at most one.
        """
        report(0.0)
        palms = self._palms.find(image, Crop.of_image(image), _WHOLE_SCORE)
        found = self._hands(image, list(_palm_crops(palms)))
        forearms = list(_forearms(bodies))
        for done, forearm in enumerate(forearms, start=1):
            report(done / (len(forearms) + 1))
            along = self._hands(image, [_hand_crop(forearm)])
            found += along
            if not any(hand.score > _SURE for hand in along):
                palms = self._palms.find(image, _wrist_crop(forearm), _WRIST_SCORE)
                found += self._hands(image, list(_palm_crops(palms))[:1])
        return _assign(_unique(found), forearms)

    def _hands(self, image: Image.Image, crops: Sequence[Crop]) -> list[FoundHand]:
        return [hand for crop in crops if (hand := self._hand(image, crop)) is not None]

    def _hand(self, image: Image.Image, crop: Crop) -> FoundHand | None:
        """Find the points of a hand whose fingers point up in the crop."""
        pixels = crop.pixels(image, _SIDE)[None].astype(np.float32) / np.float32(255)
        outputs = self._landmarks(pixels)
        score, right = outputs["Identity_1"].item(), outputs["Identity_2"].item()
        if score <= _HAND_SCORE:
            return None
        points = crop.to_picture(outputs["Identity"].reshape(21, 3)[:, :2] / _SIDE)
        margin = _MARGIN * np.ptp(points, axis=0).max()
        low = np.clip(points.min(axis=0) - margin, 0, image.size)
        high = np.clip(points.max(axis=0) + margin, 0, image.size)
        if (high <= low).any():
            return None
        (x1, y1), (x2, y2) = low.tolist(), high.tolist()
        return FoundHand((x1, y1, x2, y2), score, points, "right" if right > _RIGHT else "left")


def _rows(outputs: dict[str, Floats]) -> tuple[Floats, Floats]:
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
            if length > 0 and body.points[[elbow, wrist], 2].min() >= _LEAST_POINT_SCORE:
                yield _Forearm(person, body.points[wrist, :2], direction * (max(length, least) / length))


def _wrist_crop(forearm: _Forearm) -> Crop:
    """Return an upright crop around a wrist, to search a palm in it."""
    x, y = (forearm.wrist + 0.3 * forearm.direction).tolist()
    return Crop(x, y, float(np.linalg.norm(forearm.direction)))


def _hand_crop(forearm: _Forearm) -> Crop:
    """Return a crop where the hand is if it continues the forearm, rotated so that the fingers point up."""
    x, y = (forearm.wrist + 0.4 * forearm.direction).tolist()
    right, down = forearm.direction.tolist()
    return Crop(x, y, 0.75 * math.hypot(right, down), math.atan2(right, -down))


def _unique(found: Sequence[FoundHand]) -> list[FoundHand]:
    """Keep each hand once, with its best score."""
    kept: list[FoundHand] = []
    for hand in sorted(found, key=lambda item: -item.score):
        if not any(_same(hand, other) for other in kept):
            kept.append(hand)
    return kept


def _same(a: FoundHand, b: FoundHand) -> bool:
    """Compare the means of the points: if a hand is found twice, its fingers may be in another order."""
    apart = np.linalg.norm(a.points.mean(axis=0) - b.points.mean(axis=0))
    return bool(apart < _SAME * max(a.size, b.size))


def _assign(hands: Sequence[FoundHand], forearms: Sequence[_Forearm]) -> list[FoundHand]:
    """Give each hand to the person whose wrist is nearest; each wrist has one hand, the nearest."""
    pairs = sorted(
        (distance, number, place)
        for number, hand in enumerate(hands)
        for place, forearm in enumerate(forearms)
        if (distance := float(np.linalg.norm(hand.points[0] - forearm.wrist)) / hand.size) < _OWN
    )
    wrists: dict[int, int] = {}
    for _, number, place in pairs:
        if number not in wrists and place not in wrists.values():
            wrists[number] = place
    owned: list[FoundHand] = []
    for number, hand in enumerate(hands):
        person = forearms[wrists[number]].person if number in wrists else None
        twice = any(person is not None and (other.person, other.side) == (person, hand.side) for other in owned)
        # Nobody has two left hands: the one with the better score keeps its side.
        owned.append(replace(hand, person=person, side=_OTHER[hand.side] if twice else hand.side))
    return owned
