"""The backend: loads what is heavy on first use, and works off the event loop."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import anyio

from dinox_mcp.backends.base import Call, Capabilities, Fit, Model
from dinox_mcp.backends.embedded import prompts, vocabulary
from dinox_mcp.backends.embedded.worker import IdleTimer, Steps, Worker
from dinox_mcp.errors import DeadlineError, InputError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types import memory
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Embedding, Output

if TYPE_CHECKING:
    from dinox_mcp.backends.embedded.search import Searcher

QUEUE = 16
MODEL = "embedded"
THOROUGH = "thorough"
_CAPABILITIES = Capabilities(
    answers=frozenset(
        {
            "text prompts",
            "prompt-free detection",
            "examples",
            "negative examples",
            "examples in other pictures",
            "saved prompts",
        }
    ),
    outputs=frozenset({"pose", "hands", "category"}),
    describes=frozenset({"text", "pose"}),
    labels=prompts.LABELS,
    reads=vocabulary.EVERYTHING,
    # The best thresholds for counting people, measured on COCO's photographs (benchmarks/accuracy).
    min_score=0.35,
    iou_threshold=0.5,
    thorough=THOROUGH,
)
_ABOUT = {
    MODEL: "80 kinds of things, poses, faces, hands, text, codes and markers; comes with the package, needs no key and "
    "no GPU",
    THOROUGH: "the same, looking for things at two sizes: finds more, in half as long again",
}
T = TypeVar("T")


class EmbeddedBackend:
    """Finds 80 kinds of things, people's poses, text, codes, markers and what looks like examples on this machine.

    One picture is searched at a time; up to `QUEUE` more wait for their turn. The models leave memory when nobody has
    asked for `idle_unload_s`.
    """

    name = "embedded"

    def __init__(self, settings: Settings) -> None:
        self._timeout_s = settings.timeout_s
        self._worker = Worker(QUEUE)
        self._searcher: Searcher | None = None
        self._idle = IdleTimer(settings.idle_unload_s, self._unload)
        self._closed = False

    def capabilities(self, model: str | None = None) -> Capabilities:
        """Closed vocabulary, examples, and what is read exactly; the same with both models.

        Raises:
            InputError: it has no such model.
        """
        if (model or MODEL).casefold() not in _ABOUT:
            choices = " and ".join(_ABOUT)
            raise InputError(f"the backend embedded has no model {model!r:.80}; it has {choices}, or leave model out")
        return _CAPABILITIES

    def models(self) -> tuple[Model, ...]:
        """The two that come with the package."""
        loaded = self._searcher is not None
        return tuple(Model(name, _CAPABILITIES, about, loaded=loaded) for name, about in _ABOUT.items())

    def fit(self, prompt: str) -> Fit:
        """Say how well it can look for a prompt: reads it, knows it, or looks for its words in the text."""
        return prompts.fit(prompt)

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        """Find what the prompts ask for, what looks like the examples, or everything; `text` is what was read.

        Raises:
            InputError: an example is too small, too plain, or of another backend.
            ImageError: a picture is damaged.
            BusyError: too many pictures are waiting.
            DeadlineError: the settings' time is over.
            BackendError: a model is missing or damaged.
        """
        if request.examples:
            if "hands" in request.include:
                raise UnsupportedError(
                    "the backend embedded does not look for hands by examples; leave include=['hands'] out, or ask "
                    "detect_objects with the prompt 'hand'"
                )

            def match(steps: Steps) -> Detections:
                from dinox_mcp.backends.embedded import examples

                found = examples.search(image, request, call.pictures, steps)
                if "pose" not in request.include:
                    return found
                posed = self._ready(steps).estimate_poses(image, found.objects, steps)
                return found.model_copy(update={"objects": posed.objects, "notes": (*found.notes, *posed.notes)})

            return await self._do(match, call)
        meant = prompts.understand(request.prompts)
        thorough = (request.model or MODEL).casefold() == THOROUGH
        return await self._do(
            lambda steps: self._ready(steps).search(image, request, meant, steps, thorough=thorough), call
        )

    def remarks(self, objects: Sequence[Detection], size: tuple[int, int]) -> tuple[str, ...]:
        """Say how many codes were not read."""
        from dinox_mcp.backends.embedded.search import remarks

        return remarks(objects, size)

    async def describe(
        self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
    ) -> Detections:
        """Read what is written in boxes, lines of text and what codes say, and estimate the poses of persons.

        Raises:
            ImageError: the picture is damaged.
            BusyError: too many pictures are waiting.
            DeadlineError: the settings' time is over.
            BackendError: a model is missing or damaged.
        """

        def work(steps: Steps) -> Detections:
            told = Detections(model="", objects=tuple(objects))
            if "pose" in include:
                told = self._ready(steps).estimate_poses(image, told.objects, steps)
            if "text" in include:
                read = self._ready(steps).describe(image, told.objects, steps)
                models = " + ".join(filter(None, (told.model, read.model)))
                told = read.model_copy(update={"model": models, "notes": (*told.notes, *read.notes)})
            return told if told.model else told.model_copy(update={"model": MODEL})

        return await self._do(work, call)

    async def embed(self, image: Picture, request: DetectionRequest, call: Call) -> Embedding:
        """Keep how examples look.

        Raises:
            InputError: an example is too small, too plain, or a negative.
            ImageError: a picture is damaged.
            BusyError: too many pictures are waiting.
            DeadlineError: the settings' time is over.
        """

        def work(steps: Steps) -> Embedding:
            from dinox_mcp.backends.embedded import examples

            return Embedding(
                backend=self.name, model=MODEL, data=examples.keep(image, request.examples, call.pictures, steps)
            )

        return await self._do(work, call)

    async def _do(self, work: Callable[[Steps], T], call: Call) -> T:
        self._idle.stop()
        try:
            with anyio.fail_after(self._timeout_s):
                return await self._worker.run(work, call.progress)
        except TimeoutError:
            raise DeadlineError(
                f"the picture took longer than {self._timeout_s:g} s; pass a smaller one, ask for fewer labels, "
                "or raise DINOX_MCP_TIMEOUT_S"
            ) from None
        finally:
            if not self._closed:
                self._idle.start()

    def _ready(self, steps: Steps) -> "Searcher":
        if self._searcher is None:
            steps.say(0.0, "loading")
            from dinox_mcp.backends.embedded.search import Searcher

            self._searcher = Searcher()
        return self._searcher

    def _unload(self) -> None:
        """Give the models' memory back; the next call loads them again."""
        if not self._worker.busy:
            self._searcher = None
            memory.trim()

    async def aclose(self) -> None:
        """Forget the models; a later call loads them again."""
        self._closed = True
        self._idle.stop()
        self._searcher = None
