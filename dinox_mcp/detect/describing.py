"""Captions, categories, texts and the like of boxes, whichever backend found them."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from dinox_mcp.backends.base import Backend, Call, Describer
from dinox_mcp.backends.registry import Backends
from dinox_mcp.detect import capabilities, results
from dinox_mcp.detect.answers import Answer, AnswerCache
from dinox_mcp.detect.routing import Plan, Router
from dinox_mcp.errors import BackendError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.detection import Detection, DetectionRequest, DetectionResult, Detections, Output

_FIELDS: Mapping[Output, str] = {
    "masks": "mask",
    "pose": "keypoints",
    "hands": "keypoints",
    "caption": "caption",
    "category": "category",
    "text": "text",
}


class Describing:
    """Asks backends to describe boxes."""

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

        Args:
            backend: the backend that is asked first; outputs that it cannot give are asked of another one.
            image: where the objects are.
            objects: their boxes, and what is known of them.
            include: the outputs to give.
            call: who calls.

        Raises:
            UnsupportedError: no backend can; the message says which one could.
            BackendError: a backend failed.
        """
        shares = self._router.describers(include, backend, caller_has_key=call.api_key is not None)
        for name, share in shares.items():
            capabilities.check_boxes(share, self._backends.get(name), self._backends)
        notes: list[str] = []
        models: list[str] = []
        cached = True
        for name, share in shares.items() if objects else ():
            key = (call.client, name, image.digest, share, tuple((one.label, one.bbox) for one in objects))
            find = partial(_describe, self._backends.get(name), image, objects, share, call)
            answer = await self._cache.get(key, DetectionRequest(include=share), find)
            objects = [_merged(known, new, share) for known, new in zip(objects, answer.found.objects, strict=True)]
            cached = cached and answer.cached
            notes += [f"{', '.join(sorted(share))} by the backend {name}, {answer.found.model}", *answer.found.notes]
            models.append(answer.found.model)
        return Answer(Detections(model=" + ".join(models), objects=tuple(objects), notes=tuple(notes)), cached)

    async def complete(
        self, result: DetectionResult, answer: Answer, plan: Plan, image: Picture, call: Call
    ) -> DetectionResult:
        """Add the outputs to a result that did not come with the detections, part by part of the plan.

        Where a backend fails, a note says so: what was found, and may have been paid for, is not lost.
        """
        kept = results.kept(answer.found.objects, len(result.objects))
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
                result = results.with_descriptions(result, indices, described)
            except BackendError as error:
                result = results.without_outputs(result, missing, error)
        return result


async def _describe(
    backend: Backend, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
) -> Detections:
    if not isinstance(backend, Describer):
        raise UnsupportedError(f"the backend {backend.name} cannot describe given boxes; ask without")
    described = await backend.describe(image, objects, include, call)
    if len(described.objects) != len(objects):
        raise BackendError(
            f"the backend {backend.name} described {len(described.objects)} of {len(objects)} objects; report it"
        )
    return described


def _merged(known: Detection, new: Detection, outputs: Iterable[Output]) -> Detection:
    """Merge a description into an object; keep existing values where the new one is empty."""
    fields = {_FIELDS[output] for output in outputs}
    return known.model_copy(update={field: getattr(new, field) or getattr(known, field) for field in fields})
