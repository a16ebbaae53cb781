"""The backend: finds and describes objects with models that run in this process."""

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from dinox_mcp.backends.base import Call, Capabilities, Followed, Model, Progress, silent
from dinox_mcp.backends.local import capabilities, naming
from dinox_mcp.backends.local.checkpoints import presets
from dinox_mcp.backends.local.naming import Vocabulary
from dinox_mcp.backends.local.runtime import describing, examples, following, requests
from dinox_mcp.backends.local.runtime.pool import Make, Workers
from dinox_mcp.backends.local.runtime.requests import ModelCall, Response, rising
from dinox_mcp.backends.local.runtime.worker import Worker
from dinox_mcp.errors import DeadlineError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Embedding, Need, Output

T = TypeVar("T")


class LocalBackend:
    """Runs models of the open-vocabulary families, each in a thread of its own; see `Worker`.

    Args:
        settings: The settings.
        make: Makes the checkpoint of a name and a role; tests give their own.
        cache: The folder for label embeddings; None for the user's cache.
    """

    name = "local"

    def __init__(self, settings: Settings, make: Make | None = None, cache: Path | None = None) -> None:
        self._settings = settings
        self._labels = requests.Embeddings(cache)
        self._workers = Workers(settings, make, self._labels.forget)

    def capabilities(self, model: str | None = None) -> Capabilities:
        """Return what a model can do, by its name and by what is on this machine.

        Raises:
            InputError: there is no such model.
        """
        known = self._workers.known(model or self._settings.model)
        able = known.capabilities if known else capabilities.of_name(model, self._settings)
        return replace(able, describes=describing.DESCRIBES, fetches=True)

    def models(self) -> tuple[Model, ...]:
        """List the model of the settings or of this machine, and the presets."""
        default = capabilities.default(self._settings)
        ready = self._workers.ready()
        if self._settings.model in ready:  # the default may have been requested without a name
            ready.add(default)
        return tuple(
            Model(name, self.capabilities(None if name == default else name), _about(name), name in ready)
            for name in dict.fromkeys((default, *presets.PRESETS))
        )

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        """Find the prompted objects, those like the examples, the described one, or those of the vocabulary.

        Raises:
            UnsupportedError: the extra is not installed, or the model cannot do what the request needs.
            InputError: an example lies outside its image, or all are negative.
            BusyError, DeadlineError, BackendError: see each.
            SettingsError: there is no such model, device or vocabulary.
            ImageError: the image is damaged.
        """
        vocabulary = await self._vocabulary() if "prompt-free detection" in request.needs else None
        worker, call = await self._ready(request.model, request.needs, request.include, call)
        model_call = ModelCall(worker, image, call, request.min_score, "masks" in request.include)
        response = await self._in_time(worker, self._find(model_call, request, vocabulary))
        size = image.width, image.height
        tidy = partial(naming.to_detections, response.found, response.labels, vocabulary, size, request.iou_threshold)
        objects, notes = await anyio.to_thread.run_sync(tidy)
        return Detections(model=response.model, objects=tuple(objects), notes=(*response.notes, *notes))

    async def describe(
        self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
    ) -> Detections:
        """Describe objects, by models for that; see `describing.describe`.

        Raises:
            BusyError, DeadlineError, BackendError: see each.
            SettingsError: there is no such model or device.
            ImageError: the image is damaged.
        """
        return await describing.describe(self._workers, image, objects, include, call)

    async def follow(self, frames: Sequence[Picture], boxes: Sequence[Box], call: Call) -> Followed:
        """Follow what is in the boxes of a first frame through those after it; see `following.follow`.

        Raises:
            UnsupportedError: the extra is not installed, or the model for masks has no memory.
            BusyError, DeadlineError, BackendError: see each.
            SettingsError: there is no such model or device.
            ImageError: a frame is damaged.
        """
        return await following.follow(self._workers, frames, boxes, call)

    async def embed(self, image: Picture, request: DetectionRequest, call: Call) -> Embedding:
        """Make an embedding of the request's examples.

        Raises:
            UnsupportedError: the extra is not installed, or the model has no saved prompts.
            InputError: an example is negative, or lies outside its image.
            BusyError, DeadlineError, BackendError: see each.
        """
        worker, call = await self._ready(request.model, request.needs | {"saved prompts"}, frozenset(), call)
        return await self._in_time(worker, examples.embed(ModelCall(worker, image, call), request.examples))

    async def load(self, model: str | None = None, progress: Progress = silent) -> str:
        """Fetch and load a model before the first request needs it; return its name.

        Raises:
            BackendError: it cannot be fetched, or does not load.
        """
        worker = await self._workers.get(model or self._settings.model)
        return await worker.run(lambda loaded, _: loaded.name, progress=progress)

    async def aclose(self) -> None:
        """Stop what runs, and unload all models."""
        await self._workers.aclose()

    async def _find(self, call: ModelCall, request: DetectionRequest, vocabulary: Vocabulary | None) -> Response:
        """Choose the kind of request that the model gets."""
        if request.description is not None:
            return await requests.find_described(call, request.description)
        if request.examples and request.prompts is None:
            return await examples.find(call, request.examples)
        labels = vocabulary.nouns if vocabulary else request.prompts or ()
        if request.caption is None:
            return await requests.find(call, labels, self._labels)
        known = await self._workers.know(call.worker, call.context)
        if "descriptions" in known.capabilities.answers:
            return await requests.ground(call, request.caption, labels, self._labels)
        return requests.without_caption(await requests.find(call, labels, self._labels))

    async def _ready(
        self, model: str | None, needs: frozenset[Need], include: frozenset[Output], call: Call
    ) -> tuple[Worker, Call]:
        """Load a model and check that it can do what the request needs."""
        call = replace(call, progress=rising(call.progress))
        worker = await self._workers.get(model or self._settings.model)
        known = await self._workers.know(worker, call)
        capabilities.require(known.capabilities, known.name, needs, include)
        return worker, call

    async def _in_time(self, worker: Worker, response: Awaitable[T]) -> T:
        """Wait for a response, at most `timeout_s`."""
        with anyio.move_on_after(self._settings.timeout_s):
            return await response
        kept = "the image and most labels" if worker.keeps_labels else "the image"
        raise DeadlineError(
            f"the model gave no answer within {self._settings.timeout_s:g} s; ask again (what it made of {kept} is "
            "kept), ask for fewer labels, choose a faster model (DINOX_MCP_MODEL=fast), or raise DINOX_MCP_TIMEOUT_S"
        )

    async def _vocabulary(self) -> Vocabulary:
        path = self._settings.vocabulary
        return await anyio.to_thread.run_sync(lambda: naming.read(path) if path else self._built_in)

    @cached_property
    def _built_in(self) -> Vocabulary:
        return naming.built_in()


def _about(model: str) -> str:
    preset = presets.PRESETS.get(model)
    return f"{preset.repo}, {preset.licence}; {preset.good_for}" if preset else ""
