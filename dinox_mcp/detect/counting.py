"""Counts with evidence: how they change with the threshold, and whether the picture should be looked at in parts."""

from collections.abc import Iterable, Sequence
from statistics import median

from dinox_mcp.detect.pipeline import Answer
from dinox_mcp.types.detection import Detection, DetectionResult, Score, Value, count_labels

FLOOR = 0.1
"""Lowest score that a count looks at, so as to say how it would change."""
DOUBT = 0.05
"""How far below the threshold an object is doubtful, not absent: of persons there, about one in five is right."""
_STEPS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8)
_SMALL = 0.03
"""Part of the long side below which a typical object is small: 46 pixels of the 1536 that models see."""
_LARGE_PICTURE = 2000


class Level(Value):
    """How many there would be of each label if `min_score` were the threshold."""

    min_score: Score
    counts: dict[str, int]


class Count(Value):
    """The counts of a result, with how they would change at other thresholds, from low to high.

    `doubtful` counts what scores a little less than the threshold: there may be up to so many more.
    """

    result: DetectionResult
    levels: tuple[Level, ...]
    doubtful: dict[str, int]


def levels(objects: Sequence[Detection], asked: Iterable[str], min_score: float) -> tuple[Level, ...]:
    """Count at a row of thresholds around the chosen one; what has no score is certain."""
    asked = tuple(asked)
    steps = sorted({*_STEPS, min_score})
    return tuple(
        Level(min_score=step, counts=count_labels([one for one in objects if reaches(one, step)], asked))
        for step in steps
    )


def doubtful(answer: Answer) -> dict[str, int]:
    """Count per label what scores less than the threshold of its part of the question by no more than `DOUBT`."""
    return count_labels(
        one
        for one, part in zip(answer.found.objects, answer.parts, strict=True)
        if not reaches(one, part.request.min_score) and reaches(one, part.request.min_score - DOUBT)
    )


def reaches(found: Detection, min_score: float) -> bool:
    """Tell whether an object counts at a threshold."""
    return found.score is None or found.score >= min_score


def sure(answer: Answer) -> Answer:
    """Keep of an answer what counts at the threshold of its part of the question."""
    pairs = zip(answer.found.objects, answer.parts, strict=True)
    counted = [(one, part) for one, part in pairs if reaches(one, part.request.min_score)]
    found = answer.found.model_copy(update={"objects": tuple(one for one, _ in counted)})
    return answer._replace(found=found, parts=tuple(part for _, part in counted))


def worthwhile_tiles(size: tuple[int, int], objects: Sequence[Detection]) -> int:
    """Say in how many parts along its long side to look at a picture, after a first look at the whole.

    More than one only for a picture of more pixels than a model sees at once, in which the typical object found is
    small, or none was found.
    """
    long = max(size)
    if long < _LARGE_PICTURE:
        return 1
    sides = [max(x2 - x1, y2 - y1) for x1, y1, x2, y2 in (found.bbox for found in objects)]
    if sides and median(sides) > _SMALL * long:
        return 1
    return 2 if long < 2 * _LARGE_PICTURE else 3
