"""From a backend's detections to the result that callers and the store hold."""

from collections.abc import Iterable, Sequence

from dinox_mcp.detect import options
from dinox_mcp.detect.answers import Answer
from dinox_mcp.errors import BackendError, InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.store.results import new_result_id
from dinox_mcp.types.boxes import area, clip, iou, is_ordered, right_form
from dinox_mcp.types.detection import (
    BBox,
    DetectedObject,
    Detection,
    DetectionRequest,
    DetectionResult,
    Detections,
    ImageInfo,
    Output,
    certainty,
    count_labels,
)

_HAND = "hand"
"""The label of a hand that no prompt asked for."""
_SAME_OBJECT = 0.5
"""IoU above which two searches of an image gave boxes of one object."""


def number(answer: Answer, picture: Picture, request: DetectionRequest, max_objects: int) -> DetectionResult:
    """Number the objects 1 to n in the backend's order; of more than `max_objects`, keep those that score highest."""
    found = answer.found
    listed = [found.objects[index] for index in kept(found.objects, max_objects)]
    labels = options.labels_of(request)
    counted: Sequence[Detection] = found.objects
    notes = [*found.notes]
    if "hands" in request.include and labels and _HAND not in labels:  # they come with persons, no prompt names them
        counted = [one for one in found.objects if one.label != _HAND]
        if hands := len(found.objects) - len(counted):
            notes.append(
                f"hands listed but not counted: {hands} (they come with include; ask for 'hand' to count them)"
            )
    owners = [(number, one) for number, one in enumerate(listed, start=1) if one.owner is None]
    return DetectionResult(
        result_id=new_result_id(),
        backend=answer.backend,
        model=found.model,
        image=_info(picture),
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
    overlaps = [(iou(bbox, one.bbox), certainty(one), number) for number, one in owners]
    best = max(overlaps, default=(0.0, 0.0, 0))
    return best[2] if best[0] > _SAME_OBJECT else None


def kept(objects: Sequence[Detection], max_objects: int) -> list[int]:
    """Choose the indices of the objects that score highest, in their order."""
    best = sorted(range(len(objects)), key=lambda index: -certainty(objects[index]))
    return sorted(best[:max_objects])


def with_descriptions(result: DetectionResult, indices: Sequence[int], described: Answer) -> DetectionResult:
    """Replace the objects at some indices of a result by the described ones, which come in the same order."""
    objects = list(result.objects)
    known = [objects[index] for index in indices]
    for index, one in zip(indices, _renumbered(known, described.found.objects), strict=True):
        objects[index] = one
    return result.model_copy(
        update={
            "objects": tuple(objects),
            "cached": result.cached and described.cached,
            "notes": (*result.notes, *described.found.notes),
        }
    )


def without_outputs(result: DetectionResult, include: Iterable[Output], error: BackendError) -> DetectionResult:
    """Add a note to a result on why these outputs are missing."""
    return result.model_copy(update={"notes": (*result.notes, f"no {', '.join(sorted(include))}: {error}")})


def of_regions(
    described: Answer, backend: str, picture: Picture, request: DetectionRequest, objects: Sequence[DetectedObject]
) -> DetectionResult:
    """Make a result of the descriptions of given objects, under their own numbers."""
    return DetectionResult(
        result_id=new_result_id(),
        backend=backend,
        model=described.found.model,
        image=_info(picture),
        request=request,
        objects=_renumbered(objects, described.found.objects),
        counts=count_labels(described.found.objects),
        cached=described.cached and bool(objects),
        notes=(*described.found.notes, *picture.notes),
    )


def regions(boxes: Sequence[BBox], picture: Picture) -> list[DetectedObject]:
    """Make numbered objects of a caller's boxes, clipped to the image.

    Raises:
        InputError: a box is empty or outside of it, or there are too many.
    """
    objects = []
    if len(boxes) > options.MAX_OBJECTS:
        raise InputError(f"boxes has {len(boxes)} entries, more than {options.MAX_OBJECTS}; split them over calls")
    for number, bbox in enumerate(boxes, start=1):
        clipped = clip(bbox, picture.width, picture.height)
        if not is_ordered(bbox) or area(clipped) <= 0:
            raise InputError(
                f"box {number}: {[round(edge, 1) for edge in bbox]} is empty or outside the {picture.width}x"
                f"{picture.height} image; {right_form(bbox)}"
            )
        objects.append(DetectedObject(id=number, label="region", bbox=clipped))
    return objects


def searched(request: DetectionRequest, found: Detections) -> list[str]:
    """List the labels of a request that a backend searched for; they count 0 where nothing is found."""
    return [label for label in options.labels_of(request) if label not in found.unsearched]


def _renumbered(known: Sequence[DetectedObject], described: Sequence[Detection]) -> tuple[DetectedObject, ...]:
    return tuple(
        DetectedObject.model_validate({**dict(more), "id": one.id}) for one, more in zip(known, described, strict=True)
    )


def _info(picture: Picture) -> ImageInfo:
    return ImageInfo(width=picture.width, height=picture.height, source=picture.source)
