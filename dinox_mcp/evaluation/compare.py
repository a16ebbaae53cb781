"""Compares what a run found, image by image, with what is labelled."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from dinox_mcp.batch.journal import Journal
from dinox_mcp.batch.summary import MAX_FAILURES, FailedImage, readable
from dinox_mcp.evaluation.counting import count_errors
from dinox_mcp.evaluation.labelled import Boxes, Dataset, Found, Truth
from dinox_mcp.evaluation.precision import Rules, evaluate
from dinox_mcp.evaluation.prompts import Vocabulary
from dinox_mcp.evaluation.report import CountFigures, RuleFigures, counts_of, figures_of
from dinox_mcp.types.boxes import suppress
from dinox_mcp.types.detection import Detection, certainty

MAX_OBJECTS = 1000
"""Boxes of an image that a run keeps, those that score highest."""
_MOST_NAMED = 5


class _Rows(NamedTuple):
    """The found boxes of an image: positions of categories, boxes (x, y, width, height) and scores."""

    category: list[int]
    bbox: list[tuple[float, float, float, float]]
    score: list[float]


class Comparison:
    """What was found in the images that are answered, and what is labelled in them.

    Args:
        dataset: what is labelled.
        vocabulary: which categories a label stands for.
        journal: what was found.
        iou_threshold: boxes of one category that overlap more count once, as those of synonyms; None keeps all.
    """

    def __init__(
        self, dataset: Dataset, vocabulary: Vocabulary, journal: Journal, iou_threshold: float | None = None
    ) -> None:
        self._dataset = dataset
        self._vocabulary = vocabulary
        self._iou_threshold = iou_threshold
        self._records = [journal.records.get(str(image.path)) for image in dataset.images]
        self._answered = [one if one is not None and not one.error else None for one in self._records]
        self._rows = [_Rows([], [], []) if one is None else self._read(journal.objects(one)) for one in self._answered]

    def images(self) -> dict[str, Any]:
        """Give the fields of a report that say which images are answered, and by which model."""
        records = [one for one in self._records if one is not None]
        failed = [one for one in records if one.error]
        return {
            "total": len(self._records),
            "answered": len(records) - len(failed),
            "failed": len(failed),
            "failures": tuple(
                FailedImage(image=readable(one.source), error=one.error, code=one.code) for one in failed[:MAX_FAILURES]
            ),
            "unknown": tuple(dict.fromkeys(prompt for one in records for prompt in one.unknown)),
            "model": " + ".join(dict.fromkeys(one.model for one in records if one.model)),
        }

    def precision(self, rules: Rules) -> RuleFigures:
        """Give the figures of boxes by a set of rules."""
        numbers = [len(one.score) for one in self._rows]
        found = Found(
            Boxes(
                np.repeat(np.arange(len(numbers)), numbers),
                np.array([category for one in self._rows for category in one.category], int),
                np.array([bbox for one in self._rows for bbox in one.bbox], float).reshape(-1, 4),
            ),
            np.array([score for one in self._rows for score in one.score], float),
        )
        return figures_of(rules.name, evaluate(self._truth(), found, rules), self._dataset.categories)

    def detections(self) -> Iterator[str]:
        """Write the found boxes in COCO's format of results."""
        separator = "["
        for image, rows in zip(self._dataset.images, self._rows, strict=True):
            for category, bbox, score in zip(*rows, strict=True):
                number = self._dataset.numbers[category]
                yield separator
                yield json.dumps({"image_id": image.number, "category_id": number, "bbox": bbox, "score": score})
                separator = ",\n"
        yield "[]" if separator == "[" else "]"

    def counts(self, *, absent: bool) -> Iterator[CountFigures]:
        """Give the errors of counts: of all categories together, and of each.

        Args:
            absent: also count what is not labelled in an image, which is right if it is 0.
        """
        labelled = dict(self._dataset.counts)
        if absent:
            boxes = self._dataset.truth.boxes
            crowds = set(zip(boxes.image.tolist(), boxes.category.tolist(), strict=True)) - labelled.keys()
            every = ((image, place) for image in range(len(self._records)) for place in range(len(self._vocabulary)))
            labelled |= {pair: 0 for pair in every if pair not in labelled and pair not in crowds}
        labelled = {pair: number for pair, number in labelled.items() if self._answered[pair[0]] is not None}
        found: Counter[tuple[int, int]] = Counter()
        for image, record in enumerate(self._answered):
            for label, number in record.counts.items() if record is not None else ():
                for place in self._vocabulary.categories(label):
                    found[image, place] += number
        groups: dict[int, dict[tuple[int, int], int]] = {}
        for pair, number in labelled.items():
            groups.setdefault(pair[1], {})[pair] = number
        named = [(self._dataset.categories[place].name, group) for place, group in sorted(groups.items())]
        for name, group in [("all", labelled), *named]:
            if (errors := count_errors(group, found)) is not None:
                yield counts_of(name, errors)

    def notes(self, *, boxes: bool) -> Iterator[str]:
        """Say what changes the figures, which are those of `boxes` or of counts."""
        if shared := self._vocabulary.shared:
            named = ", ".join(shared[:_MOST_NAMED])
            yield f"{len(shared)} prompts stand for several categories of one name, and so do their boxes: {named}"
        if not boxes:
            return
        answered = [(image, one) for image, one in zip(self._dataset.images, self._answered, strict=True) if one]
        if full := sum(1 for _, one in answered if sum(one.counts.values()) > MAX_OBJECTS):
            yield f"{full} images had more than {MAX_OBJECTS:,} boxes, of which the best are kept; raise --min-score"
        sizes = [
            f"{image.path.name} has {one.size[0]}x{one.size[1]} instead of {image.size[0]}x{image.size[1]}"
            for image, one in answered
            if image.size is not None and one.size != image.size
        ]
        if sizes:
            yield f"{len(sizes)} images have another size than the annotations say, so boxes may not fit: {sizes[0]}"

    def _read(self, objects: Iterable[Detection]) -> _Rows:
        labelled = [
            one.model_copy(update={"label": str(place)})
            for one in objects
            for place in self._vocabulary.categories(one.label)
        ]
        if self._iou_threshold is not None:
            labelled = suppress(labelled, self._iou_threshold)
        return _Rows(
            [int(one.label) for one in labelled],
            [(one.bbox[0], one.bbox[1], one.bbox[2] - one.bbox[0], one.bbox[3] - one.bbox[1]) for one in labelled],
            [certainty(one) for one in labelled],
        )

    def _truth(self) -> Truth:
        """Give what is labelled in the images that are answered."""
        truth = self._dataset.truth
        kept = np.array([one is not None for one in self._answered])[truth.boxes.image]
        boxes = Boxes(truth.boxes.image[kept], truth.boxes.category[kept], truth.boxes.bbox[kept])
        return replace(truth, boxes=boxes, area=truth.area[kept], crowd=truth.crowd[kept])
