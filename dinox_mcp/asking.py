"""One question and its answer: checked, put to the backend (in tiles, if asked to), told more of, remembered."""

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import anyio
import anyio.to_thread
from cachetools import TTLCache

from dinox_mcp import refusals, tiling
from dinox_mcp.backends.alongside import gather
from dinox_mcp.backends.base import Backend, Call, Describer, silent
from dinox_mcp.backends.registry import Backends
from dinox_mcp.errors import BackendError, InputError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.memory import footprint
from dinox_mcp.schema import Detection, DetectionRequest, Detections, Example, Output
from dinox_mcp.settings import MiB, Settings

ANSWERS_BYTES = 64 * MiB
READER = "embedded"
"""The backend that reads text for all others: free, and on this machine."""
_AT_A_TIME = 4
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
    """What a backend found, all of it, and whether memory knew it."""

    found: Detections
    cached: bool


class Asker:
    """Puts questions to backends, and remembers the answers while `cache_ttl_s` lasts."""

    def __init__(self, settings: Settings, backends: Backends) -> None:
        self._settings = settings
        self._backends = backends
        self._answers: TTLCache[Hashable, Kept] = TTLCache(ANSWERS_BYTES, settings.cache_ttl_s, getsizeof=_size)
        self._cutting = anyio.CapacityLimiter(1)
        self._tiling = anyio.CapacityLimiter(_AT_A_TIME)  # the tiles of a large picture take half a gigabyte

    async def ask(self, name: str, image: Picture, request: DetectionRequest, call: Call) -> Answer:
        """Find what a request asks for; outputs that take a second look are not in it: see `tell_more`.

        Raises:
            InputError: more tiles than one call may have.
            BackendError: the backend cannot answer.
        """
        backend = self._backends.get(name)
        refusals.check(request, backend, self._backends, self._settings, request.needs)
        able = backend.capabilities(request.model)
        direct = request.model_copy(update={"include": request.include & able.outputs})
        question = (call.client, name, image.digest, direct)

        async def look() -> Detections:
            self._check_calls(1, direct)
            if direct.tiles > 1:
                return await self._in_tiles(name, image, direct, call)
            return _with_limits(await backend.detect(image, direct, call), able.labels, name, direct)

        return await self._remembered(question, direct, look)

    async def tell_more(
        self, name: str, image: Picture, objects: Sequence[Detection], include: Iterable[Output], call: Call
    ) -> Answer:
        """Tell more about boxes: what `include` asks for, and detection has not given.

        Text is read by the embedded backend, which is free and private, unless captions or categories are asked for
        too and the backend reads along; the answer's notes say who did what.

        Raises:
            UnsupportedError: the backend cannot, and who can.
            BackendError: it could, and failed.
        """
        backend = self._backends.get(name)
        wanted = frozenset(include)
        reads = {"caption", "category"} & wanted and "text" in backend.capabilities().describes
        for_reader = frozenset[Output]() if reads else wanted & {"text"}
        shares = {name: wanted} if name == READER else {name: wanted - for_reader, READER: for_reader}
        shares = {who: share for who, share in shares.items() if share}
        for who, share in shares.items():
            refusals.check_boxes(share, self._backends.get(who), self._backends, self._settings)
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

    def can_tile(self, name: str, image: Picture, request: DetectionRequest) -> bool:
        """Tell whether a request's tiles are within the limit, and the backend can answer about a part of a picture."""
        try:
            self._check_tiles(self._backends.get(name), image, request)
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
            refusals.check(for_tile, backend, self._backends, self._settings, for_tile.needs)
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

    async def _in_tiles(self, name: str, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        """Ask about the picture as a whole, unless memory knows, and about each of its tiles, a few at a time."""
        looks, for_tile = self._check_tiles(self._backends.get(name), image, request)
        await call.progress(0.0, f"cutting the picture; {_cost(looks, request)} to the backend")
        async with self._tiling:
            return await self._of_tiles(name, image, request, for_tile, call, looks)

    async def _of_tiles(
        self, name: str, image: Picture, request: DetectionRequest, for_tile: DetectionRequest, call: Call, number: int
    ) -> Detections:
        backend = self._backends.get(name)
        tiles = await anyio.to_thread.run_sync(tiling.cut, image, request.tiles, limiter=self._cutting)
        done = 0

        quiet = replace(call, progress=silent)
        inside = replace(quiet, pictures={**call.pictures, image.digest: image})

        async def at_the_whole() -> Detections:
            return (await self.ask(name, image, request.model_copy(update={"tiles": 1}), quiet)).found

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


def _with_limits(
    found: Detections, labels: Sequence[str] | None, backend: str, request: DetectionRequest
) -> Detections:
    """Tell a prompt-free caller what a closed vocabulary holds, lest what it lacks be taken for absent."""
    if labels is None or "prompt-free detection" not in request.needs:
        return found
    note = f"the backend {backend} looks for {', '.join(labels)} and nothing else"
    return found.model_copy(update={"notes": (*found.notes, note)})


def _size(kept: Kept) -> int:
    request, found = kept
    return footprint(request, found.objects, found.notes)
