"""How counts change with the threshold, and whether tiles would make them better."""

from collections.abc import Iterable, Sequence
from statistics import median

from dinox_mcp.detect.answers import Answer
from dinox_mcp.detect.routing import Part
from dinox_mcp.detect.thresholds import LabelScores
from dinox_mcp.types.detection import Detection, DetectionResult, Score, Value, count_labels

FLOOR = 0.1  # the lowest threshold for which counts are given
DOUBT = 0.05
"""How far below the threshold an object still is doubtful: of persons in that range, about one in five is right."""
_STEPS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8)
_SMALL = 0.03  # of the long side, below which objects are small: 46 pixels of the 1536 that models get
_LARGE_PICTURE = 2000


class Level(Value):
    """The count of each label if `min_score` were the threshold."""

    min_score: Score
    counts: dict[str, int]


class Count(Value):
    """The counts of a result, with how they would change at other thresholds, from low to high.

    `doubtful` counts the objects of each label that score a little less than the threshold: some may be real.
    """

    result: DetectionResult
    levels: tuple[Level, ...]
    doubtful: dict[str, int]


def levels(objects: Sequence[Detection], labels: Iterable[str], min_score: float) -> tuple[Level, ...]:
    """Count objects of each label at several thresholds and the chosen one; objects without a score always count."""
    labels = tuple(labels)
    steps = sorted({*_STEPS, min_score})
    return tuple(
        Level(min_score=step, counts=count_labels([one for one in objects if reaches(one, step)], labels))
        for step in steps
    )


def doubtful(answer: Answer) -> dict[str, int]:
    """Count, for each label, the objects that score up to `DOUBT` less than the threshold of their part of the plan."""
    return count_labels(
        one
        for one, part in zip(answer.found.objects, answer.parts, strict=True)
        if not reaches(one, least := part.min_score_of(one, answer.found.model)) and reaches(one, least - DOUBT)
    )


def reaches(found: Detection, min_score: float) -> bool:
    """Return whether an object counts at a threshold."""
    return found.score is None or found.score >= min_score


def above_thresholds(answer: Answer) -> Answer:
    """Keep only the objects of an answer that reach the threshold of their part of the plan."""
    pairs = zip(answer.found.objects, answer.parts, strict=True)
    counted = [(one, part) for one, part in pairs if reaches(one, part.min_score_of(one, answer.found.model))]
    objects, parts = tuple(one for one, _ in counted), tuple(part for _, part in counted)
    return answer.changed(objects=objects)._replace(parts=parts)


def above_label_scores(answer: Answer, part: Part, scores: LabelScores, floor: float) -> Answer:
    """Keep only the objects of a part that reach the thresholds of their labels, or `floor`, and say which they are."""
    found = answer.found
    kept = tuple(one for one in found.objects if reaches(one, min(floor, part.min_score_of(one, found.model))))
    notes = (*found.notes, *scores.notes(part.request.prompts or (), found.objects, found.model))
    return answer.changed(objects=kept, notes=notes)


def worthwhile_tiles(size: tuple[int, int], objects: Sequence[Detection]) -> int:
    """Give the number of tiles along the long side that are worth it, after a first search of the full image.

    It is above 1 only if the image of (width, height) pixels is larger than what a model gets at once, and the typical
    object found in it is small, or none was found.
    """
    long = max(size)
    if long < _LARGE_PICTURE:
        return 1
    sides = [max(x2 - x1, y2 - y1) for x1, y1, x2, y2 in (found.bbox for found in objects)]
    if sides and median(sides) > _SMALL * long:
        return 1
    return 2 if long < 2 * _LARGE_PICTURE else 3
