"""Captions, categories, texts and the like of boxes, whichever backend found them."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from dinox_mcp.backends.base import Call, Describer
from dinox_mcp.backends.registry import Backends
from dinox_mcp.detect import answers, capabilities
from dinox_mcp.detect.answers import Answer, AnswerCache
from dinox_mcp.detect.options import MAX_OBJECTS
from dinox_mcp.detect.routing import Plan, Router
from dinox_mcp.errors import BackendError, InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.store.results import new_result_id
from dinox_mcp.types.boxes import area, clip, is_ordered, right_form
from dinox_mcp.types.detection import (
    BBox,
    DetectedObject,
    Detection,
    DetectionRequest,
    DetectionResult,
    Detections,
    Output,
    count_labels,
)

_FIELDS: Mapping[Output, str] = {"masks": "mask", "pose": "keypoints", "hands": "keypoints"}
"""The fields of outputs that are called otherwise."""


class Describing:
    """Has backends describe boxes."""

    def __init__(self, backends: Backends, router: Router, cache: AnswerCache) -> None:
        self._backends = backends
        self._router = router
        self._cache = cache

    def default_outputs(self, backend: str) -> frozenset[Output]:
        """Name the outputs that are given if the caller names none: text, and caption and category where possible."""
        wanted = frozenset[Output]({"caption", "category"})
        return (wanted & self._backends.get(backend).capabilities().describes) | {"text"}

    async def describe(
        self, backend: str, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
    ) -> Answer:
        """Describe objects, in their order.

        Outputs that the backend cannot give are given by another one. What is known of the objects is kept.

        Raises:
            UnsupportedError: no backend can; the message says which one could.
            BackendError: a backend failed.
        """
        shares = self._router.describers(include, backend, caller_has_key=call.api_key is not None)
        able = {name: capabilities.describer(name, share, self._backends) for name, share in shares.items()}
        notes: list[str] = []
        models: list[str] = []
        cached = True
        for name, share in shares.items() if objects else ():
            key = (call.client, name, image.digest, share, tuple((one.label, one.bbox) for one in objects))
            find = partial(_describe, able[name], name, image, objects, share, call)
            answer = await self._cache.get(key, DetectionRequest(include=share), find)
            objects = [_merged(known, new, share) for known, new in zip(objects, answer.found.objects, strict=True)]
            cached = cached and answer.cached
            notes += [f"{', '.join(sorted(share))} by the backend {name}, {answer.found.model}", *answer.found.notes]
            models.append(answer.found.model)
        return Answer(Detections(model=" + ".join(models), objects=tuple(objects), notes=tuple(notes)), cached)

    async def complete(
        self, result: DetectionResult, answer: Answer, plan: Plan, image: Picture, call: Call, *, strict: bool = False
    ) -> DetectionResult:
        """Add the outputs to a result that did not come with the detections, part by part of the plan.

        Where a backend fails, a note says so: what was found, and may have been paid for, is not lost.

        Raises:
            BackendError: a backend failed, if `strict`.
        """
        kept = answers.kept(answer.found.objects, len(result.objects))
        for part in dict.fromkeys(answer.parts):
            missing = plan.request.include - self._backends.get(part.backend).capabilities(part.request.model).outputs
            if part.exact and len(plan.parts) > 1:
                missing &= frozenset[Output]({"text"})  # a code has nothing else to describe
            indices = [index for index, found in enumerate(kept) if answer.parts[found] == part]
            if not missing or not indices:
                continue
            chosen = [result.objects[index] for index in indices]
            try:
                described = await self.describe(part.backend, image, chosen, missing, call)
                result = _with_descriptions(result, indices, described)
            except BackendError as error:
                if strict:
                    raise
                note = f"no {', '.join(sorted(missing))}: {error}"
                result = result.model_copy(update={"notes": (*result.notes, note)})
        return result


async def _describe(
    backend: Describer, name: str, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
) -> Detections:
    described = await backend.describe(image, objects, include, call)
    if len(described.objects) != len(objects):
        raise BackendError(
            f"the backend {name} described {len(described.objects)} of {len(objects)} objects; report it"
        )
    return described


def _merged(known: Detection, new: Detection, outputs: Iterable[Output]) -> Detection:
    """Merge a description into an object; keep existing values where the new one is empty."""
    fields = {_FIELDS.get(output, output) for output in outputs}
    return known.model_copy(update={field: getattr(new, field) or getattr(known, field) for field in fields})


def _with_descriptions(result: DetectionResult, indices: Sequence[int], described: Answer) -> DetectionResult:
    """Replace the objects at some indices of a result by the described ones, which come in the same order."""
    objects = list(result.objects)
    known = [objects[index] for index in indices]
    for index, one in zip(indices, _renumbered(known, described.found.objects), strict=True):
        objects[index] = one
    cached, notes = result.cached and described.cached, (*result.notes, *described.found.notes)
    return result.model_copy(update={"objects": tuple(objects), "cached": cached, "notes": notes})


def of_regions(
    described: Answer, backend: str, picture: Picture, request: DetectionRequest, objects: Sequence[DetectedObject]
) -> DetectionResult:
    """Make a result of the descriptions of given objects, under their own numbers."""
    return DetectionResult(
        result_id=new_result_id(),
        backend=backend,
        model=described.found.model,
        image=answers.image_info(picture),
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
    if len(boxes) > MAX_OBJECTS:
        raise InputError(f"boxes has {len(boxes)} entries, more than {MAX_OBJECTS}; split them over calls")
    for number, bbox in enumerate(boxes, start=1):
        clipped = clip(bbox, picture.width, picture.height)
        if not is_ordered(bbox) or area(clipped) <= 0:
            raise InputError(
                f"box {number}: {[round(edge, 1) for edge in bbox]} is empty or outside the {picture.width}x"
                f"{picture.height} image; {right_form(bbox)}"
            )
        objects.append(DetectedObject(id=number, label="region", bbox=clipped))
    return objects


def _renumbered(known: Sequence[DetectedObject], described: Sequence[Detection]) -> tuple[DetectedObject, ...]:
    return tuple(
        DetectedObject.model_validate({**dict(more), "id": one.id}) for one, more in zip(known, described, strict=True)
    )
