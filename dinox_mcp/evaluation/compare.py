"""Compares what a run found, image by image, with what is labelled."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from dinox_mcp.batch.journal import Journal
from dinox_mcp.batch.summary import MAX_FAILURES, FailedImage, readable
from dinox_mcp.evaluation.labelled import Dataset, Found, Iou, Truth, Vocabulary, join
from dinox_mcp.evaluation.precision import Precision, Rules, evaluate
from dinox_mcp.evaluation.report import CountFigures, count_figures
from dinox_mcp.evaluation.shapes import array_of, extent, measured, points_of, pose_score
from dinox_mcp.types.boxes import suppress
from dinox_mcp.types.detection import Detection, certainty
from dinox_mcp.types.keypoints import BODY

_MOST_NAMED = 5


class _Row(NamedTuple):
    """A found object: the position of its category, x, y, width and height, and what `Found` has of it."""

    category: int
    bbox: tuple[float, float, float, float]
    score: float
    area: float
    shape: Any = None
    box_score: float = 1


class Comparison:
    """What was found in the images that are answered, and what is labelled in them.

    Args:
        dataset: what is labelled.
        vocabulary: which categories a label stands for.
        journal: what was found.
        iou_threshold: boxes of one category that overlap more count once, as those of synonyms; None keeps all.

    Attributes:
        found: the found objects of all images.
    """

    def __init__(
        self, dataset: Dataset, vocabulary: Vocabulary, journal: Journal, iou_threshold: float | None = None
    ) -> None:
        self.dataset = dataset
        self.vocabulary = vocabulary
        self._iou_threshold = iou_threshold
        self._iou: Iou = dataset.truth.iou
        self._without_shape = 0
        self._records = [journal.records.get(str(image.path)) for image in dataset.images]
        self._answered = [one if one is not None and not one.error else None for one in self._records]
        found = [
            self._read(image, () if one is None else journal.objects(one)) for image, one in enumerate(self._answered)
        ]
        self.found = join(found)

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

    @cached_property
    def truth(self) -> Truth:
        """What is labelled in the images that are answered."""
        answered = np.array([one is not None for one in self._answered])
        return self.dataset.truth.take(answered[self.dataset.truth.image])

    @property
    def common_model(self) -> str:
        """The models that answered for every image that was searched for something, joined by " + "."""
        answered = [one.model.split(" + ") for one in self._answered if one is not None and one.model]
        models = dict.fromkeys(name for names in answered for name in names)
        return " + ".join(name for name in models if all(name in names for names in answered))

    def precision(self, rules: Rules) -> Precision:
        """Evaluate the found objects by a set of rules."""
        return evaluate(self.truth, self.found, rules)

    def detections(self) -> Iterator[str]:
        """Write the found objects in COCO's format of results.

        Masks and keypoints have no box, so that evaluators take the area from themselves, as the protocols say.
        """
        found, separator = self.found, "["
        rows = zip(found.image, found.category, found.bbox, found.score, strict=True)
        for place, (image, category, bbox, score) in enumerate(rows):
            number, kind = self.dataset.images[image].number, self.dataset.numbers[category]
            one: dict[str, Any] = {"image_id": number, "category_id": kind, "score": float(score)}
            if found.shapes is None:
                one["bbox"] = bbox.tolist()
            elif self._iou == "segm":
                one["segmentation"] = found.shapes[place] | {"counts": found.shapes[place]["counts"].decode()}
            else:
                one["keypoints"] = found.shapes[place].ravel().tolist()
            yield separator
            yield json.dumps(one)
            separator = ",\n"
        yield "[]" if separator == "[" else "]"

    @property
    def answered(self) -> int:
        """The number of images that are answered."""
        return sum(1 for one in self._answered if one is not None)

    def labelled_counts(self) -> dict[tuple[int, int], int]:
        """Give the labelled counts, by the positions of image and category, of the images that are answered."""
        return {pair: number for pair, number in self.dataset.counts.items() if self._answered[pair[0]] is not None}

    def wrong_counts(self, *, absent: bool, federated: bool) -> dict[tuple[int, int], int]:
        """Give the labelled counts of which a count can be wrong: also 0 for what was found and is not labelled.

        Args:
            absent: whether what is not labelled in an image is absent.
            federated: only what is known to be absent is, and nothing counts that is labelled only in part (LVIS).
        """
        labelled, truth = self.labelled_counts(), self.dataset.truth
        known = {(image, place) for image, place in truth.absent.tolist()} if federated else None
        for pair in {*self.found.pairs} - self._crowded if absent else ():
            if known is None or pair in known:
                labelled.setdefault(pair, 0)
        for image, place in truth.partial.tolist() if federated else ():
            labelled.pop((image, place), None)
        return labelled

    def found_counts(self, least: float | None) -> Mapping[tuple[int, int], int]:
        """Count what scores at least `least`, by the positions of image and category.

        None counts all that was found, also what was not kept.
        """
        found: Counter[tuple[int, int]] = Counter()
        if least is not None:
            found.update(self.found.take(np.flatnonzero(self.found.threshold_score >= least)).pairs)
            return found
        for image, record in enumerate(self._answered):
            for label, number in record.counts.items() if record is not None else ():
                for place in self.vocabulary.categories(label):
                    found[image, place] += number
        return found

    def counts(self, *, absent: bool, least: float | None = None) -> Iterator[CountFigures]:
        """Give the errors of counts: of all categories together, and of each.

        Args:
            absent: also count what is not labelled in an image, which is right if it is 0.
            least: as in `found_counts`.
        """
        labelled = self.labelled_counts()
        if absent:
            images = [image for image, one in enumerate(self._answered) if one is not None]
            every = ((image, place) for image in images for place in range(len(self.vocabulary)))
            labelled |= {pair: 0 for pair in every if pair not in labelled and pair not in self._crowded}
        found = self.found_counts(least)
        groups: dict[int, dict[tuple[int, int], int]] = {}
        for pair, number in labelled.items():
            groups.setdefault(pair[1], {})[pair] = number
        named = [(self.dataset.categories[place].name, group) for place, group in sorted(groups.items())]
        for name, group in [("all", labelled), *named]:
            if group:
                yield count_figures(name, group, found)

    def notes(self, *, most: int | None) -> Iterator[str]:
        """Say what changes the figures; `most` objects of an image were kept, or None where they are only counted."""
        if shared := self.vocabulary.shared:
            named = ", ".join(shared[:_MOST_NAMED])
            yield f"{len(shared)} prompts stand for several categories of one name, and so do their boxes: {named}"
        if most is None:
            return
        if self._without_shape:
            what = "mask" if self._iou == "segm" else "keypoints of a body"
            yield f"{self._without_shape:,} found objects have no {what} and are left out"
        answered = [(image, one) for image, one in zip(self.dataset.images, self._answered, strict=True) if one]
        if full := sum(1 for _, one in answered if sum(one.counts.values()) >= most):
            yield f"{full} images had {most:,} objects or more, of which the best are kept; raise --min-score"
        sizes = [
            f"{image.path.name} has {one.size[0]}x{one.size[1]} instead of {image.size[0]}x{image.size[1]}"
            for image, one in answered
            if image.size is not None and one.size != image.size
        ]
        if sizes:
            yield f"{len(sizes)} images have another size than the annotations say, so boxes may not fit: {sizes[0]}"

    @cached_property
    def _crowded(self) -> set[tuple[int, int]]:
        """The images and categories of which a crowd is labelled, so that they have no count."""
        return {*self.dataset.truth.pairs} - self.dataset.counts.keys()

    def _read(self, image: int, objects: Iterable[Detection]) -> Found:
        """Take what was found in an image."""
        labelled = [
            one.model_copy(update={"label": str(place)})
            for one in objects
            for place in self.vocabulary.categories(one.label)
        ]
        if self._iou_threshold is not None:
            labelled = suppress(labelled, self._iou_threshold)
        rows = [row for one in labelled if (row := _row(one, self._iou)) is not None]
        self._without_shape += len(labelled) - len(rows)
        shapes = None
        if self._iou == "segm":
            shapes = array_of(row.shape for row in rows)
        elif self._iou == "keypoints":
            shapes = np.array([row.shape for row in rows], float).reshape(-1, len(BODY), 3)
        return Found(
            np.full(len(rows), image),
            np.array([row.category for row in rows], int),
            np.array([row.bbox for row in rows], float).reshape(-1, 4),
            np.array([row.score for row in rows], float),
            np.array([row.area for row in rows], float),
            shapes,
            np.array([row.box_score for row in rows], float) if self._iou == "keypoints" else None,
        )


def _row(one: Detection, iou: Iou) -> _Row | None:
    """Make a row of a detection whose label is the position of its category; None if it lacks what is compared."""
    category, score = int(one.label), certainty(one)
    bbox = one.bbox[0], one.bbox[1], one.bbox[2] - one.bbox[0], one.bbox[3] - one.bbox[1]
    if iou == "segm":
        if one.mask is None:
            return None
        try:
            encoded, area = measured(one.mask)
        except ValueError:
            return None
        return _Row(category, bbox, score, area, encoded)
    if iou == "keypoints":
        if (points := points_of(one)) is None:
            return None
        around = extent(points)
        return _Row(category, around, pose_score(one, score), around[2] * around[3], points, score)
    return _Row(category, bbox, score, bbox[2] * bbox[3])
