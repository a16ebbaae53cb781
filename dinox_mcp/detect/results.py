"""From a backend's detections to the result that callers and the store hold."""

from collections.abc import Iterable, Sequence

from dinox_mcp.detect import options
from dinox_mcp.detect.pipeline import Answer
from dinox_mcp.drawing import views
from dinox_mcp.errors import BackendError, InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.store.results import new_result_id
from dinox_mcp.types.boxes import area, clip, iou
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
"""What a hand is called that no prompt asked for."""
_SAME_OBJECT = 0.5
"""IoU above which two looks at an image gave boxes of one object."""


def number(answer: Answer, picture: Picture, request: DetectionRequest, max_objects: int) -> DetectionResult:
    """Number the objects 1 to n in the backend's order, keeping the surest where there are too many."""
    found = answer.found
    things = [found.objects[index] for index in kept(found.objects, max_objects)]
    counted = _counted(found.objects, request)
    owners = [(number, thing) for number, thing in enumerate(things, start=1) if thing.owner is None]
    return DetectionResult(
        result_id=new_result_id(),
        backend=answer.backend,
        model=found.model,
        image=_info(picture),
        request=request,
        objects=tuple(
            DetectedObject(
                id=i, part_of=thing.owner and _number_of(thing.owner, owners), **{**dict(thing), "owner": None}
            )
            for i, thing in enumerate(things, start=1)
        ),
        counts=count_labels(counted, searched(request, found)),
        omitted=len(found.objects) - len(things),
        cached=answer.cached,
        notes=(*found.notes, *_uncounted(len(found.objects) - len(counted)), *picture.notes),
        sources=answer.sources,
    )


def _counted(objects: Sequence[Detection], request: DetectionRequest) -> Sequence[Detection]:
    """Leave out hands that are only there because `include` names them: they are no objects that were asked for."""
    asked = options.labels_of(request)
    if "hands" not in request.include or not asked or _HAND in asked:
        return objects
    return [one for one in objects if one.label != _HAND]


def _uncounted(hands: int) -> list[str]:
    """Say that hands are listed and not counted."""
    if not hands:
        return []
    return [f"hands listed but not counted: {hands} (they come with include; ask for 'hand' to count them)"]


def _number_of(bbox: BBox, owners: Sequence[tuple[int, Detection]]) -> int | None:
    """Find the object of a box; where another look at the image gave a slightly different one, the nearest."""
    overlaps = [(iou(bbox, one.bbox), certainty(one), number) for number, one in owners]
    best = max(overlaps, default=(0.0, 0.0, 0))
    return best[2] if best[0] > _SAME_OBJECT else None


def kept(objects: Sequence[Detection], max_objects: int) -> list[int]:
    """Choose the places of the surest objects, in their order."""
    surest = sorted(range(len(objects)), key=lambda place: -certainty(objects[place]))
    return sorted(surest[:max_objects])


def tell(result: DetectionResult, places: Sequence[int], told: Answer) -> DetectionResult:
    """Add to the objects of a result at some places what was said of them, in their order."""
    objects = list(result.objects)
    known = [objects[place] for place in places]
    for place, one in zip(places, _renumbered(known, told.found.objects), strict=True):
        objects[place] = one
    return result.model_copy(
        update={
            "objects": tuple(objects),
            "cached": result.cached and told.cached,
            "notes": (*result.notes, *told.found.notes),
        }
    )


def untold(result: DetectionResult, include: Iterable[Output], error: BackendError) -> DetectionResult:
    """Say in a result why there is no more of its objects."""
    return result.model_copy(update={"notes": (*result.notes, f"no {', '.join(sorted(include))}: {error}")})


def described(
    told: Answer, backend: str, picture: Picture, request: DetectionRequest, objects: Sequence[DetectedObject]
) -> DetectionResult:
    """Make a result of what was told of given objects, under their own numbers."""
    return DetectionResult(
        result_id=new_result_id(),
        backend=backend,
        model=told.found.model,
        image=_info(picture),
        request=request,
        objects=_renumbered(objects, told.found.objects),
        counts=count_labels(told.found.objects),
        cached=told.cached and bool(objects),
        notes=(*told.found.notes, *picture.notes),
    )


def regions(boxes: Sequence[BBox], picture: Picture) -> list[DetectedObject]:
    """Make numbered objects of a caller's boxes, clipped to the picture.

    Raises:
        InputError: a box is empty or outside of it, or there are too many.
    """
    objects = []
    if len(boxes) > options.MAX_OBJECTS:
        raise InputError(f"boxes has {len(boxes)} entries, more than {options.MAX_OBJECTS}; split them over calls")
    for place, bbox in enumerate(boxes, start=1):
        clipped = clip(bbox, picture.width, picture.height)
        if not views.is_ordered(bbox) or area(clipped) <= 0:
            raise InputError(
                f"box {place}: {[round(edge, 1) for edge in bbox]} is empty or outside the {picture.width}x"
                f"{picture.height} picture; {views.right_form(bbox)}"
            )
        objects.append(DetectedObject(id=place, label="region", bbox=clipped))
    return objects


def searched(request: DetectionRequest, found: Detections) -> list[str]:
    """List the labels that were asked for and looked for, which count 0 where nothing is found."""
    return [label for label in options.labels_of(request) if label not in found.unsearched]


def _renumbered(known: Sequence[DetectedObject], told: Sequence[Detection]) -> tuple[DetectedObject, ...]:
    return tuple(
        DetectedObject.model_validate({**dict(more), "id": one.id}) for one, more in zip(known, told, strict=True)
    )


def _info(picture: Picture) -> ImageInfo:
    return ImageInfo(width=picture.width, height=picture.height, source=picture.source)
