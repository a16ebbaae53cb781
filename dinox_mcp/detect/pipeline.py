"""The way of a request, top to bottom.

`Router.plan` checks it and routes its parts to backends. `Pipeline.detect` answers the parts, each from the cache or
by its backend, in tiles if requested; it merges the answers, numbers the objects, describes them, and keeps the result.
"""

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from dinox_mcp.backends.base import Backend, Call, Embedder, gather, silent
from dinox_mcp.backends.registry import Backends
from dinox_mcp.detect import answers, capabilities, counting, thresholds
from dinox_mcp.detect.answers import Answer, AnswerCache
from dinox_mcp.detect.counting import Count
from dinox_mcp.detect.describing import Describing, of_regions
from dinox_mcp.detect.routing import Part, Plan, Router
from dinox_mcp.detect.tiled import TiledDetection
from dinox_mcp.errors import BackendError, DinoxError, QuotaError, UnreachableError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.store.results import Store
from dinox_mcp.types.detection import (
    DetectedObject,
    Detection,
    DetectionRequest,
    DetectionResult,
    Detections,
    Embedding,
    Need,
    Output,
)

_AT_A_TIME = 4
_FEW_LABELS = 12


class Pipeline:
    """Answers planned requests, and keeps the results."""

    def __init__(self, settings: Settings, backends: Backends, store: Store) -> None:
        scores = None if settings.min_scores is None else thresholds.read(settings.min_scores)
        self.router = Router(backends, scores)
        self._backends = backends
        self._store = store
        self._max_calls = settings.max_calls
        self._cache = AnswerCache(settings.cache_ttl_s)
        self._tiled = TiledDetection(backends, settings.max_calls)
        self.describing = Describing(backends, self.router, self._cache)

    async def detect(self, plan: Plan, image: Picture, call: Call, max_objects: int) -> DetectionResult:
        """Answer a plan, and keep the result.

        Raises:
            InputError: it takes more calls to a backend than are allowed.
            BackendError: no backend could answer.
        """
        answer = await self.answer(plan, image, call)
        result = answers.number(answer, image, plan.request, max_objects)
        if plan.request.include:
            result = await self.describing.complete(result, answer, plan, image, call)
        return await self._keep(result, image, call, answer.parts)

    async def find(self, plan: Plan, image: Picture, call: Call, max_objects: int) -> Answer:
        """Answer a plan with all its outputs, as a job of many images needs it: nothing is kept, and nothing may lack.

        Raises:
            BackendError: no part was answered, or a backend failed to give the outputs.
        """
        answer = await self.answer(plan, image, call, explain=False)
        if not plan.request.include:
            return answer
        result = answers.number(answer, image, plan.request, max_objects)
        result = await self.describing.complete(result, answer, plan, image, call, strict=True)
        fields = Detection.model_fields
        objects = [Detection.model_validate({name: getattr(one, name) for name in fields}) for one in result.objects]
        return answer.changed(objects=tuple(objects), notes=result.notes)

    async def count(
        self, request: DetectionRequest, image: Picture, call: Call, max_objects: int, *, may_tile: bool
    ) -> Count:
        """Count objects, and how the counts would change at other thresholds; the result lists at most `max_objects`.

        With `may_tile`, a large image is searched in tiles too, if a first search finds small objects or none.
        """
        has_key = call.api_key is not None
        plan = self.router.plan(request, caller_has_key=has_key)
        floor = min(counting.FLOOR, max(0.0, plan.request.min_score - counting.DOUBT))
        answer = await self.answer(plan, image, call, floor=floor)
        tiles = counting.worthwhile_tiles((image.width, image.height), answer.found.objects)
        if may_tile and tiles > 1:
            tiled = self.router.plan(request.model_copy(update={"tiles": tiles}), caller_has_key=has_key)
            if self._tiled.can_tile(tiled, image):
                plan, answer = tiled, await self.answer(tiled, image, call, floor=floor)
        result = answers.number(counting.above_thresholds(answer), image, plan.request, max_objects)
        searched = answers.searched(plan.request, answer.found)
        return Count(
            result=await self._keep(result, image, call, answer.parts),
            levels=counting.levels(answer.found.objects, searched, plan.request.min_score),
            doubtful=counting.doubtful(answer),
        )

    async def describe(
        self,
        backend: str,
        request: DetectionRequest,
        image: Picture,
        objects: Sequence[DetectedObject],
        include: frozenset[Output],
        call: Call,
    ) -> DetectionResult:
        """Describe given objects of an image, and keep the result; see `Describing.describe`."""
        described = await self.describing.describe(backend, image, objects, include, call)
        return await self._keep(of_regions(described, backend, image, request, objects), image, call)

    async def embed(self, request: DetectionRequest, image: Picture, call: Call) -> Embedding:
        """Encode the examples of a request for later requests.

        Raises:
            UnsupportedError: no backend can.
        """
        needs = frozenset[Need]({"saved prompts"})
        plan = self.router.plan(request, caller_has_key=call.api_key is not None, needs=needs)
        backend = self._backends.get(plan.main.backend)
        if not isinstance(backend, Embedder):
            raise UnsupportedError(f"the backend {backend.name} claims to save prompts and does not; report it")
        return await backend.embed(image, request, call)

    async def answer(
        self, plan: Plan, image: Picture, call: Call, *, floor: float = 1.0, explain: bool = True
    ) -> Answer:
        """Request all parts of a plan from their backends at the same time, and merge the responses.

        Objects that score less than the thresholds are given too, down to `floor`. With `explain`, a note is added on
        prompts that no backend knows; if there are no others, that is an error.

        Raises:
            InputError: it takes more calls to a backend than are allowed.
            BackendError: no part was answered.
        """
        quiet = replace(call, progress=silent)
        works = [
            partial(self._answer_part, part, image, call if part is plan.main else quiet, floor) for part in plan.parts
        ]
        answer = answers.merge(plan, await gather(works, _AT_A_TIME))
        found = answer.found
        if not found.unknown or not explain:
            return answer
        has_key = call.api_key is not None
        note = self.router.explain(found.unknown, plan, found=bool(found.objects), caller_has_key=has_key)
        return answer.changed(notes=(*found.notes, note))

    async def _answer_part(
        self, part: Part, image: Picture, call: Call, floor: float
    ) -> tuple[Part, Answer | BackendError]:
        """Answer a part; if its backend cannot be reached or has no quota left, by another that knows all of it."""
        try:
            return part, await self._ask(part, image, call, floor)
        except UnsupportedError:
            raise
        except (UnreachableError, QuotaError) as error:
            other = self.router.instead(part, caller_has_key=call.api_key is not None)
            if other is None:
                return part, error
            try:
                answer = await self._ask(other, image, call, floor)
            except DinoxError as second:
                return part, type(error)(f"{error}; the backend {other.backend}, used instead, failed too: {second}")
            note = f"the backend {part.backend} did not answer, so {other.backend} was used: {error}"
            return other, answer.changed(notes=(note, *answer.found.notes))
        except BackendError as error:
            return part, error

    async def _ask(self, part: Part, image: Picture, call: Call, floor: float) -> Answer:
        """Get the objects of a part from the cache or the backend; outputs that it gives only of boxes come later."""
        backend, request = self._backends.get(part.backend), part.request
        able = backend.capabilities(request.model)
        lowest = min(request.min_score, floor, 1.0 if part.scores is None else part.scores.lowest)
        request = request.model_copy(update={"include": request.include & able.outputs, "min_score": lowest})
        full = request.model_copy(update={"tiles": 1})
        key = call.client, part.backend, image.digest

        def search_full(call: Call) -> Awaitable[Answer]:
            find = partial(self._search, backend, full, image, call, able.labels)
            return self._cache.get((*key, full), full, find)

        if request.tiles == 1:
            answer = await search_full(call)
        else:
            find = partial(self._tiled.search, backend, request, image, call, search_full)
            answer = await self._cache.get((*key, request), request, find)
        return answer if part.scores is None else counting.above_label_scores(answer, part, part.scores, floor)

    async def _search(
        self, backend: Backend, request: DetectionRequest, image: Picture, call: Call, labels: Sequence[str] | None
    ) -> Detections:
        """Search an image with a backend; if its vocabulary is closed and there are no prompts, say what it holds."""
        capabilities.check_calls(1, backend, request, self._max_calls)
        found = await backend.detect(image, request, call)
        if labels is None or "prompt-free detection" not in request.needs:
            return found
        few = ", ".join(labels)
        if len(labels) > _FEW_LABELS:
            few = f"{len(labels)} kinds of things, listed at dinox://backends,"
        note = f"the backend {backend.name} detects {few} and nothing else"
        return found.model_copy(update={"notes": (*found.notes, note)})

    async def _keep(
        self, result: DetectionResult, image: Picture, call: Call, parts: Iterable[Part] = ()
    ) -> DetectionResult:
        """Keep a result for later calls of its caller; `parts` are those of the plan that its objects belong to.

        A caller who brings a key that no backend has accepted may be invented: its results must not displace others.
        """
        known = call.api_key is None or any(self._backends.needs_key(part.backend) for part in parts)
        return await self._store.keep(result, image, call.client, known=known)
