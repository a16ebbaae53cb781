"""The way of a call, top to bottom: the whole product without MCP."""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import NoReturn, Self, TypeVar

import anyio
import anyio.to_thread
from cachetools import TTLCache
from pydantic import ValidationError

from dinox_mcp import links, views
from dinox_mcp.backends.base import Backend, Call, Loadable, Progress, silent
from dinox_mcp.backends.local import extra
from dinox_mcp.backends.registry import Backends
from dinox_mcp.caller import OWNER, Caller
from dinox_mcp.errors import DinoxError, InputError, UnsupportedError
from dinox_mcp.images.loader import ImageLoader
from dinox_mcp.images.picture import Picture
from dinox_mcp.memory import footprint
from dinox_mcp.prompts import parse_prompts
from dinox_mcp.schema import (
    DetectedObject,
    Detection,
    DetectionRequest,
    DetectionResult,
    Detections,
    ImageInfo,
    Output,
    count_labels,
)
from dinox_mcp.settings import MiB, Settings
from dinox_mcp.store import Store, Stored, new_result_id

MAX_OBJECTS = 1000
ANSWERS_BYTES = 64 * MiB

Question = tuple[str, str, str, DetectionRequest]
Answer = tuple[DetectionRequest, Detections]
T = TypeVar("T")


class Detector:
    """Finds objects in pictures and keeps what it found: the server, the CLI and Python users call the same.

    Example:
        async with Detector() as detector:
            result = await detector.detect("photo.jpg", ["person", "red car"])

    `backends` are ready-made ones of your own, which come before the installed ones.
    """

    def __init__(self, settings: Settings | None = None, backends: Iterable[Backend] = ()) -> None:
        self.settings = settings or Settings.load()
        self.backends = Backends(self.settings, backends)
        self.store = Store(self.settings.store_max_results, self.settings.store_max_bytes)
        self._loader = ImageLoader(self.settings)
        self._drawing = anyio.CapacityLimiter(os.cpu_count() or 1)
        self._answers: TTLCache[Question, Answer] = TTLCache(ANSWERS_BYTES, self.settings.cache_ttl_s, getsizeof=_size)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def warm_up(self) -> str:
        """Load the chosen backend's model before the first question needs it; gives its name, or nothing.

        Raises:
            DinoxError: it cannot be had, or does not load.
        """
        backend = self.backends.get(self.backends.choose())
        return await backend.load() if isinstance(backend, Loadable) else ""

    async def aclose(self) -> None:
        """Close connections, models and threads."""
        await self._loader.aclose()
        await self.backends.aclose()

    async def detect(
        self,
        image: str | Picture,
        prompts: str | Sequence[str] | None = None,
        *,
        min_score: float = 0.25,
        iou_threshold: float = 0.8,
        max_objects: int = 100,
        include: Iterable[Output] = (),
        caller: Caller = OWNER,
        progress: Progress = silent,
    ) -> DetectionResult:
        """Find the prompted objects in a picture, or everything where `prompts` is None.

        `image` is a path, a URL, a data: URI, a `dinox://` URI of an earlier result, or a loaded picture.
        The same question about the same picture is answered from memory while `cache_ttl_s` lasts.

        Raises:
            InputError: an argument or the picture is wrong.
            BackendError: the backend cannot answer.
        """
        if not 1 <= max_objects <= MAX_OBJECTS:
            raise InputError(f"max_objects is {max_objects}; choose 1 to {MAX_OBJECTS}")
        request = _request(prompts, min_score, iou_threshold, include)
        name = self.backends.choose(caller_has_key=caller.api_key is not None)
        backend = self.backends.get(name)
        self._check(backend, request)
        if not isinstance(image, Picture):
            await progress(0, "reading the picture")
            image = await self.load(image, caller)
        question = (caller.tenant, name, image.digest, request)
        _, found = self._answers.get(question, (request, None))
        cached = found is not None
        if found is None:
            found = await backend.detect(image, request, Call(progress, caller.api_key, caller.tenant))
            found = _with_limits(found, backend, request)
            if _size((request, found)) <= ANSWERS_BYTES:
                self._answers[question] = request, found
        result = _number(found, name, image, request, max_objects, cached=cached)
        return self.store.put(result, image, caller.tenant)

    async def load(self, image: str, caller: Caller = OWNER) -> Picture:
        """Load a picture from wherever `image` points.

        Raises:
            InputError: it cannot be read, or may not be.
        """
        if image.strip().lower().startswith(links.SCHEME):
            target = links.parse_image_uri(image)
            stored = self.result(target.result_id, caller)
            return await self.draw(partial(views.picture_of, stored, target))
        return await self._loader.load(image)

    def result(self, result_id: str, caller: Caller = OWNER) -> Stored:
        """Fetch an earlier result with its picture, by its id or a URI below it.

        Raises:
            NotFoundError: there is none for this caller.
        """
        return self.store.get(links.bare_id(result_id), caller.tenant)

    def known_labels(self, *, recent: bool = True) -> list[str]:
        """List labels worth suggesting: a closed vocabulary's, and those of recent results."""
        try:
            labels = dict.fromkeys(self.backends.get(self.backends.choose()).capabilities().labels or ())
        except DinoxError:
            labels = {}  # suggestions are no place for complaints
        if recent:
            for stored in self.store.recent():
                labels.update(dict.fromkeys(stored.result.counts))
        return list(labels)

    async def draw(self, work: Callable[[], T]) -> T:
        """Run slow work on pixels in one of a few threads, so that it neither blocks nor exhausts memory.

        A cancelled call waits for its thread: left behind, threads would add up beyond the few.
        """
        return await anyio.to_thread.run_sync(work, limiter=self._drawing)

    def _check(self, backend: Backend, request: DetectionRequest) -> None:
        able = backend.capabilities(request.model)
        if missing := sorted(request.include - able.outputs):
            self._refuse(backend, " and ".join(missing), lambda other: request.include <= other.capabilities().outputs)
        if unmet := sorted(request.needs - able.answers):
            self._refuse(backend, " and ".join(unmet), lambda other: request.needs <= other.capabilities().answers)

    def _refuse(self, backend: Backend, what: str, able: Callable[[Backend], bool]) -> NoReturn:
        others = [name for name in self.backends.names() if name != backend.name and self._can(name, able)]
        remedy = f"the backend {' or '.join(sorted(others))} can" if others else "no installed backend can"
        if "dinox" in others and not self.settings.api_key:
            remedy += " (dinox needs DINOX_API_KEY, see https://deepdataspace.com)"
        if "local" in others and not extra.installed():
            remedy += " (local needs pip install 'dinox-mcp[local]')"
        raise UnsupportedError(f"the backend {backend.name} cannot do {what}; {remedy}; otherwise ask without it")

    def _can(self, name: str, able: Callable[[Backend], bool]) -> bool:
        try:
            return able(self.backends.get(name))
        except DinoxError:
            return False


def _request(
    prompts: str | Sequence[str] | None, min_score: float, iou_threshold: float, include: Iterable[Output]
) -> DetectionRequest:
    try:
        return DetectionRequest(
            prompts=None if prompts is None else parse_prompts(prompts),
            min_score=min_score,
            iou_threshold=iou_threshold,
            include=frozenset(include),
        )
    except ValidationError as error:
        problem = error.errors()[0]
        name = problem["loc"][0]
        raise InputError(f"{name}: {problem['msg'].lower()} (got {problem['input']!r:.80})") from None


def _number(
    found: Detections,
    backend: str,
    picture: Picture,
    request: DetectionRequest,
    max_objects: int,
    *,
    cached: bool,
) -> DetectionResult:
    """Number the objects 1 to n in the backend's order, keeping the surest where there are too many."""
    surest = sorted(range(len(found.objects)), key=lambda i: -_certainty(found.objects[i]))[:max_objects]
    kept = [found.objects[i] for i in sorted(surest)]
    return DetectionResult(
        result_id=new_result_id(),
        backend=backend,
        model=found.model,
        image=ImageInfo(width=picture.width, height=picture.height, source=picture.source),
        request=request,
        objects=tuple(DetectedObject(id=i, **dict(thing)) for i, thing in enumerate(kept, start=1)),
        counts=count_labels(found.objects, [label for label in request.prompts or () if label not in found.unsearched]),
        omitted=len(found.objects) - len(kept),
        cached=cached,
        notes=found.notes,
    )


def _with_limits(found: Detections, backend: Backend, request: DetectionRequest) -> Detections:
    """Tell a prompt-free caller what a closed vocabulary holds, lest what it lacks be taken for absent."""
    labels = backend.capabilities(request.model).labels
    if request.prompts is not None or labels is None:
        return found
    note = f"the backend {backend.name} looks for {', '.join(labels)} and nothing else"
    return found.model_copy(update={"notes": (*found.notes, note)})


def _certainty(found: Detection) -> float:
    """Rank by score; what comes without one, such as a decoded code, is certain."""
    return 1.0 if found.score is None else found.score


def _size(answer: Answer) -> int:
    request, found = answer
    return footprint(request, found.objects, found.notes)
