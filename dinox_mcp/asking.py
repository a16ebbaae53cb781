"""One question and its answer: checked, put to the backend (in tiles, if asked to), told more of, remembered."""

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import anyio
import anyio.to_thread
from cachetools import TTLCache

from dinox_mcp import refusals, routing, tiling
from dinox_mcp.backends.alongside import gather
from dinox_mcp.backends.base import Backend, Call, Describer, silent
from dinox_mcp.backends.registry import Backends
from dinox_mcp.errors import BackendError, InputError, QuotaError, UnreachableError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.memory import footprint
from dinox_mcp.routing import Part, Plan, Router
from dinox_mcp.schema import Detection, DetectionRequest, Detections, Example, Output, Source
from dinox_mcp.settings import MiB, Settings

ANSWERS_BYTES = 64 * MiB
_AT_A_TIME = 4
_FEW = 12
_FIELDS: Mapping[Output, str] = {
    "masks": "mask",
    "pose": "keypoints",
    "hands": "keypoints",
    "caption": "caption",
    "category": "category",
    "text": "text",
}
Kept = tuple[DetectionRequest, Detections]
Look = Callable[[], Awaitable[Detections]]


class Answer(NamedTuple):
    """What was found, all of it, and whether memory knew it; `sources` say who found what where several did."""

    found: Detections
    cached: bool
    backend: str = ""
    sources: tuple[Source, ...] = ()


class Asker:
    """Puts questions to backends, and remembers the answers while `cache_ttl_s` lasts."""

    def __init__(self, settings: Settings, backends: Backends, router: Router) -> None:
        self._settings = settings
        self._backends = backends
        self._router = router
        self._answers: TTLCache[Hashable, Kept] = TTLCache(ANSWERS_BYTES, settings.cache_ttl_s, getsizeof=_size)
        self._cutting = anyio.CapacityLimiter(1)
        self._tiling = anyio.CapacityLimiter(_AT_A_TIME)  # the tiles of a large picture take half a gigabyte

    async def answer(self, plan: Plan, image: Picture, call: Call) -> Answer:
        """Ask all parts of a question at the same time, and make one answer of theirs.

        Raises:
            InputError: more tiles than one call may have.
            UnsupportedError: no backend knows what any of the prompts means.
            BackendError: no part was answered.
        """
        answers = await gather([partial(self._part, part, plan, image, call) for part in plan.parts], _AT_A_TIME)
        failed = [answer for _, answer in answers if isinstance(answer, BackendError)]
        if len(failed) == len(answers):
            raise failed[0]
        done = [(part, _lost(part, got) if isinstance(got, BackendError) else got) for part, got in answers]
        found, sources = routing.merge(plan, [(part, answer.found) for part, answer in done])
        return Answer(
            self._explained(found, plan, caller_has_key=call.api_key is not None),
            cached=all(answer.cached for _, answer in done),
            backend=" + ".join(dict.fromkeys(part.backend for part, _ in done)),
            sources=sources,
        )

    async def _part(self, part: Part, plan: Plan, image: Picture, call: Call) -> tuple[Part, Answer | BackendError]:
        """Ask one part; where its backend cannot be reached or has no quota left, ask another that knows all of it."""
        heard = call if part is plan.main else replace(call, progress=silent)
        try:
            return part, await self.ask(part, image, heard)
        except UnsupportedError:
            raise
        except (UnreachableError, QuotaError) as error:
            other = self._router.instead(part, caller_has_key=call.api_key is not None)
            if other is None:
                return part, error
            answer = await self.ask(other, image, heard)
            note = f"the backend {part.backend} did not answer, so {other.backend} was asked: {error}"
            found = answer.found.model_copy(update={"notes": (note, *answer.found.notes)})
            return other, answer._replace(found=found)
        except BackendError as error:
            return part, error

    def _explained(self, found: Detections, plan: Plan, *, caller_has_key: bool) -> Detections:
        """Say what would find the prompts that nobody knows.

        Raises:
            UnsupportedError: that is all of them.
        """
        if not found.unknown:
            return found
        remedy = ", or ".join(self._router.remedies(caller_has_key=caller_has_key))
        remedy = f"for anything else {remedy}" if remedy else "ask for something else"
        if not found.objects and set(found.unknown) == set(plan.request.prompts or ()):
            raise UnsupportedError("; ".join((*found.notes, remedy)))
        return found.model_copy(update={"notes": (*found.notes, remedy)})

    async def ask(self, part: Part, image: Picture, call: Call) -> Answer:
        """Ask one backend; outputs that take a second look are not in its answer: see `tell_more`.

        Raises:
            InputError: more tiles than one call may have.
            BackendError: the backend cannot answer.
        """
        backend, request = self._backends.get(part.backend), part.request
        able = backend.capabilities(request.model)
        direct = request.model_copy(update={"include": request.include & able.outputs})
        question = (call.client, part.backend, image.digest, direct)

        async def look() -> Detections:
            self._check_calls(1, direct)
            if direct.tiles > 1:
                return await self._in_tiles(replace(part, request=direct), image, call)
            return _with_limits(await backend.detect(image, direct, call), able.labels, part.backend, direct)

        return await self._remembered(question, direct, look)

    async def tell_more(
        self, name: str, image: Picture, objects: Sequence[Detection], include: Iterable[Output], call: Call
    ) -> Answer:
        """Tell more about boxes: what `include` asks for, and detection has not given.

        The backend `name` is asked first; what it cannot tell is asked of another one that can (see
        `Router.describers`). The answer's notes say who did what.

        Raises:
            UnsupportedError: no backend can, and who could.
            BackendError: it could, and failed.
        """
        shares = self._router.describers(frozenset(include), name, caller_has_key=call.api_key is not None)
        for who, share in shares.items():
            refusals.check_boxes(share, self._backends.get(who), self._backends)
        notes: list[str] = []
        models: list[str] = []
        cached = True
        for who, share in shares.items() if objects else ():
            question = (call.client, who, image.digest, share, tuple((one.label, one.bbox) for one in objects))
            look = partial(self._described, self._backends.get(who), image, objects, share, call)
            answer = await self._remembered(question, DetectionRequest(include=share), look)
            objects = [_with(known, told, share) for known, told in zip(objects, answer.found.objects, strict=True)]
            cached = cached and answer.cached
            by = f"{', '.join(sorted(share))} by the backend {who}, {answer.found.model}"
            notes += [by, *answer.found.notes]
            models.append(answer.found.model)
        return Answer(Detections(model=" + ".join(models), objects=tuple(objects), notes=tuple(notes)), cached)

    def usual_descriptions(self, name: str) -> frozenset[Output]:
        """Name what there is to tell of a box where nobody says what: words, as far as the backend has them."""
        words = frozenset[Output]({"caption", "category"})
        return (words & self._backends.get(name).capabilities().describes) | {"text"}

    async def _described(
        self, backend: Backend, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
    ) -> Detections:
        if not isinstance(backend, Describer):
            raise UnsupportedError(f"the backend {backend.name} cannot tell more of given boxes; ask without")
        told = await backend.describe(image, objects, include, call)
        if len(told.objects) != len(objects):
            raise BackendError(
                f"the backend {backend.name} told of {len(told.objects)} of {len(objects)} objects; report it"
            )
        return told

    def can_tile(self, plan: Plan, image: Picture) -> bool:
        """Tell whether a plan's tiles are within the limit, and its backends can answer about a part of a picture."""
        try:
            for part in plan.parts:
                self._check_tiles(self._backends.get(part.backend), image, part.request)
        except (InputError, UnsupportedError):
            return False
        return True

    def _check_tiles(self, backend: Backend, image: Picture, request: DetectionRequest) -> tuple[int, DetectionRequest]:
        """Say how many looks the tiles take, and what each is asked.

        Raises:
            InputError: more tiles than one call may have.
            UnsupportedError: the backend takes no examples from the picture that a tile is part of.
        """
        looks = len(tiling.frames(image.width, image.height, request.tiles)) + 1
        self._check_calls(looks, request)
        seen = tuple(_elsewhere(one, image) for one in request.examples)
        for_tile = request.model_copy(update={"tiles": 1, "examples": seen})
        try:
            refusals.check(for_tile, backend, self._backends, for_tile.needs, request.include)
        except UnsupportedError as error:
            raise UnsupportedError(f"with tiles, which are other pictures than the examples are in, {error}") from None
        return looks, for_tile

    def _check_calls(self, looks: int, request: DetectionRequest) -> None:
        """Refuse what could take more calls than one question may have.

        Raises:
            InputError: it could.
        """
        each, most = _calls_each(request), self._settings.max_calls
        if looks * each > most:
            tiles = f"tiles is {request.tiles}" if looks > 1 else ""
            saved = f"examples has {each} prompts to be asked one by one" if each > 1 else ""
            raise InputError(
                f"{' and '.join(filter(None, (tiles, saved)))}, which takes {looks * each} calls to the backend, more "
                f"than the {most} allowed; choose fewer, or raise DINOX_MCP_MAX_CALLS"
            )

    async def _in_tiles(self, part: Part, image: Picture, call: Call) -> Detections:
        """Ask about the picture as a whole, unless memory knows, and about each of its tiles, a few at a time."""
        looks, for_tile = self._check_tiles(self._backends.get(part.backend), image, part.request)
        await call.progress(0.0, f"cutting the picture; {_cost(looks, part.request)} to the backend")
        async with self._tiling:
            return await self._of_tiles(part, image, for_tile, call, looks)

    async def _of_tiles(
        self, part: Part, image: Picture, for_tile: DetectionRequest, call: Call, number: int
    ) -> Detections:
        backend, request = self._backends.get(part.backend), part.request
        tiles = await anyio.to_thread.run_sync(tiling.cut, image, request.tiles, limiter=self._cutting)
        done = 0

        quiet = replace(call, progress=silent)
        inside = replace(quiet, pictures={**call.pictures, image.digest: image})

        async def at_the_whole() -> Detections:
            whole = replace(part, request=request.model_copy(update={"tiles": 1}))
            return (await self.ask(whole, image, quiet)).found

        async def counted(look: Look) -> Detections:
            nonlocal done
            found = await look()
            done += 1
            await call.progress(done / number, f"part {done} of {number}")
            return found

        looks: list[Look] = [at_the_whole, *(partial(backend.detect, tile.picture, for_tile, inside) for tile in tiles)]
        whole, *parts = await gather([partial(counted, look) for look in looks], _AT_A_TIME)
        pairs = [(tile, part.objects) for tile, part in zip(tiles, parts, strict=True)]
        size = image.width, image.height
        objects = await anyio.to_thread.run_sync(
            partial(tiling.merge, whole.objects, pairs, size, request.iou_threshold), limiter=self._cutting
        )
        notes = dict.fromkeys(note for found in (whole, *parts) for note in found.notes)
        looked = f"looked at the picture as a whole and in {len(tiles)} overlapping parts: {_cost(number, request)}"
        complete = all(found.complete for found in (whole, *parts))
        return whole.model_copy(update={"objects": tuple(objects), "notes": (looked, *notes), "complete": complete})

    async def _remembered(self, question: Hashable, request: DetectionRequest, look: Look) -> Answer:
        _, known = self._answers.get(question, (request, None))
        if known is not None:
            return Answer(known, cached=True)
        kept = request, await look()
        if kept[1].complete and _size(kept) <= ANSWERS_BYTES:
            self._answers[question] = kept
        return Answer(kept[1], cached=False)


def _calls_each(request: DetectionRequest) -> int:
    """Say how many calls one look may take: T-Rex, for one, takes a saved prompt a call, and all boxes in another."""
    saved = {(one.label, one.embedding) for one in request.examples if one.embedding}
    return max(1, len(saved) + any(one.embedding is None for one in request.examples))


def _cost(looks: int, request: DetectionRequest) -> str:
    each = _calls_each(request)
    return f"{looks} looks of up to {each} calls each" if each > 1 else f"{looks} calls"


def _elsewhere(example: Example, image: Picture) -> Example:
    """Say of an example in the searched picture which picture that is, as a tile is another."""
    inside = example.embedding is None and not example.image
    return example.model_copy(update={"image": image.digest}) if inside else example


def _with(known: Detection, told: Detection, outputs: Iterable[Output]) -> Detection:
    """Add to an object what was told of it; what it has already stays where nothing was."""
    fields = {_FIELDS[output] for output in outputs}
    update = {field: getattr(told, field) or getattr(known, field) for field in fields}
    return known.model_copy(update=update)


def _lost(part: Part, error: BackendError) -> Answer:
    """Say of a part of a question that it was not answered, and why."""
    what = ", ".join(part.request.prompts or ()) or "all that has no name"
    note = f"not looked for ({what:.200}): {error}"
    missing = part.request.prompts or ()
    return Answer(Detections(model="", objects=(), notes=(note,), unsearched=missing, complete=False), cached=False)


def _with_limits(
    found: Detections, labels: Sequence[str] | None, backend: str, request: DetectionRequest
) -> Detections:
    """Tell a prompt-free caller what a closed vocabulary holds, lest what it lacks be taken for absent."""
    if labels is None or "prompt-free detection" not in request.needs:
        return found
    few = ", ".join(labels) if len(labels) <= _FEW else f"{len(labels)} kinds of things, listed at dinox://backends,"
    return found.model_copy(update={"notes": (*found.notes, f"the backend {backend} looks for {few} and nothing else")})


def _size(kept: Kept) -> int:
    request, found = kept
    return footprint(request, found.objects, found.notes)
