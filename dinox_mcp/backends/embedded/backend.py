"""The backend: loads what is heavy on first use, and works off the event loop."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import anyio

from dinox_mcp.backends.base import Call, Capabilities, Model
from dinox_mcp.backends.embedded import vocabulary
from dinox_mcp.backends.embedded.worker import Steps, Worker
from dinox_mcp.errors import DeadlineError, InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.schema import Detection, DetectionRequest, Detections, Embedding, Output
from dinox_mcp.settings import Settings

if TYPE_CHECKING:
    from dinox_mcp.backends.embedded.search import Searcher

QUEUE = 16
MODEL = "embedded"
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
    describes=frozenset({"text"}),
    labels=vocabulary.LABELS,
)
T = TypeVar("T")


class EmbeddedBackend:
    """Finds text, codes, markers and what looks like examples on this machine, and reads what can be read.

    One picture is searched at a time; up to `QUEUE` more wait for their turn.
    """

    name = "embedded"

    def __init__(self, settings: Settings) -> None:
        self._timeout_s = settings.timeout_s
        self._worker = Worker(QUEUE)
        self._searcher: Searcher | None = None

    def capabilities(self, model: str | None = None) -> Capabilities:
        """A few labels, everything of these, and examples; boxes only.

        Raises:
            InputError: it has no such model.
        """
        if model not in (None, MODEL):
            raise InputError(f"the backend embedded has no model {model!r:.80}; it has {MODEL}, leave model out")
        return _CAPABILITIES

    def models(self) -> tuple[Model, ...]:
        """The one that comes with the package."""
        about = "text, codes and markers; comes with the package, needs no key and no GPU"
        return (Model(MODEL, _CAPABILITIES, about, loaded=self._searcher is not None),)

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        """Find what the prompts ask for, what looks like the examples, or everything; `text` is what was read.

        Raises:
            UnsupportedError: none of the prompts is anything that this backend finds.
            InputError: an example is too small, too plain, or of another backend.
            ImageError: a picture is damaged.
            BusyError: too many pictures are waiting.
            DeadlineError: the settings' time is over.
            BackendError: a model is missing or damaged.
        """
        if request.examples:

            def match(steps: Steps) -> Detections:
                from dinox_mcp.backends.embedded import examples

                return examples.search(image, request, call.pictures, steps)

            return await self._do(match, call)
        wanted = vocabulary.understand(request.prompts)
        return await self._do(lambda steps: self._ready(steps).search(image, request, wanted, steps), call)

    async def describe(
        self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
    ) -> Detections:
        """Read what is written in boxes: lines of text and what codes say, from top to bottom.

        Raises:
            ImageError: the picture is damaged.
            BusyError: too many pictures are waiting.
            DeadlineError: the settings' time is over.
            BackendError: a model is missing or damaged.
        """
        if "text" not in include:
            return Detections(model=MODEL, objects=tuple(objects))
        return await self._do(lambda steps: self._ready(steps).describe(image, objects, steps), call)

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
        try:
            with anyio.fail_after(self._timeout_s):
                return await self._worker.run(work, call.progress)
        except TimeoutError:
            raise DeadlineError(
                f"the picture took longer than {self._timeout_s:g} s; pass a smaller one, ask for fewer labels, "
                "or raise DINOX_MCP_TIMEOUT_S"
            ) from None

    def _ready(self, steps: Steps) -> "Searcher":
        if self._searcher is None:
            steps.say(0.0, "loading")
            from dinox_mcp.backends.embedded.search import Searcher

            self._searcher = Searcher()
        return self._searcher

    async def aclose(self) -> None:
        """Forget the models; a later call loads them again."""
        self._searcher = None
