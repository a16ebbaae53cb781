"""The local backend with its models in a process of their own, so that all their memory goes back when it ends."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from dinox_mcp.backends.base import Call, Capabilities, Followed, Model, Progress, silent
from dinox_mcp.backends.local.backend import LocalBackend
from dinox_mcp.backends.local.child import Child
from dinox_mcp.backends.local.runtime.queue import closed
from dinox_mcp.backends.local.service import Start
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Embedding, Output

FACTORY = "dinox_mcp.backends.local.backend:LocalBackend"


class ProcessBackend:
    """Forwards calls to a `LocalBackend` in a process of its own, which the first call starts.

    The process ends after `idle_unload_s` without requests. If it crashes, is killed or is stuck, waiting calls fail
    with a BackendError and the next call starts another. Needs asyncio.

    Args:
        settings: The settings. Secrets in them do not reach the process.
        factory: What creates the backend in the process, as "module:callable"; called with the settings.
    """

    name = "local"

    def __init__(self, settings: Settings, factory: str = FACTORY) -> None:
        self._settings = settings
        self._start = Start(factory, settings.model_copy(update={"api_key": None, "token": None}))
        self._here = LocalBackend(settings)  # it never loads a model
        self._known: tuple[Model, ...] = ()  # as the last process listed them
        self._child: Child | None = None
        self._closed = False

    def capabilities(self, model: str | None = None) -> Capabilities:
        """Return what a model can do: by its name, or as the process reported when the model was loaded.

        Raises:
            InputError: there is no such model.
        """
        known = next((offer for offer in self._listed() if model in (None, offer.name)), None)
        return known.capabilities if known else self._here.capabilities(model)

    def models(self) -> tuple[Model, ...]:
        """List the models, as far as is known from the last answer."""
        alive = self._child is not None and self._child.alive
        return tuple(replace(model, loaded=model.loaded and alive) for model in self._listed() or self._here.models())

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        """Find objects; see `LocalBackend.detect`.

        Raises:
            BackendError: as there, and if the process ends before it answers.
        """
        return cast("Detections", await self._ask("detect", image, request, call=call))

    async def describe(
        self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
    ) -> Detections:
        """Describe objects; see `LocalBackend.describe`.

        Raises:
            BackendError: as there, and if the process ends before it answers.
        """
        return cast("Detections", await self._ask("describe", image, tuple(objects), include, call=call))

    async def follow(self, frames: Sequence[Picture], boxes: Sequence[Box], call: Call) -> Followed:
        """Follow objects through frames of a video; see `LocalBackend.follow`.

        Raises:
            BackendError: as there, and if the process ends before it answers.
        """
        return cast("Followed", await self._ask("follow", tuple(frames), tuple(boxes), call=call))

    async def embed(self, image: Picture, request: DetectionRequest, call: Call) -> Embedding:
        """Make an embedding of examples; see `LocalBackend.embed`.

        Raises:
            BackendError: as there, and if the process ends before it answers.
        """
        return cast("Embedding", await self._ask("embed", image, request, call=call))

    async def load(self, model: str | None = None, progress: Progress = silent) -> str:
        """Fetch and load a model before the first request needs it; return its name.

        Raises:
            BackendError: it cannot be fetched, or does not load.
        """
        return cast("str", await self._ask("load", model, progress=progress))

    async def aclose(self) -> None:
        """End the process, within seconds."""
        self._closed = True
        if self._child:
            await self._child.end()

    def _listed(self) -> tuple[Model, ...]:
        if self._child and self._child.models:
            self._known = self._child.models
        return self._known

    async def _ask(
        self, method: str, *arguments: object, call: Call | None = None, progress: Progress = silent
    ) -> object:
        if self._closed:
            raise closed()
        if self._child is None or not self._child.usable:
            self._listed()
            self._child = Child(self._start, self._settings.idle_unload_s)
        plain = replace(call, progress=silent, api_key=None, pictures=dict(call.pictures)) if call else None
        return await self._child.ask(method, arguments, plain, call.progress if call else progress)
