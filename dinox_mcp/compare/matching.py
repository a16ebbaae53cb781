"""Matches the detections of two registered images, and decides which of them appeared, disappeared, moved or changed.

A detector may miss an object in one of the images. So a detection counts as a change only where the pixels differ too.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dinox_mcp.compare.comparison import Kind
from dinox_mcp.compare.regions import Differences
from dinox_mcp.types.boxes import Box, area, center, intersection, iou
from dinox_mcp.types.detection import DetectedObject, certainty

_LEAST_VISIBLE = 0.6  # share of a box that both images must show for it to be compared
_SAME_PLACE = 0.3  # IoU from which on two boxes of a label may be one object
_DIFFERENT = 0.2  # share of a box that differs where something appeared or disappeared
_TOUCHED = 0.08  # share of a box that differs where something moved a little
_MOVED = 0.12  # shift, as a share of the box's mean side, from which on an object has moved
_LIKE = 0.55  # correlation from which on an object elsewhere is the same one
_MOST_RESIZED = 1.6
_SAME_THING = 0.6  # IoU of boxes of different labels that are one thing with two names
_INSIDE = 0.8  # share of a region that lies in the object that it belongs to
_LONGEST_COMPARED = 2000


class Placed(NamedTuple):
    """A detection with its box in the frame in which the images are compared."""

    found: DetectedObject
    box: Box


class Match(NamedTuple):
    """A change of one detection, or of a pair of them."""

    kind: Kind
    before: Placed | None
    after: Placed | None


@dataclass
class Matches:
    """What became of the detections."""

    changes: list[Match] = field(default_factory=list)
    unchanged: list[tuple[Placed, Placed]] = field(default_factory=list)
    outside: int = 0
    doubtful: int = 0


def match(before: Sequence[Placed], after: Sequence[Placed], differences: Differences) -> Matches:
    """Match detections by label and position, texts by their content, and the rest by appearance.

    Args:
        before: the detections of the first image, mapped to the frame of the differences.
        after: those of the second image.
        differences: where the images differ.
    """
    matches = Matches()
    left = [_Rest(one) for one in _visible(before, differences, matches)]
    right = [_Rest(one) for one in _visible(after, differences, matches)]
    for value in (_same_content, _same_label):
        for one, other in _pairs(left, right, value):
            _judge(one, other, differences, matches)
    for one, other in _pairs(left, right, lambda a, b: _likeness(a, b, differences)):
        matches.changes.append(Match("moved", one, other))
    gone = [one.placed for one in left if not one.used]
    new = [one.placed for one in right if not one.used]
    matches.changes += _single("disappeared", gone, differences, matches)
    matches.changes += _single("appeared", new, differences, matches)
    return matches


@dataclass
class _Rest:
    """A detection, and whether it has a counterpart."""

    placed: Placed
    used: bool = False


def _visible(all_of_them: Sequence[Placed], differences: Differences, matches: Matches) -> list[Placed]:
    inside = [one for one in all_of_them if differences.visible(one.box) >= _LEAST_VISIBLE]
    matches.outside += len(all_of_them) - len(inside)
    return inside


def _pairs(
    left: Iterable[_Rest], right: Sequence[_Rest], value: Callable[[Placed, Placed], float]
) -> Iterator[tuple[Placed, Placed]]:
    """Pair detections greedily, the highest value first; those of value 0 are no pairs."""
    open_right = [one for one in right if not one.used]
    valued = [
        (worth, one, other)
        for one in left
        if not one.used
        for other in open_right
        if (worth := value(one.placed, other.placed)) > 0
    ]
    for _, one, other in sorted(valued, key=lambda pair: -pair[0]):
        if not (one.used or other.used):
            one.used = other.used = True
            yield one.placed, other.placed


def _same_content(one: Placed, other: Placed) -> float:
    """Value a pair of texts of the same content: the nearest first, wherever they are."""
    content = _content(one.found)
    if not content or content != _content(other.found) or not _is_named_alike(one, other):
        return 0.0
    return 1 / (1 + math.dist(center(one.box), center(other.box)))


def _same_label(one: Placed, other: Placed) -> float:
    """Value a pair of one label in one position by its IoU."""
    if not _is_named_alike(one, other):
        return 0.0
    overlap = iou(one.box, other.box)
    return overlap if overlap >= _SAME_PLACE else 0.0


def _likeness(one: Placed, other: Placed, differences: Differences) -> float:
    """Value a pair of one label that looks alike in two positions, both of which differ between the images."""
    if not _is_named_alike(one, other) or one.found.text or other.found.text:
        return 0.0
    if not _is_resized_little(one.box, other.box):
        return 0.0
    if not (_has_changed(one, differences) and _has_changed(other, differences)):
        return 0.0
    similar = differences.similarity(other.box, one.box)
    return similar if similar >= _LIKE else 0.0


def _judge(one: Placed, other: Placed, differences: Differences, matches: Matches) -> None:
    """Decide whether a pair is the same as before, has moved, or reads differently."""
    contents = _content(one.found), _content(other.found)
    side = math.sqrt(max(1.0, min(area(one.box), area(other.box))))
    far = math.dist(center(one.box), center(other.box)) > max(_MOVED * side, 2 * differences.tolerance + 1)
    if all(contents) and contents[0] != contents[1]:
        kind: Kind | None = "text changed" if differences.reads_differently(other.box) else None
    else:
        kind = "moved" if far and _has_moved(one, other, differences) else None
    if kind:
        matches.changes.append(Match(kind, one, other))
    else:
        matches.unchanged.append((one, other))


def _has_moved(one: Placed, other: Placed, differences: Differences) -> bool:
    """Return whether the pixels say that an object moved, and not only that its box was drawn otherwise."""
    if not any(_has_changed(placed, differences, _TOUCHED) for placed in (one, other)):
        return False
    if one.found.text and not iou(one.box, other.box):
        return True
    stays = differences.similarity(other.box, other.box)
    return _is_resized_little(one.box, other.box) and differences.similarity(other.box, one.box) > stays


def _single(kind: Kind, rest: Sequence[Placed], differences: Differences, matches: Matches) -> list[Match]:
    """Turn detections without counterpart into changes where the pixels differ, each thing once."""
    chosen: list[Placed] = []
    for one in sorted(rest, key=lambda placed: -certainty(placed.found)):
        if not _has_changed(one, differences):
            matches.doubtful += 1
        elif not any(iou(one.box, better.box) >= _SAME_THING for better in chosen):
            chosen.append(one)
    numbers = {one.found.id for one in chosen}
    return [
        Match(kind, one, None) if kind == "disappeared" else Match(kind, None, one)
        for one in chosen
        if one.found.part_of not in numbers
    ]


def _has_changed(one: Placed, differences: Differences, least: float = _DIFFERENT) -> bool:
    if differences.share(one.box) >= least:
        return True
    return bool(one.found.text) and differences.reads_differently(one.box)


def _is_named_alike(one: Placed, other: Placed) -> bool:
    return one.found.label.casefold() == other.found.label.casefold()


def _content(found: DetectedObject) -> str:
    """Give what was read, without what reading confuses most: case and blanks."""
    return "".join((found.text or "")[:_LONGEST_COMPARED].split()).casefold()


def _is_resized_little(one: Box, other: Box) -> bool:
    ratios = [(other[end] - other[start]) / max(1e-9, one[end] - one[start]) for start, end in ((0, 2), (1, 3))]
    return all(1 / _MOST_RESIZED <= ratio <= _MOST_RESIZED for ratio in ratios)


def holder_of(box: Box, unchanged: Sequence[tuple[Placed, Placed]]) -> tuple[Placed, Placed] | None:
    """Give the smallest unchanged object that most of a box lies in."""
    holders = [pair for pair in unchanged if intersection(pair[1].box, box) >= _INSIDE * area(box)]
    return min(holders, key=lambda pair: area(pair[1].box), default=None)
