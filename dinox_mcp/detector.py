"""The way of a call, top to bottom: the whole product without MCP."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Self, TypeVar, Unpack

import anyio
import anyio.to_thread

from dinox_mcp.backends.base import Backend, Call, Capabilities, Embedder, Loadable
from dinox_mcp.backends.registry import Backends
from dinox_mcp.detect import counting, results
from dinox_mcp.detect.counting import Count
from dinox_mcp.detect.options import Options, Who, caller_of, make_call, make_request, max_objects
from dinox_mcp.detect.pipeline import Answer, Asker
from dinox_mcp.detect.prompts import noun_phrases, parse_sentence
from dinox_mcp.detect.routing import Part, Plan, Router
from dinox_mcp.detect.visual_prompts import Pointer, follow, one_line
from dinox_mcp.drawing import views
from dinox_mcp.errors import BackendError, BusyError, DinoxError, InputError
from dinox_mcp.images.loader import ImageLoader
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.store import uris
from dinox_mcp.store.prompts import SavedPrompt, SavedPrompts
from dinox_mcp.store.results import Store, Stored
from dinox_mcp.store.videos import Videos
from dinox_mcp.types.caller import OWNER, Caller
from dinox_mcp.types.detection import BBox, DetectionRequest, DetectionResult, Need, Output
from dinox_mcp.types.video import VideoResult
from dinox_mcp.video.detect import VideoDetector, VideoOptions

T = TypeVar("T")
DRAWING_WAIT_S = 30.0
"""Seconds that a call waits for a thread to draw in."""


class Detector:
    """Finds objects in pictures and keeps what it found: the server, the CLI and Python users call the same.

    Example:
        async with Detector() as detector:
            result = await detector.detect("photo.jpg", ["person", "red car"])

    `backends` are ready-made ones of your own, which come before the installed ones. Wherever an `image` is taken, it
    is a path, a URL, a data: URI, a `dinox://` URI of an earlier result, or a loaded picture; `requests.Options` says
    what else there is to choose. Each method raises InputError where an argument or the picture is wrong, and
    BackendError where the backend cannot answer. The same question about the same picture is answered from memory
    while `cache_ttl_s` lasts.
    """

    def __init__(self, settings: Settings | None = None, backends: Iterable[Backend] = ()) -> None:
        self.settings = settings or Settings.load()
        self.backends = Backends(self.settings, backends)
        self.store = Store(self.settings.store_max_results, self.settings.store_max_bytes)
        self.videos = Videos()
        self.saved = SavedPrompts(self.settings.prompts_folder)
        self._loader = ImageLoader(self.settings)
        self._router = Router(self.backends)
        self._asker = Asker(self.settings, self.backends, self._router)
        self._video = VideoDetector(self)
        self._drawing = anyio.CapacityLimiter(os.cpu_count() or 1)

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
        await anyio.to_thread.run_sync(self._video.close)
        await self._loader.aclose()
        await self.backends.aclose()

    async def detect(
        self, image: str | Picture, prompts: str | Sequence[str] | None = None, **options: Unpack[Options]
    ) -> DetectionResult:
        """Find the prompted objects in a picture, or everything where `prompts` is None."""
        return await self._answer(image, make_request(prompts, options), options)

    async def detect_by_example(
        self, image: str | Picture, examples: Sequence[Pointer], **options: Unpack[Options]
    ) -> DetectionResult:
        """Find what looks like examples: boxes or points in pictures, objects of results, saved prompts."""
        make_request(None, options)  # a wrong option need not wait for the pictures
        picture = await self._picture(image, options)
        seen, pictures = await follow(examples, picture, self, caller_of(options))
        return await self._answer(picture, make_request(None, options, examples=seen), options, pictures)

    async def find_by_description(
        self, image: str | Picture, description: str, **options: Unpack[Options]
    ) -> DetectionResult:
        """Find what one sentence tells from others like it, as in "the man in red left of the car"."""
        sentence = parse_sentence(description, "description")
        return await self._answer(image, make_request(None, options, description=sentence), options)

    async def ground_phrases(
        self, image: str | Picture, caption: str, prompts: Sequence[str] = (), **options: Unpack[Options]
    ) -> DetectionResult:
        """Find what each noun phrase of a caption means in the picture; `prompts` says which, else they are guessed."""
        sentence = parse_sentence(caption, "caption")
        asked = make_request(prompts or noun_phrases(sentence), options, caption=sentence)
        return await self._answer(image, asked, options)

    async def count_objects(
        self,
        image: str | Picture,
        prompts: str | Sequence[str] | None = None,
        examples: Sequence[Pointer] = (),
        **options: Unpack[Options],
    ) -> Count:
        """Count things, with how the counts would change at other thresholds.

        Where `tiles` is left out, a large picture is looked at in parts if a first look finds small things or none.
        """
        if (prompts is None) == (not examples):
            raise InputError("pass prompts (what to count) or examples (what it looks like), and only one of them")
        request = make_request(prompts, options)
        picture = await self._picture(image, options)
        call = make_call(options)
        if examples:
            seen, pictures = await follow(examples, picture, self, caller_of(options))
            request, call = make_request(None, options, examples=seen), make_call(options, pictures)
        request = request.model_copy(update={"include": frozenset()})
        plan = self.plan(request, options)
        floor = min(counting.FLOOR, max(0.0, plan.request.min_score - counting.DOUBT))
        answer = await self._ask(plan, picture, call, floor=floor)
        tiles = counting.worthwhile_tiles((picture.width, picture.height), answer.found.objects)
        if "tiles" not in options and tiles > 1:
            tiled = self.plan(request.model_copy(update={"tiles": tiles}), options)
            if self._asker.can_tile(tiled, picture):
                plan, answer = tiled, await self._ask(tiled, picture, call, floor=floor)
        result = results.number(counting.sure(answer), picture, plan.request, max_objects(options))
        searched = results.searched(plan.request, answer.found)
        levels = counting.levels(answer.found.objects, searched, plan.request.min_score)
        doubtful = counting.doubtful(answer)
        return Count(result=self._keep(result, picture, options, answer.parts), levels=levels, doubtful=doubtful)

    async def describe_regions(
        self,
        image: str | Picture | None = None,
        boxes: Sequence[BBox] = (),
        *,
        result: str | None = None,
        objects: Sequence[int] = (),
        include: Iterable[Output] = (),
        **who: Unpack[Who],
    ) -> DetectionResult:
        """Tell more of objects of a result (all, or those of the numbers in `objects`), or of boxes in a picture.

        `include` defaults to the caption, category and text of each, as far as the backend can. Objects keep their
        numbers; the answer is a result of its own.
        """
        name = self.backends.choose(caller_has_key=caller_of(who).api_key is not None)
        wanted = frozenset(include) or self._asker.usual_descriptions(name)
        if result is not None and image is None and not boxes:
            stored = self.result(result, caller_of(who))
            picture, request, known = stored.picture, stored.result.request, stored.result.objects
            chosen = [views.get_object(known, number) for number in dict.fromkeys(objects) or [one.id for one in known]]
        elif result is None and image is not None and boxes and not objects:
            picture, request = await self._picture(image, who), DetectionRequest(min_score=0)
            chosen = results.regions(boxes, picture)
        else:
            raise InputError("pass result (with objects to choose some of it), or image with boxes")
        told = await self._asker.tell_more(name, picture, chosen, wanted, make_call(who))
        request = request.model_copy(update={"include": request.include | wanted})
        return self._keep(results.described(told, name, picture, request, chosen), picture, who)

    async def save_prompt(
        self,
        name: str,
        image: str | Picture,
        examples: Sequence[Pointer],
        *,
        label: str | None = None,
        model: str | None = None,
        **who: Unpack[Who],
    ) -> SavedPrompt:
        """Keep what a model makes of examples under a name, for later calls to search by.

        What is found by it is called `label`, by default the name.
        """
        self.saved.check(name)
        label = one_line(label) or name.strip()
        picture = await self._picture(image, who)
        named = [one.model_copy(update={"label": label}) for one in examples]
        seen, pictures = await follow(named, picture, self, caller_of(who))
        request = DetectionRequest(examples=seen, model=model)
        saving: frozenset[Need] = frozenset({"saved prompts"})
        backend = self.backends.get(self.plan(request, who, needs=saving).main.backend)
        if not isinstance(backend, Embedder):
            raise InputError(f"the backend {backend.name} says that it saves prompts and does not; report it")
        embedding = await backend.embed(picture, request, make_call(who, pictures))
        return self.saved.put(name, label, len(seen), embedding, caller_of(who).tenant)

    async def detect_video(
        self, video: str, prompts: str | Sequence[str] | None = None, **options: Unpack[VideoOptions]
    ) -> VideoResult:
        """Find things in a video and follow them; see `VideoDetector.detect` for what there is to choose.

        Raises:
            UnsupportedError: the extra `video` is not installed.
        """
        result = await self._video.detect(video, prompts, **options)
        return self.videos.put(result, caller_of(options).tenant)

    async def ask(self, picture: Picture, plan: Plan, **who: Unpack[Who]) -> Answer:
        """Ask the backends, or memory, without keeping a result: for programs with many pictures, as of a video.

        Prompts that nobody knows are in `unknown` of the answer; `explain` says what would find them.
        """
        return await self._asker.answer(plan, picture, make_call(who))

    def explain(self, unknown: Sequence[str], plan: Plan, *, found: bool, **who: Unpack[Who]) -> str:
        """Say which prompts nobody knows, and what would find them; `found` says whether anything else was found.

        Raises:
            UnsupportedError: nothing was found, and nobody knows any of the prompts.
        """
        has_key = caller_of(who).api_key is not None
        return self._asker.explain(unknown, plan, found=found, caller_has_key=has_key)

    def plan(
        self,
        request: DetectionRequest,
        who: Who | None = None,
        *,
        thorough: bool = True,
        needs: frozenset[Need] = frozenset(),
    ) -> Plan:
        """Say which backends a question is put to, with which models and thresholds; see `routing`.

        Raises:
            UnsupportedError: nobody can answer it.
            InputError: there is no such model.
        """
        has_key = caller_of(who or {}).api_key is not None
        return self._router.plan(request, caller_has_key=has_key, thorough=thorough, needs=needs)

    async def load(self, image: str, caller: Caller = OWNER) -> Picture:
        """Load a picture from wherever `image` points.

        Raises:
            InputError: it cannot be read, or may not be.
        """
        if image.strip().lower().startswith(uris.SCHEME):
            target = uris.parse_image_uri(image)
            stored = self.result(target.result_id, caller)
            return await self.draw(partial(views.picture_of, stored, target))
        return await self._loader.load(image)

    def result(self, result_id: str, caller: Caller = OWNER) -> Stored:
        """Fetch an earlier result with its picture, by its id or a URI below it.

        Raises:
            NotFoundError: there is none for this caller.
        """
        return self.store.get(uris.bare_id(result_id), caller.tenant)

    def capabilities(self, *, caller_has_key: bool = False) -> Capabilities:
        """Say what the backends that may answer can do together."""
        able = []
        for name in self.backends.usable(caller_has_key=caller_has_key):
            with suppress(DinoxError):  # one that does not load says so when it is asked
                able.append(self.backends.get(name).capabilities())
        labels = dict.fromkeys(chain.from_iterable(one.labels or () for one in able))
        anything = any(one.labels is None for one in able)
        return Capabilities(
            answers=frozenset[Need]().union(*(one.answers for one in able)),
            outputs=frozenset[Output]().union(*(one.outputs for one in able)),
            describes=frozenset[Output]().union(*(one.describes for one in able)),
            labels=None if anything else tuple(labels),
            reads=tuple(chain.from_iterable(one.reads for one in able)),
        )

    def remedies(self, *, caller_has_key: bool = False) -> list[str]:
        """Say in a line each how to have the backends that cannot answer here and now."""
        return self._router.remedies(caller_has_key=caller_has_key)

    def known_labels(self, *, recent: bool = True) -> list[str]:
        """List labels worth suggesting: those of closed vocabularies, and of recent results."""
        labels: dict[str, None] = {}
        for name in self.backends.usable():
            with suppress(DinoxError):  # suggestions are no place for complaints
                labels |= dict.fromkeys(self.backends.get(name).capabilities().labels or ())
        if recent:
            for stored in self.store.recent():
                labels.update(dict.fromkeys(stored.result.counts))
        return list(labels)

    async def draw(self, work: Callable[[], T]) -> T:
        """Run slow work on pixels in one of a few threads, so that it neither blocks nor exhausts memory.

        A cancelled call waits for its thread: left behind, threads would add up beyond the few.

        Raises:
            BusyError: none of the threads became free in time.
        """
        turn = object()
        with anyio.move_on_after(DRAWING_WAIT_S) as waiting:
            await self._drawing.acquire_on_behalf_of(turn)
        if waiting.cancelled_caught:
            raise BusyError("too many pictures are being drawn at once; try again in a while")
        try:
            return await anyio.to_thread.run_sync(work, limiter=anyio.CapacityLimiter(1))  # it has its turn already
        finally:
            self._drawing.release_on_behalf_of(turn)

    async def _answer(
        self,
        image: str | Picture,
        request: DetectionRequest,
        options: Options,
        pictures: dict[str, Picture] | None = None,
    ) -> DetectionResult:
        """Ask, number, tell more of what is kept, and keep it."""
        plan = self.plan(request, options)
        picture = await self._picture(image, options)
        call = make_call(options, pictures)
        answer = await self._ask(plan, picture, call)
        result = results.number(answer, picture, plan.request, max_objects(options))
        result = await self._with_more(result, answer, plan, picture, call)
        return self._keep(result, picture, options, answer.parts)

    async def _ask(self, plan: Plan, picture: Picture, call: Call, *, floor: float = 1.0) -> Answer:
        answer = await self._asker.answer(plan, picture, call, floor=floor)
        found = answer.found
        if not found.unknown:
            return answer
        has_key = call.api_key is not None
        note = self._asker.explain(found.unknown, plan, found=bool(found.objects), caller_has_key=has_key)
        return answer._replace(found=found.model_copy(update={"notes": (*found.notes, note)}))

    async def _with_more(
        self, result: DetectionResult, answer: Answer, plan: Plan, picture: Picture, call: Call
    ) -> DetectionResult:
        """Ask for the outputs that did not come with what was found, part by part of the question."""
        kept = results.kept(answer.found.objects, len(result.objects))
        for part in dict.fromkeys(answer.parts):
            able = self.backends.get(part.backend).capabilities(part.request.model)
            more = plan.request.include - able.outputs
            if part.exact and len(plan.parts) > 1:
                more &= frozenset[Output]({"text"})  # of a code there is nothing else to say
            places = [place for place, index in enumerate(kept) if answer.parts[index] == part]
            if not more or not places:
                continue
            chosen = [result.objects[place] for place in places]
            try:
                told = await self._asker.tell_more(part.backend, picture, chosen, more, call)
                result = results.tell(result, places, told)
            except BackendError as error:  # what was found, and may have been paid, is not lost with it
                result = results.untold(result, more, error)
        return result

    async def _picture(self, image: str | Picture, who: Who) -> Picture:
        if isinstance(image, Picture):
            return image
        if "progress" in who:
            await who["progress"](0, "reading the picture")
        return await self.load(image, caller_of(who))

    def _keep(self, result: DetectionResult, picture: Picture, who: Who, parts: Iterable[Part] = ()) -> DetectionResult:
        """Keep a result; `parts` are those of the question that each of its objects answers."""
        caller = caller_of(who)
        return self.store.put(result, picture, caller.tenant, known=self._is_known(caller, parts))

    def _is_known(self, caller: Caller, parts: Iterable[Part]) -> bool:
        """Tell whether a caller is no invented one: the owner, or one whose key a backend took for an answer."""
        if caller.api_key is None:
            return True
        by_key = set(self.backends.ready(caller_has_key=True)) - set(self.backends.ready())
        return any(part.backend in by_key for part in parts)
