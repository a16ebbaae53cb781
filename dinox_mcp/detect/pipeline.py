"""One question and its answer: checked, put to the backend (in tiles, if asked to), told more of, remembered."""

from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import anyio
import anyio.to_thread
from cachetools import TTLCache

from dinox_mcp.backends.base import Backend, Call, Describer, Priced, Remarking, silent
from dinox_mcp.backends.concurrency import gather
from dinox_mcp.backends.registry import Backends
from dinox_mcp.detect import capabilities, routing, tiling
from dinox_mcp.detect.routing import Part, Plan, Router
from dinox_mcp.errors import BackendError, DinoxError, InputError, QuotaError, UnreachableError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import MiB, Settings
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Example, Output, Source
from dinox_mcp.types.memory import footprint

ANSWERS_BYTES = 64 * MiB
_AT_A_TIME = 4
_FEW = 12
_FEW_PROMPTS = 5
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
    """What was found, all of it, and whether memory knew it.

    Attributes:
        found: the objects of all parts of the question.
        cached: memory knew all of it.
        backend: who answered.
        parts: for each object the part of the question that it answers.
        sources: who answered which part, where several did.
    """

    found: Detections
    cached: bool
    backend: str = ""
    parts: tuple[Part, ...] = ()
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

    async def answer(self, plan: Plan, image: Picture, call: Call, *, floor: float = 1.0) -> Answer:
        """Ask all parts of a question at the same time, and make one answer of theirs.

        Args:
            plan: the question in parts.
            image: the image that it is about.
            call: who asks.
            floor: also give what scores less than the thresholds, down to this score.

        Raises:
            InputError: more tiles than one call may have.
            BackendError: no part was answered.
        """
        asked = partial(self._part, plan=plan, image=image, call=call, floor=floor)
        answers = await gather([partial(asked, part) for part in plan.parts], _AT_A_TIME)
        failed = [answer for _, answer in answers if isinstance(answer, BackendError)]
        if len(failed) == len(answers):
            raise failed[0]
        lost = [(part, _lost(part, answer)) for part, answer in answers if isinstance(answer, BackendError)]
        done = [(part, answer) for part, answer in answers if isinstance(answer, Answer)]
        pairs = [(part, answer.found) for part, answer in done]
        found, parts = routing.merge(plan, [*pairs, *lost])
        return Answer(
            found,
            cached=not lost and all(answer.cached for _, answer in done),
            backend=" + ".join(dict.fromkeys(part.backend for part, _ in done)),
            parts=parts,
            sources=tuple(routing.source(part, answer) for part, answer in pairs) if len(plan.parts) > 1 else (),
        )

    async def _part(
        self, part: Part, *, plan: Plan, image: Picture, call: Call, floor: float
    ) -> tuple[Part, Answer | BackendError]:
        """Ask one part; where its backend cannot be reached or has no quota left, ask another that knows all of it."""
        heard = call if part is plan.main else replace(call, progress=silent)
        try:
            return part, await self.ask(_down_to(floor, part), image, heard)
        except UnsupportedError:
            raise
        except (UnreachableError, QuotaError) as error:
            other = self._router.instead(part, caller_has_key=call.api_key is not None)
            if other is None:
                return part, error
            try:
                answer = await self.ask(_down_to(floor, other), image, heard)
            except DinoxError as second:
                both = f"{error}; the backend {other.backend}, asked instead, failed too: {second}"
                return part, type(error)(both)
            note = f"the backend {part.backend} did not answer, so {other.backend} was asked: {error}"
            found = answer.found.model_copy(update={"notes": (note, *answer.found.notes)})
            return other, answer._replace(found=found)
        except BackendError as error:
            return part, error

    def explain(self, unknown: Sequence[str], plan: Plan, *, found: bool, caller_has_key: bool) -> str:
        """Say which prompts nobody knows, and what would find them.

        Args:
            unknown: those prompts; at least one.
            plan: the question.
            found: whether anything else was found.
            caller_has_key: the caller brought an API key.

        Raises:
            UnsupportedError: nothing was found, and nobody knows any of the prompts.
        """
        note = self._cannot(unknown, plan)
        remedy = ", or ".join(self._router.remedies(caller_has_key=caller_has_key))
        note += f"; for anything else {remedy}" if remedy else ""
        if not found and set(unknown) == set(plan.request.prompts or ()):
            raise UnsupportedError(note)
        return note

    def _cannot(self, prompts: Sequence[str], plan: Plan) -> str:
        labels = self._backends.get(plan.main.backend).capabilities(plan.main.request.model).labels or ()
        shown = ", ".join(f"'{prompt[:40]}'" for prompt in prompts[:_FEW_PROMPTS])
        more = f" and {len(prompts) - _FEW_PROMPTS} more" if len(prompts) > _FEW_PROMPTS else ""
        known = ", ".join(labels[:_FEW])
        rest = f" and {len(labels) - _FEW} more kinds, listed at dinox://backends" if len(labels) > _FEW else ""
        return (
            f"the backend {plan.main.backend} cannot find {shown}{more}: it knows {known}{rest}, and the image has no "
            "such words either"
        )

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
            self._check_calls(1, backend, direct)
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
            capabilities.check_boxes(share, self._backends.get(who), self._backends)
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
        self._check_calls(looks, backend, request)
        seen = tuple(_elsewhere(one, image) for one in request.examples)
        for_tile = request.model_copy(update={"tiles": 1, "examples": seen})
        try:
            capabilities.check(for_tile, backend, self._backends, for_tile.needs, request.include)
        except UnsupportedError as error:
            raise UnsupportedError(f"with tiles, which are other pictures than the examples are in, {error}") from None
        return looks, for_tile

    def _check_calls(self, looks: int, backend: Backend, request: DetectionRequest) -> None:
        """Refuse what could take more calls than one question may have.

        Raises:
            InputError: it could.
        """
        each, most = _calls_each(backend, request), self._settings.max_calls
        if looks * each > most:
            tiles = f"tiles is {request.tiles}" if looks > 1 else ""
            saved = f"the backend {backend.name} asks these examples in {each} calls" if each > 1 else ""
            raise InputError(
                f"{' and '.join(filter(None, (tiles, saved)))}, which takes {looks * each} calls to the backend, more "
                f"than the {most} allowed; choose fewer, or raise DINOX_MCP_MAX_CALLS"
            )

    async def _in_tiles(self, part: Part, image: Picture, call: Call) -> Detections:
        """Ask about the picture as a whole, unless memory knows, and about each of its tiles, a few at a time."""
        looks, for_tile = self._check_tiles(self._backends.get(part.backend), image, part.request)
        cost = _cost(looks, self._backends.get(part.backend), part.request)
        await call.progress(0.0, f"cutting the picture; {cost} to the backend")
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
        labels = {found.label for found in objects}
        looks_found = (whole, *parts)
        pictures = (image, *(tile.picture for tile in tiles))
        notes = _notes(backend, list(zip(pictures, looks_found, strict=True)), image, objects)
        cost = _cost(number, backend, request)
        looked = f"looked at the picture as a whole and in {len(tiles)} overlapping parts: {cost}"
        return whole.model_copy(
            update={
                "objects": tuple(objects),
                "notes": (looked, *notes),
                "unsearched": _in_all([found.unsearched for found in looks_found], labels),
                "unknown": _in_all([found.unknown for found in looks_found], labels),
                "complete": all(found.complete for found in looks_found),
            }
        )

    async def _remembered(self, question: Hashable, request: DetectionRequest, look: Look) -> Answer:
        _, known = self._answers.get(question, (request, None))
        if known is not None:
            return Answer(known, cached=True)
        kept = request, await look()
        if kept[1].complete and _size(kept) <= ANSWERS_BYTES:
            self._answers[question] = kept
        return Answer(kept[1], cached=False)


def _calls_each(backend: Backend, request: DetectionRequest) -> int:
    """Say how many calls one look takes, which is the backend's to say."""
    return backend.calls(request) if isinstance(backend, Priced) else 1


def _cost(looks: int, backend: Backend, request: DetectionRequest) -> str:
    each = _calls_each(backend, request)
    return f"{looks} looks of up to {each} calls each" if each > 1 else f"{looks} calls"


def _notes(
    backend: Backend, looks: Sequence[tuple[Picture, Detections]], image: Picture, merged: Sequence[Detection]
) -> list[str]:
    """Unite the notes of all looks; what the backend remarks on the objects is said of the merged ones."""
    if not isinstance(backend, Remarking):
        return list(dict.fromkeys(note for _, found in looks for note in found.notes))
    notes: dict[str, None] = {}
    for picture, found in looks:
        remarks = backend.remarks(found.objects, (picture.width, picture.height))
        notes |= dict.fromkeys(note for note in found.notes if note not in remarks)
    return [*notes, *backend.remarks(merged, (image.width, image.height))]


def _elsewhere(example: Example, image: Picture) -> Example:
    """Say of an example in the searched picture which picture that is, as a tile is another."""
    inside = example.embedding is None and not example.image
    return example.model_copy(update={"image": image.digest}) if inside else example


def _with(known: Detection, told: Detection, outputs: Iterable[Output]) -> Detection:
    """Add to an object what was told of it; what it has already stays where nothing was."""
    fields = {_FIELDS[output] for output in outputs}
    update = {field: getattr(told, field) or getattr(known, field) for field in fields}
    return known.model_copy(update=update)


def _down_to(floor: float, part: Part) -> Part:
    """Ask for lower scores than the thresholds of a part."""
    least = min(part.request.min_score, floor)
    return replace(part, request=part.request.model_copy(update={"min_score": least}))


def _in_all(prompts: Sequence[Sequence[str]], found: Collection[str]) -> tuple[str, ...]:
    """Give the prompts that stand in each list, but for those that were found."""
    first, *others = prompts
    return tuple(one for one in first if one not in found and all(one in other for other in others))


def _lost(part: Part, error: BackendError) -> Detections:
    """Say of a part of a question that it was not answered, and why."""
    missing = part.request.prompts or ()
    what = ", ".join(missing) or "all that has no name"
    note = f"not looked for ({what:.200}): {error}"
    return Detections(model="", objects=(), notes=(note,), unsearched=missing, complete=False)


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
