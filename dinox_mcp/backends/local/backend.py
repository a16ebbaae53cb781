"""The backend: finds and describes objects with models that run in this process, one worker for each."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from dinox_mcp.backends import local
from dinox_mcp.backends.base import Call, Capabilities, Fit, Followed, Model
from dinox_mcp.backends.local import families, kinds, naming
from dinox_mcp.backends.local.checkpoints import presets
from dinox_mcp.backends.local.checkpoints.checkpoint import Checkpoint
from dinox_mcp.backends.local.checkpoints.presets import Role
from dinox_mcp.backends.local.naming import Vocabulary
from dinox_mcp.backends.local.runtime import describing, requests
from dinox_mcp.backends.local.runtime.caches import FeatureCache, ModelMemory
from dinox_mcp.backends.local.runtime.queue import closed
from dinox_mcp.backends.local.runtime.requests import ModelCall, Response, rising
from dinox_mcp.backends.local.runtime.worker import Worker
from dinox_mcp.errors import DeadlineError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Embedding, Need, Output

T = TypeVar("T")
Make = Callable[..., Checkpoint]
"""Makes the checkpoint of a name (None for the default), with the options `role` and `follows` of `Checkpoint`."""


class Workers:
    """Keeps one worker for each model, whichever name it is requested by; they share memory and features.

    Args:
        settings: The settings.
        make: Makes checkpoints; tests give their own.
        labels: The folder for label embeddings; None for the user's cache.
    """

    def __init__(self, settings: Settings, make: Make | None = None, labels: Path | None = None) -> None:
        self.settings = settings
        self._make = make or partial(Checkpoint, settings=settings)
        self._labels = labels
        self.memory = ModelMemory(settings.models_max_bytes)
        self.features = FeatureCache(settings.features_max_bytes)
        self._workers: dict[Hashable, tuple[Worker, Checkpoint]] = {}
        self._named: dict[tuple[str | None, Role, bool], Worker] = {}
        self._known: dict[Worker, Model] = {}
        self._closed = False

    async def get(self, name: str | None, role: Role = "objects", *, follows: bool = False) -> Worker:
        """Return the worker of a model.

        Args:
            name: The model; None for the default of its role.
            role: What it is used for.
            follows: Whether it follows objects through a video; features of frames are not kept.

        Raises:
            SettingsError: there is no such model or device.
            BackendError: all was closed.
        """
        if self._closed:
            raise closed()
        key = name, role, follows
        if key not in self._named:
            checkpoint = self._make(name, role=role, follows=follows)
            others = list(self._workers.values())

            def identify() -> tuple[Hashable, dict[Hashable, Worker]]:
                # The others anew: once fetched, they are known by their commit.
                return checkpoint.identify(), {other.identify(): worker for worker, other in others}

            identity, known = await anyio.to_thread.run_sync(identify, abandon_on_cancel=True)  # may import torch
            if self._closed:
                raise closed()
            new = Worker(
                checkpoint,
                self.memory,
                FeatureCache(0) if follows else self.features,
                queue_max=self.settings.queue_max,
                idle_s=self.settings.idle_unload_s,
                labels=self._labels,
            )
            self._named[key] = known.get(identity) or self._workers.setdefault(identity, (new, checkpoint))[0]
        return self._named[key]

    async def know(self, worker: Worker, call: Call) -> Model:
        """Load a model if it is not in memory, and return what is known of it."""
        if not worker.ready or worker not in self._known:
            self._known[worker] = await worker.run(
                lambda loaded, _: Model(loaded.name, families.of_type(loaded.model.family, loaded.model.labels)),
                client=call.client,
                progress=call.progress,
            )
        return self._known[worker]

    def known(self, name: str | None) -> Model | None:
        """Return what is known of a model from earlier."""
        worker = self._named.get((name, "objects", False))
        return self._known.get(worker) if worker else None

    def ready(self) -> set[str | None]:
        """Return the names of the models for objects that are in memory."""
        return {name for (name, role, _), worker in self._named.items() if role == "objects" and worker.ready}

    async def aclose(self) -> None:
        """Stop what runs, and unload all models."""
        self._closed = True
        async with anyio.create_task_group() as group:
            for worker, _ in self._workers.values():
                group.start_soon(worker.aclose)


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
        self._workers = Workers(settings, make, cache)

    def capabilities(self, model: str | None = None) -> Capabilities:
        """Return what a model can do, by its name and by what is on this machine.

        Raises:
            InputError: there is no such model.
        """
        known = self._workers.known(model or self._settings.model)
        able = known.capabilities if known else families.of_name(model, self._settings)
        return replace(able, describes=self._describes(), fetches=True)

    def _describes(self) -> frozenset[Output]:
        if local.has_torch():
            return describing.DESCRIBES
        return frozenset({"masks"}) if local.masks_without_torch(self._settings) else frozenset()

    def fit(self, prompt: str) -> Fit:
        """Return how well the model of the settings or of this machine can find a prompt."""
        return kinds.fit(prompt, self.capabilities().labels)

    def models(self) -> tuple[Model, ...]:
        """List the model of the settings or of this machine, and the presets."""
        default = presets.default_model(self._settings)
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
            InputError, ImageError: an example lies outside its image, all are negative, or an image is damaged.
            BusyError, DeadlineError, BackendError: see each.
            SettingsError: there is no such model, device or vocabulary.
        """
        searches_nouns = "prompt-free detection" in request.needs and self.capabilities(request.model).labels is None
        read = partial(naming.read, self._settings.vocabulary) if self._settings.vocabulary else naming.built_in
        vocabulary = await anyio.to_thread.run_sync(read) if searches_nouns else None
        worker, known, call = await self._ready(request.model, request.needs, request.include, call)
        model_call = ModelCall(worker, image, call, request.min_score, "masks" in request.include)
        if known.capabilities.labels is not None:
            return await self._detect_kinds(model_call, request, known)
        grounds = "descriptions" in known.capabilities.answers
        response = await self._in_time(worker, _find(model_call, request, vocabulary, grounds=grounds))
        objects, notes = await anyio.to_thread.run_sync(partial(_tidy, response, request, image, vocabulary))
        return Detections(model=response.model, objects=tuple(objects), notes=(*response.notes, *notes))

    async def _detect_kinds(self, call: ModelCall, request: DetectionRequest, known: Model) -> Detections:
        """Find the prompted objects, or all, with a model whose vocabulary is closed."""
        targets = kinds.understand(request.prompts, known.capabilities.labels or ())
        notes = [*targets.notes, *[requests.WITHOUT_CAPTION] * (request.caption is not None)]
        unsearched = {"unsearched": (*targets.covered, *targets.unknown), "unknown": targets.unknown}
        if not targets.kinds:
            return Detections(model=known.name, objects=(), notes=tuple(notes), **unsearched)
        response = await self._in_time(call.worker, requests.find(call, tuple(targets.kinds)))
        response = replace(response, labels=tuple(targets.kinds.values()))
        objects, _ = _tidy(response, request, call.image, None)
        if request.prompts is None:
            labels = tuple(targets.kinds)
            objects, merged = naming.merge_names(objects, Vocabulary(labels, labels, {}))
            notes += merged
        return Detections(model=response.model, objects=tuple(objects), notes=(*response.notes, *notes), **unsearched)

    async def describe(
        self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
    ) -> Detections:
        """Describe objects, by models for that; see `describing.describe`.

        Raises:
            BackendError: as for `detect`.
        """
        return await describing.describe(self._workers.get, self._settings, image, objects, include, call)

    async def follow(self, frames: Sequence[Picture], boxes: Sequence[Box], call: Call) -> Followed:
        """Follow what is in the boxes of a first frame through those after it; see `describing.follow`.

        Raises:
            UnsupportedError: the extra is not installed, or the model for masks has no memory.
            BackendError: as for `detect`.
        """
        return await describing.follow(self._workers.get, self._settings, frames, boxes, call)

    async def embed(self, image: Picture, request: DetectionRequest, call: Call) -> Embedding:
        """Make an embedding of the request's examples.

        Raises:
            InputError: an example is negative, or lies outside its image.
            BackendError: as for `detect`.
        """
        worker, _, call = await self._ready(request.model, request.needs | {"saved prompts"}, frozenset(), call)
        return await self._in_time(worker, requests.embed(ModelCall(worker, image, call), request.examples))

    async def load(self) -> str:
        """Fetch and load the model before the first request needs it; return its name.

        Raises:
            BackendError: it cannot be fetched, or does not load.
        """
        worker = await self._workers.get(self._settings.model)
        return (await self._workers.know(worker, Call())).name

    async def aclose(self) -> None:
        """Stop what runs, and unload all models."""
        await self._workers.aclose()

    async def _ready(
        self, model: str | None, needs: frozenset[Need], include: frozenset[Output], call: Call
    ) -> tuple[Worker, Model, Call]:
        """Load a model and check that it can do what the request needs."""
        call = replace(call, progress=rising(call.progress))
        worker = await self._workers.get(model or self._settings.model)
        known = await self._workers.know(worker, call)
        families.require(known.capabilities, known.name, needs, include)
        return worker, known, call

    async def _in_time(self, worker: Worker, response: Awaitable[T]) -> T:
        with anyio.move_on_after(self._settings.timeout_s):
            return await response
        kept = "the image and most labels" if worker.keeps_labels else "the image"
        raise DeadlineError(
            f"the model gave no response within {self._settings.timeout_s:g} s; try again (what it computed of {kept} "
            "is kept), request fewer labels, choose a faster model (DINOX_MCP_MODEL=fast), or raise DINOX_MCP_TIMEOUT_S"
        )


def _about(model: str) -> str:
    preset = presets.PRESETS.get(model)
    return f"{preset.repo}, {preset.licence}; {preset.good_for}" if preset else ""


async def _find(
    call: ModelCall, request: DetectionRequest, vocabulary: Vocabulary | None, *, grounds: bool
) -> Response:
    if request.description is not None:
        return await requests.find_described(call, request.description)
    if request.examples and request.prompts is None:
        return await requests.find_like(call, request.examples)
    labels = vocabulary.nouns if vocabulary else request.prompts or ()
    if request.caption is not None and grounds:
        return await requests.ground(call, request.caption, labels)
    found = await requests.find(call, labels)
    return found if request.caption is None else replace(found, notes=[*found.notes, requests.WITHOUT_CAPTION])


def _tidy(
    response: Response, request: DetectionRequest, image: Picture, vocabulary: Vocabulary | None
) -> tuple[list[Detection], list[str]]:
    """Label what was found, each object once, and note what was left out. Slow where there are many."""
    labels = vocabulary.names if vocabulary else response.labels
    objects = naming.to_detections(response.found, labels, (image.width, image.height), request.iou_threshold)
    if vocabulary is None:
        return objects, []
    objects, notes = naming.merge_names(objects, vocabulary)
    return objects, [f"searched for {len(vocabulary.nouns)} nouns; what is not among them needs a prompt", *notes]
