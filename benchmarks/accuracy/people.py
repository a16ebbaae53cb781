"""How well people are counted."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.accuracy.labelled import PERSON, Answers, Json, Labelled, Share, divide, labelled
from dinox_mcp.types.boxes import Box, area, intersection, iou

_SAME = 0.5  # IoU from which a box is right


class Quality(NamedTuple):
    """How many of the people that were found are there, how many of those there are found, and both in one figure."""

    precision: float
    recall: float
    f1: float


def quality(truth: Labelled, answers: Answers) -> Quality:
    """Judge people: the surer first, each takes the labelled person that it overlaps most.

    What lies in a region that is labelled as a crowd counts for nothing.
    """
    right = wrong = missed = 0
    for picture in truth.files:
        people, crowds = _boxes(truth, picture)
        hits, rest = _match(labelled(answers, picture, PERSON), people)
        right += len(hits)
        wrong += len(_outside(rest, crowds))
        missed += len(people) - len(hits)
    return Quality(
        divide(right, right + wrong), divide(right, right + missed), divide(2 * right, 2 * right + wrong + missed)
    )


def errors(truth: Labelled, counts: Mapping[int, int]) -> tuple[float, Share]:
    """Compare counts where there are people and no crowd: the mean absolute error, and how many are exact."""
    off = [
        abs(counts[picture] - len(people))
        for picture in truth.files
        for people, crowds in [_boxes(truth, picture)]
        if people and not crowds
    ]
    return divide(sum(off), len(off)), Share(off.count(0), len(off))


def doubtful(truth: Labelled, answers: Answers, lowest: float, threshold: float) -> Share:
    """Say how many of the people that score from `lowest` to below `threshold` are there and not yet counted."""
    right = whole = 0
    for picture in truth.files:
        people, crowds = _boxes(truth, picture)
        found = labelled(answers, picture, PERSON)
        hits, _ = _match([one for one in found if one["score"] >= threshold], people)
        left = [box for place, box in enumerate(people) if place not in hits]
        more, rest = _match([one for one in found if lowest <= one["score"] < threshold], left)
        right += len(more)
        whole += len(more) + len(_outside(rest, crowds))
    return Share(right, whole)


def _boxes(truth: Labelled, picture: int) -> tuple[list[Box], list[Box]]:
    """Give the boxes of a picture's people and of its crowds."""
    persons = truth.persons(picture)
    return [one.bbox for one in persons if not one.crowd], [one.bbox for one in persons if one.crowd]


def _match(found: Sequence[Json], truth: Sequence[Box]) -> tuple[set[int], list[Json]]:
    """Pair what was found with the truth, in order: the numbers of the truth that was found, and what is left over."""
    hits: set[int] = set()
    rest = []
    for one in found:
        free = [place for place in range(len(truth)) if place not in hits]
        best = max(free, key=lambda place: iou(one["bbox"], truth[place]), default=None)
        if best is not None and iou(one["bbox"], truth[best]) >= _SAME:
            hits.add(best)
        else:
            rest.append(one)
    return hits, rest


def _outside(found: Iterable[Json], crowds: Sequence[Box]) -> list[Json]:
    """Leave out what lies in crowds by half or more."""
    return [
        one
        for one in found
        if not any(intersection(one["bbox"], crowd) >= _SAME * area(one["bbox"]) for crowd in crowds)
    ]
