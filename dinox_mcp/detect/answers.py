"""What backends answered: cached by request, merged over the parts of a plan, and numbered into a result."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from operator import itemgetter
from typing import NamedTuple

from cachetools import TTLCache

from dinox_mcp.detect.options import labels_of
from dinox_mcp.detect.routing import Part, Plan
from dinox_mcp.errors import BackendError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import MiB
from dinox_mcp.store.results import footprint, new_result_id
from dinox_mcp.types import boxes
from dinox_mcp.types.detection import (
    BBox,
    DetectedObject,
    Detection,
    DetectionRequest,
    DetectionResult,
    Detections,
    ImageInfo,
    Source,
    certainty,
    count_labels,
)

CACHE_BYTES = 64 * MiB
_SAME_OBJECT = 0.5  # IoU above which two backends, or two searches of an image, found one object
_HAND = "hand"  # the label of a hand that no prompt named


class Answer(NamedTuple):
    """What backends found.

    Attributes:
        found: the objects, of all parts of the plan.
        cached: all of it came from the cache.
        backend: the backends that answered, joined by " + ".
        parts: for each object, the part of the plan that it belongs to.
        sources: which backend answered which part, if there are several parts.
    """

    found: Detections
    cached: bool
    backend: str = ""
    parts: tuple[Part, ...] = ()
    sources: tuple[Source, ...] = ()

    def changed(self, **update: object) -> "Answer":
        """Give the same answer with other values of `found`."""
        return self._replace(found=self.found.model_copy(update=update))


class AnswerCache:
    """Keeps what backends found for `ttl_s` seconds, up to `CACHE_BYTES` in memory."""

    def __init__(self, ttl_s: float) -> None:
        self._kept: TTLCache[Hashable, tuple[Detections, int]] = TTLCache(CACHE_BYTES, ttl_s, getsizeof=itemgetter(1))

    async def get(self, key: Hashable, request: DetectionRequest, find: Callable[[], Awaitable[Detections]]) -> Answer:
        """Give what is cached under a key, or what `find` gives, which is then cached if it is complete."""
        cached = self._kept.get(key)
        if cached is not None:
            return Answer(cached[0], cached=True)
        found = await find()
        size = footprint(request, found.objects, found.notes)
        if found.complete and size <= CACHE_BYTES:
            self._kept[key] = found, size
        return Answer(found, cached=False)


def merge(plan: Plan, answers: Sequence[tuple[Part, Answer | BackendError]]) -> Answer:
    """Make one answer of the answers to the parts of a plan; a part that failed becomes a note.

    Where two backends found one object, that of the part that is read exactly stays.

    Raises:
        BackendError: no part was answered.
    """
    found: list[tuple[Part, Detections]] = []
    failed: list[tuple[Part, BackendError]] = []
    cached = True
    for part, answer in answers:
        if isinstance(answer, Answer):
            found.append((part, answer.found))
            cached = cached and answer.cached
        else:
            failed.append((part, answer))
    if not found:
        raise failed[0][1]
    exact = [one for part, one_found in found if part.exact for one in one_found.objects]
    pairs = [
        (one, part)
        for part, one_found in found
        for one in one_found.objects
        if part.exact or not any(_are_one(one, other) for other in exact)
    ]
    every = [*(one_found for _, one_found in found), *(_unanswered(part, error) for part, error in failed)]
    unsearched = tuple(prompt for one in every for prompt in one.unsearched)
    missing = {*(plan.main.given.prompts or ())} - {*unsearched} - {one.label for one, _ in pairs}
    notes = (*plan.notes, *(plan.notes_if_missing if missing else ()), *(note for one in every for note in one.notes))
    merged = Detections(
        model=" + ".join(dict.fromkeys(one.model for one in every if one.model)),
        objects=tuple(one for one, _ in pairs),
        notes=tuple(dict.fromkeys(notes)),
        unsearched=unsearched,
        unknown=tuple(prompt for one in every for prompt in one.unknown),
        complete=all(one.complete for one in every),
    )
    return Answer(
        merged,
        cached=cached and not failed,
        backend=" + ".join(dict.fromkeys(part.backend for part, _ in found)),
        parts=tuple(part for _, part in pairs),
        sources=tuple(_source(part, one_found) for part, one_found in found) if len(plan.parts) > 1 else (),
    )


def _are_one(one: Detection, other: Detection) -> bool:
    return one.label.casefold() == other.label.casefold() and boxes.iou(one.bbox, other.bbox) > _SAME_OBJECT


def _unanswered(part: Part, error: BackendError) -> Detections:
    """Say that a part was not answered, and why."""
    missing = part.request.prompts or ()
    what = ", ".join(missing) or "all that has no name"
    note = f"not looked for ({what:.200}): {error}"
    return Detections(model="", objects=(), notes=(note,), unsearched=missing, complete=False)


def _source(part: Part, found: Detections) -> Source:
    """Say which backend answered a part, with which thresholds."""
    labels = part.request.prompts
    if labels is None or part.exact:
        labels = tuple(dict.fromkeys(one.label for one in found.objects))
    return Source(
        backend=part.backend,
        model=found.model,
        labels=labels,
        min_score=part.request.min_score,
        iou_threshold=part.request.iou_threshold,
    )


def number(answer: Answer, picture: Picture, request: DetectionRequest, max_objects: int) -> DetectionResult:
    """Number the objects 1 to n in the backend's order; of more than `max_objects`, keep those that score highest."""
    found = answer.found
    listed = [found.objects[index] for index in kept(found.objects, max_objects)]
    labels = labels_of(request)
    counted: Sequence[Detection] = found.objects
    notes = [*found.notes]
    if "hands" in request.include and labels and _HAND not in labels:  # they come with persons, no prompt names them
        counted = [one for one in found.objects if one.label != _HAND]
        if hands := len(found.objects) - len(counted):
            notes.append(
                f"hands listed but not counted: {hands} (they come with include; prompt for 'hand' to count them)"
            )
    owners = [(number, one) for number, one in enumerate(listed, start=1) if one.owner is None]
    return DetectionResult(
        result_id=new_result_id(),
        backend=answer.backend,
        model=found.model,
        image=image_info(picture),
        request=request,
        objects=tuple(
            DetectedObject(id=i, part_of=one.owner and _number_of(one.owner, owners), **{**dict(one), "owner": None})
            for i, one in enumerate(listed, start=1)
        ),
        counts=count_labels(counted, searched(request, found)),
        omitted=len(found.objects) - len(listed),
        cached=answer.cached,
        notes=(*notes, *picture.notes),
        sources=answer.sources,
    )


def _number_of(bbox: BBox, owners: Sequence[tuple[int, Detection]]) -> int | None:
    """Find the number of the object with this box, or with the nearest one if another search gave a different box."""
    overlaps = [(boxes.iou(bbox, one.bbox), certainty(one), number) for number, one in owners]
    best = max(overlaps, default=(0.0, 0.0, 0))
    return best[2] if best[0] > _SAME_OBJECT else None


def kept(objects: Sequence[Detection], max_objects: int) -> list[int]:
    """Choose the indices of the objects that score highest, in their order."""
    best = sorted(range(len(objects)), key=lambda index: -certainty(objects[index]))
    return sorted(best[:max_objects])


def searched(request: DetectionRequest, found: Detections) -> list[str]:
    """List the labels of a request that a backend searched for; they count 0 where nothing is found."""
    return [label for label in labels_of(request) if label not in found.unsearched]


def image_info(picture: Picture) -> ImageInfo:
    """Give what a result says of its image."""
    return ImageInfo(
        width=picture.width,
        height=picture.height,
        source=picture.source,
        pixels_per_point=picture.pixels_per_point,
    )
