"""The product without MCP: the server, the command line and Python programs call the same object."""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar, Unpack

import anyio.to_thread

from dinox_mcp.backends.base import Backend, Loadable, gather, silent
from dinox_mcp.backends.registry import Backends
from dinox_mcp.batch.search import ImageSearch, SearchOptions
from dinox_mcp.batch.summary import SearchResult
from dinox_mcp.compare.comparison import Comparison
from dinox_mcp.compare.detect import Comparisons
from dinox_mcp.detect import describing
from dinox_mcp.detect.counting import Count
from dinox_mcp.detect.options import (
    OWNER,
    Caller,
    CallOptions,
    Options,
    caller_of,
    make_call,
    make_request,
    max_objects,
    noun_phrases,
    parse_sentence,
)
from dinox_mcp.detect.pipeline import Pipeline
from dinox_mcp.detect.visual_prompts import VisualPrompt, clean_label, resolve
from dinox_mcp.drawing import views
from dinox_mcp.errors import InputError, NotFoundError
from dinox_mcp.export.options import Exported, ExportOptions, Format
from dinox_mcp.images.budget import Slots
from dinox_mcp.images.loader import ImageLoader
from dinox_mcp.images.picture import Picture
from dinox_mcp.images.sources import split_page
from dinox_mcp.settings import Settings
from dinox_mcp.store import uris
from dinox_mcp.store.kept import Uploads
from dinox_mcp.store.prompts import SavedPrompt, SavedPrompts
from dinox_mcp.store.results import Store, Stored
from dinox_mcp.store.shared import open_shared
from dinox_mcp.store.videos import Videos
from dinox_mcp.types.detection import BBox, DetectionRequest, DetectionResult, Output, get_object
from dinox_mcp.types.video import VideoResult
from dinox_mcp.video.detect import VideoDetector, VideoOptions

if TYPE_CHECKING:
    from dinox_mcp.batch.job import BatchOptions
    from dinox_mcp.batch.report import BatchResult
    from dinox_mcp.export.exporter import Exporter

T = TypeVar("T")
DRAWING_WAIT_S = 30.0  # that a call waits for a thread to draw in


class Detector:
    """Finds objects in images, and keeps the results for later calls.

    The methods share these arguments:

    - `image`: a path, a URL, a `data:` URI, a `dinox://` URI of an earlier result, `"clipboard"`,
      `"latest:~/Pictures"` for the newest image of a folder, or a loaded image. `#page=3` at the end chooses a page of
      a PDF.
    - `prompts`: labels, or one string that lists them; without prompts and examples, everything is found.
    - `examples`: boxes or points in images, objects of results, or saved prompts.
    - `options`: those of `Options`, where no other class is named; `caller`: whose request it is.

    The same request for the same image is answered from a cache for `cache_ttl_s` seconds. Use the detector as a
    context manager, or call `aclose` in the end.

    Args:
        settings: by default those of the environment.
        backends: backends of your own, which take precedence over installed ones of the same name.

    Raises:
        InputError: an argument or the image is wrong; each method may raise it.
        BackendError: the backend cannot answer; each method that finds or describes may raise it.

    Example:
        async with Detector() as detector:
            result = await detector.detect("photo.jpg", ["person", "red car"])
            print(result.counts)
    """

    def __init__(self, settings: Settings | None = None, backends: Iterable[Backend] = ()) -> None:
        self.settings = settings or Settings.load()
        self.backends = Backends(self.settings, backends)
        self._shared = shared = open_shared(self.settings)
        self.store = Store(self.settings.store_max_results, self.settings.store_max_bytes, shared)
        self.videos = Videos(shared)
        self.uploads = Uploads(self.settings.store_max_bytes, shared=shared)
        self.saved = SavedPrompts(self.settings.prompts_folder)
        self._loader = ImageLoader(self.settings)
        self.pipeline = Pipeline(self.settings, self.backends, self.store)
        self._video = VideoDetector(self.settings, self.backends, self.pipeline)
        self.searches = ImageSearch(self)
        busy = "too many images are being drawn at once; try again in a while"
        self._drawing = Slots(os.cpu_count() or 1, DRAWING_WAIT_S, busy)
        self.comparisons = Comparisons(self._detect, self._drawing, self.store, shared)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def warm_up(self) -> str:
        """Load the model of the chosen backend before the first request needs it.

        Returns:
            The name of the model; empty if the backend has nothing to load.

        Raises:
            DinoxError: it is not on this machine, or does not load.
        """
        backend = self.backends.get(self.backends.choose())
        return await backend.load() if isinstance(backend, Loadable) else ""

    async def aclose(self) -> None:
        """Close connections, models and threads."""
        await anyio.to_thread.run_sync(self._video.close)
        await self._loader.aclose()
        if self._shared is not None:
            self._shared.close()
        await self.backends.aclose()

    async def detect(
        self, image: str | Picture, prompts: str | Sequence[str] | None = None, **options: Unpack[Options]
    ) -> DetectionResult:
        """Find the prompted objects in an image; without prompts, find everything."""
        return await self._detect(image, make_request(prompts, options), options)

    async def detect_by_example(
        self, image: str | Picture, examples: Sequence[VisualPrompt], **options: Unpack[Options]
    ) -> DetectionResult:
        """Find objects that look like examples."""
        make_request(None, options)  # a wrong option is refused before images are loaded
        picture = await self._picture(image, options)
        found, pictures = await resolve(examples, picture, self, caller_of(options))
        return await self._detect(picture, make_request(None, options, examples=found), options, pictures)

    async def find_by_description(
        self, image: str | Picture, description: str, **options: Unpack[Options]
    ) -> DetectionResult:
        """Find the objects that one sentence describes, as in "the man in red left of the car"."""
        sentence = parse_sentence(description, "description")
        return await self._detect(image, make_request(None, options, description=sentence), options)

    async def ground_phrases(
        self, image: str | Picture, caption: str, prompts: Sequence[str] = (), **options: Unpack[Options]
    ) -> DetectionResult:
        """Find the objects that the noun phrases of a caption, a sentence about the image, refer to.

        The prompts are these phrases; by default they are guessed from the caption.
        """
        sentence = parse_sentence(caption, "caption")
        request = make_request(prompts or noun_phrases(sentence), options, caption=sentence)
        return await self._detect(image, request, options)

    async def count_objects(
        self,
        image: str | Picture,
        prompts: str | Sequence[str] | None = None,
        examples: Sequence[VisualPrompt] = (),
        **options: Unpack[Options],
    ) -> Count:
        """Count the prompted objects, or those that look like examples, and how the counts change with the threshold.

        If `tiles` is left out, a large image is searched in tiles too where a first search finds small objects or none.
        The option `include` has no effect.
        """
        if (prompts is None) == (not examples):
            raise InputError("both or neither of prompts and examples are given; pass one of them to say what to count")
        request = make_request(prompts, options).model_copy(update={"include": frozenset()})
        picture = await self._picture(image, options)
        pictures: dict[str, Picture] = {}
        if examples:
            found, pictures = await resolve(examples, picture, self, caller_of(options))
            request = request.model_copy(update={"examples": found})
        call = make_call(options, pictures)
        return await self.pipeline.count(request, picture, call, max_objects(options), may_tile="tiles" not in options)

    async def describe_regions(
        self,
        image: str | Picture | None = None,
        boxes: Sequence[BBox] = (),
        *,
        result: str | None = None,
        objects: Sequence[int] = (),
        include: Iterable[Output] = (),
        **options: Unpack[CallOptions],
    ) -> DetectionResult:
        """Describe boxes in an image, or objects of a result, which keep their numbers; the result is a new one.

        Args:
            image: where the boxes are.
            boxes: boxes (x_min, y_min, x_max, y_max) in pixels of the image.
            result: the id of a result, instead of an image with boxes.
            objects: numbers of objects in that result; by default all.
            include: the outputs to give; by default caption, category and text, as far as the backend can.
            options: those of `CallOptions`.
        """
        call = make_call(options)
        backend = self.backends.choose(caller_has_key=call.api_key is not None)
        outputs = frozenset(include) or self.pipeline.describing.default_outputs(backend)
        if result is not None and image is None and not boxes:
            stored = await self.fetch(result, caller_of(options))
            picture, request, known = stored.picture, stored.result.request, stored.result.objects
            chosen = [get_object(known, number) for number in dict.fromkeys(objects) or [one.id for one in known]]
        elif result is None and image is not None and boxes and not objects:
            picture, request = await self._picture(image, options), DetectionRequest(min_score=0)
            chosen = describing.regions(boxes, picture)
        else:
            raise InputError(
                "it is not clear what to describe; pass result (with numbers of its objects, or all are described), or "
                "image with boxes"
            )
        request = request.model_copy(update={"include": request.include | outputs})
        return await self.pipeline.describe(backend, request, picture, chosen, outputs, call)

    async def save_prompt(
        self,
        name: str,
        image: str | Picture,
        examples: Sequence[VisualPrompt],
        *,
        label: str | None = None,
        model: str | None = None,
        **options: Unpack[CallOptions],
    ) -> SavedPrompt:
        """Save examples under a name, for later calls to search by.

        Args:
            name: the name of the saved prompt.
            image: where the examples are, unless they name another image.
            examples: what to find by it.
            label: the label of objects found by it; by default the name.
            model: a model of the backend.
            options: those of `CallOptions`.
        """
        self.saved.check(name)
        picture, label = await self._picture(image, options), clean_label(label) or name.strip()
        named = [one.model_copy(update={"label": label}) for one in examples]
        found, pictures = await resolve(named, picture, self, caller_of(options))
        request = DetectionRequest(examples=found, model=model)
        embedding = await self.pipeline.embed(request, picture, make_call(options, pictures))
        return self.saved.put(name, label, len(found), embedding, caller_of(options).tenant)

    async def detect_video(
        self, video: str, prompts: str | Sequence[str] | None = None, **options: Unpack[VideoOptions]
    ) -> VideoResult:
        """Find objects in a video and track them; see `VideoDetector.detect` for the options.

        Raises:
            UnsupportedError: the extra `video` is not installed.
        """
        result = await self._video.detect(video, prompts, **options)
        return await self.videos.put(result, caller_of(options).tenant)

    async def search(
        self,
        images: str | Sequence[str] = (),
        prompts: str | Sequence[str] | None = None,
        examples: Sequence[VisualPrompt] = (),
        **options: Unpack[SearchOptions],
    ) -> SearchResult:
        """Find which of many images hold what, the best first; the same search again continues where it ended.

        Args:
            images: a folder, a pattern such as FOLDER/**/*.jpg, or a list of these, of paths and of URLs.
            prompts: what to find.
            examples: each names its own image, result or saved prompt.
            options: those of `SearchOptions`.
        """
        return await self.searches.search(images, prompts, examples, **options)

    async def batch(
        self,
        source: str,
        out: Path,
        prompts: str | Sequence[str] | None = None,
        examples: Sequence[VisualPrompt] = (),
        **options: "Unpack[BatchOptions]",
    ) -> "BatchResult":
        """Detect in any number of images, into Parquet files; the same call again continues where it ended.

        Args:
            source: a folder, a pattern such as FOLDER/**/*.jpg, or one of the other sources in docs/batch.md.
            out: the folder of the run, which is made if it does not exist.
            prompts: what to find.
            examples: each names its own image, result or saved prompt.
            options: those of `BatchOptions`.
        """
        from dinox_mcp.batch.job import run_batch  # which the start need not wait for

        return await run_batch(self, source, out, prompts, examples, options)

    async def compare(
        self,
        before: str | Picture,
        after: str | Picture,
        prompts: str | Sequence[str] | None = None,
        **options: Unpack[Options],
    ) -> Comparison:
        """Find what changed between two images of one scene, taken from nearly the same position.

        Without prompts, everything that is found is compared, and every other part that differs is listed. By default
        as many objects as possible are compared.
        """
        request = make_request(prompts, options)
        first, second = await gather([partial(self._picture, image, options) for image in (before, after)], 2)
        return await self.comparisons.compare(first, second, request, options)

    async def export(
        self,
        results: str | DetectionResult | Sequence[str | DetectionResult],
        format: Format,  # noqa: A002 - the name is part of the contract
        folder: Path | None = None,
        *,
        caller: Caller = OWNER,
        **options: Unpack[ExportOptions],
    ) -> Exported:
        """Export objects of results: crops, cut-outs, redacted copies of the images, or labels for other tools.

        Args:
            results: one or several, or their ids; labels of several share files where the format does so.
            format: what is made.
            folder: where files are written; it is made if it does not exist. None keeps the export as resources.
            caller: whose results they are.
            options: those of `ExportOptions`.
        """
        given = [results] if isinstance(results, str | DetectionResult) else results
        found = [(await self.fetch(one, caller)).result if isinstance(one, str) else one for one in given]
        known = caller.api_key is None
        return await self._exporter.export(found, format, folder, options, caller.tenant, known=known)

    @cached_property
    def _exporter(self) -> "Exporter":
        from dinox_mcp.export.exporter import Exporter  # with NumPy and OpenCV, which the start need not wait for

        return Exporter(self.settings, self.store, self._drawing)

    async def load(self, image: str, caller: Caller = OWNER) -> Picture:
        """Load an image from any of the sources that the class lists, or an uploaded one.

        Raises:
            InputError: it cannot be read, or may not be.
        """
        if image.strip().lower().startswith(uris.UPLOADS):
            uri, page = split_page(image.strip())
            return await self._loader.read(await self.uploads.get(uri, caller.tenant), uri, page)
        if image.strip().lower().startswith(uris.SCHEME):
            if name := uris.parse_comparison_uri(image):
                return Picture.from_bytes(await self.comparisons.side_by_side(name, caller), f"side by side of {name}")
            target = uris.parse_image_uri(image)
            stored = await self.fetch(target.result_id, caller)
            return await self.draw(partial(views.picture_of, stored, target))
        return await self._loader.load(image)

    async def read(self, data: bytes, name: str) -> Picture:
        """Make an image of encoded bytes, or of the first page of a PDF; `name` is where they are.

        Raises:
            ImageError: they are neither, or are not allowed.
        """
        return await self._loader.read(data, name)

    async def upload(self, data: bytes, caller: Caller = OWNER) -> str:
        """Keep an encoded image or a PDF for some minutes, for calls that pass its URI as `image`.

        Returns:
            Its `dinox://images/` URI, which is valid for this caller.

        Raises:
            ImageError: it is neither, or is not allowed.
        """
        await self._loader.check(data, "the uploaded image")
        return await self.uploads.put(data, caller.tenant)

    def result(self, result_id: str, caller: Caller = OWNER) -> Stored:
        """Return an earlier result of this process with its image, by its id or a URI below it.

        Raises:
            NotFoundError: there is none for this caller, or it is the result of a video.
        """
        self.videos.check_not_own(uris.bare_id(result_id), caller.tenant)
        return self.store.get(uris.bare_id(result_id), caller.tenant)

    async def fetch(self, result_id: str, caller: Caller = OWNER) -> Stored:
        """Fetch an earlier result as `result` does, also one that another server has put into the shared store.

        Raises:
            NotFoundError: there is none for this caller, or it is the result of a video.
            UnreachableError: the shared store does not answer.
        """
        bare = uris.bare_id(result_id)
        self.videos.check_not_own(bare, caller.tenant)
        try:
            return await self.store.fetch(bare, caller.tenant)
        except NotFoundError:
            await self.videos.check_absent(bare, caller.tenant)
            raise

    async def draw(self, work: Callable[[], T]) -> T:
        """Run slow work on pixels in one of a few threads, so that it neither blocks nor exhausts memory.

        Raises:
            BusyError: none of the threads became free in time.
        """
        return await self._drawing.run(work)

    async def _detect(
        self,
        image: str | Picture,
        request: DetectionRequest,
        options: Options,
        pictures: dict[str, Picture] | None = None,
    ) -> DetectionResult:
        """Plan a request before the image is loaded, as a wrong one need not wait, and send it down the pipeline."""
        call = make_call(options, pictures)
        plan = self.pipeline.router.plan(request, caller_has_key=call.api_key is not None)
        return await self.pipeline.detect(plan, await self._picture(image, options), call, max_objects(options))

    async def _picture(self, image: str | Picture, options: CallOptions) -> Picture:
        if isinstance(image, Picture):
            return image
        await options.get("progress", silent)(0, "reading the image")
        return await self.load(image, caller_of(options))
