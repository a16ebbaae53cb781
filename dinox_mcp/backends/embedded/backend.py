"""The embedded backend: loads its models on first use, and runs them in a thread."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import anyio

from dinox_mcp.backends.base import Call, Capabilities, Fit, Model
from dinox_mcp.backends.embedded import prompts
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
            "examples in other images",
            "saved prompts",
        }
    ),
    outputs=frozenset({"pose", "hands", "category"}),
    describes=frozenset({"text", "pose"}),
    labels=prompts.LABELS,
    reads=prompts.EVERYTHING,
    # The best thresholds for counting persons, measured on photographs of COCO (benchmarks/accuracy).
    min_score=0.35,
    iou_threshold=0.5,
    thorough=THOROUGH,
)
_ABOUT = {
    MODEL: "80 kinds of things, poses, faces, hands, text, codes and markers; comes with the package, needs no key and "
    "no GPU",
    THOROUGH: "the same, run at two sizes: finds more, and takes half as long again",
}
T = TypeVar("T")


class EmbeddedBackend:
    """Detects 80 kinds of things, poses, text, codes, markers and what looks like examples on this machine.

    It works on one image at a time; up to `QUEUE` more wait. The models are unloaded after `idle_unload_s` seconds
    without a call.
    """

    name = "embedded"

    def __init__(self, settings: Settings) -> None:
        self._timeout_s = settings.timeout_s
        self._worker = Worker(QUEUE)
        self._searcher: Searcher | None = None
        self._idle = IdleTimer(settings.idle_unload_s, self._unload)
        self._closed = False

    def capabilities(self, model: str | None = None) -> Capabilities:
        """Return what it can do, which is the same for both models.

        Raises:
            InputError: there is no such model.
        """
        if (model or MODEL).casefold() not in _ABOUT:
            choices = " and ".join(_ABOUT)
            raise InputError(f"the backend embedded has no model {model!r:.80}; it has {choices}, or leave model out")
        return _CAPABILITIES

    def models(self) -> tuple[Model, ...]:
        """List the two models, which come with the package."""
        loaded = self._searcher is not None
        return tuple(Model(name, _CAPABILITIES, about, loaded=loaded) for name, about in _ABOUT.items())

    def fit(self, prompt: str) -> Fit:
        """Return how well it can answer a prompt: read it, detect it, or search its words in the text."""
        return prompts.fit(prompt)

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        """Find the prompts, what looks like the examples, or everything; `text` is what was read.

        Raises:
            InputError: an example is too small, of one color, or of another backend.
            UnsupportedError: hands are requested together with examples.
            ImageError, BusyError, DeadlineError, BackendError: as of every backend.
        """
        if request.examples:
            if "hands" in request.include:
                raise UnsupportedError(
                    "the backend embedded cannot find hands by examples; leave include=['hands'] out, or use "
                    "detect_objects with the prompt 'hand'"
                )

            def match(steps: Steps) -> Detections:
                from dinox_mcp.backends.embedded import matching

                found = matching.search(image, request, call.pictures, steps)
                if "pose" in request.include:
                    found = _joined(found, self._loaded(steps).estimate_poses(image, found.objects, steps))
                return found

            return await self._run(match, call)
        targets = prompts.understand(request.prompts)
        thorough = (request.model or MODEL).casefold() == THOROUGH
        return await self._run(
            lambda steps: self._loaded(steps).search(image, request, targets, steps, thorough=thorough), call
        )

    def notes_for(self, objects: Sequence[Detection], size: tuple[int, int]) -> tuple[str, ...]:
        """Say how many codes were not read."""
        from dinox_mcp.backends.embedded.search import notes_for

        return notes_for(objects, size)

    async def describe(
        self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
    ) -> Detections:
        """Read text and codes in boxes, and estimate the poses of persons; it raises what `detect` raises."""

        def work(steps: Steps) -> Detections:
            found = Detections(model="", objects=tuple(objects))
            if "pose" in include:
                found = self._loaded(steps).estimate_poses(image, found.objects, steps)
            if "text" in include:
                found = _joined(found, self._loaded(steps).describe(image, found.objects, steps))
            return found if found.model else found.model_copy(update={"model": MODEL})

        return await self._run(work, call)

    async def embed(self, image: Picture, request: DetectionRequest, call: Call) -> Embedding:
        """Save the pixels of examples, which may not be negative, as an embedding; it raises what `detect` raises."""

        def work(steps: Steps) -> Embedding:
            from dinox_mcp.backends.embedded import templates

            data = templates.save(image, request.examples, call.pictures, steps)
            return Embedding(backend=self.name, model=MODEL, data=data)

        return await self._run(work, call)

    async def _run(self, work: Callable[[Steps], T], call: Call) -> T:
        self._idle.stop()
        try:
            with anyio.fail_after(self._timeout_s):
                return await self._worker.run(work, call.progress)
        except TimeoutError:
            raise DeadlineError(
                f"the image took longer than {self._timeout_s:g} s; pass a smaller one, use fewer prompts, "
                "or raise DINOX_MCP_TIMEOUT_S"
            ) from None
        finally:
            if not self._closed:
                self._idle.start()

    def _loaded(self, steps: Steps) -> "Searcher":
        if self._searcher is None:
            steps.report(0.0, "loading")
            from dinox_mcp.backends.embedded.search import Searcher

            self._searcher = Searcher()
        return self._searcher

    def _unload(self) -> None:
        """Unload the models; the next call loads them again."""
        if not self._worker.busy:
            self._searcher = None
            memory.trim()

    async def aclose(self) -> None:
        """Unload the models; a later call loads them again."""
        self._closed = True
        self._idle.stop()
        self._searcher = None


def _joined(found: Detections, described: Detections) -> Detections:
    """Return the described objects with the models and notes of both."""
    models = " + ".join(filter(None, (found.model, described.model)))
    return described.model_copy(update={"model": models, "notes": (*found.notes, *described.notes)})
