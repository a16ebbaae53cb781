"""The local backend as the server holds it: it knows what models can do, and has another process ask them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import anyio
import anyio.to_thread

from dinox_mcp.backends.base import Call, Capabilities, Followed, Model, Progress, silent
from dinox_mcp.backends.local.backend import LocalBackend
from dinox_mcp.backends.local.process import wire
from dinox_mcp.backends.local.process.child import Child, Question
from dinox_mcp.errors import BackendError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Embedding, Output

HEARTBEAT_S = 0.5
FACTORY = "dinox_mcp.backends.local.backend:LocalBackend"


class ProcessBackend:
    """Forwards calls to a `LocalBackend` in a process of its own, which the first call starts.

    That process ends when nobody has asked for `idle_unload_s`, and all memory with it. If it crashes, is killed or
    says nothing for long, the calls that wait fail with a BackendError, and the next one starts another. `factory`
    ("module:callable") makes another backend of the settings there. Needs asyncio.
    """

    name = "local"

    def __init__(self, settings: Settings, factory: str = FACTORY) -> None:
        self._settings = settings
        self._start = wire.Start(factory, settings.model_copy(update={"api_key": None, "token": None}))
        self._here = LocalBackend(settings)  # it never loads a model
        self._learnt: tuple[Model, ...] = ()  # from processes that have ended
        self._child: Child | None = None
        self._closed = False

    def capabilities(self, model: str | None = None) -> Capabilities:
        """Say what it can do with a model: by its name, or as the other process said when it had loaded it.

        Raises:
            InputError: it has no such model.
        """
        known = next((offer for offer in self._known() if model in (None, offer.name)), None)
        return known.capabilities if known else self._here.capabilities(model)

    def models(self) -> tuple[Model, ...]:
        """List the models, as far as is known from the last answer."""
        known = self._known() or self._here.models()
        alive = self._child is not None and not self._child.over
        return tuple(replace(model, loaded=model.loaded and alive) for model in known)

    async def detect(
        self,
        image: Picture,
        request: DetectionRequest,
        call: Call,
        *,
        thresholds: Mapping[str, float] | None = None,
    ) -> Detections:
        """Find objects; see `LocalBackend.detect`.

        Raises:
            BackendError: as there, and if the process ends in the middle.
        """
        return cast("Detections", await self._ask("detect", image, request, call=call, thresholds=_plain(thresholds)))

    async def describe(
        self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
    ) -> Detections:
        """Tell more about boxes; see `LocalBackend.describe`.

        Raises:
            BackendError: as there, and if the process ends in the middle.
        """
        return cast("Detections", await self._ask("describe", image, tuple(objects), include, call=call))

    async def follow(self, frames: Sequence[Picture], boxes: Sequence[Box], call: Call) -> Followed:
        """Follow things through frames of a video; see `LocalBackend.follow`.

        Raises:
            BackendError: as there, and if the process ends in the middle.
        """
        return cast("Followed", await self._ask("follow", tuple(frames), tuple(boxes), call=call))

    async def embed(self, image: Picture, request: DetectionRequest, call: Call) -> Embedding:
        """Make an embedding of examples; see `LocalBackend.embed`.

        Raises:
            BackendError: as there, and if the process ends in the middle.
        """
        return cast("Embedding", await self._ask("embed", image, request, call=call))

    async def load(self, model: str | None = None, progress: Progress = silent) -> str:
        """Fetch and load a model before the first question needs it; gives its name.

        Raises:
            BackendError: it cannot be had, or does not load.
        """
        return cast("str", await self._send("load", (model,), {"progress": progress}, progress))

    async def aclose(self) -> None:
        """End the process, within seconds."""
        self._closed = True
        if self._child:
            await anyio.to_thread.run_sync(self._child.end, abandon_on_cancel=True)

    def _known(self) -> tuple[Model, ...]:
        """List the models, the default first, as the other process knew them last; nothing before its first answer."""
        return (self._child and self._child.models) or self._learnt

    async def _ask(self, method: str, *arguments: object, call: Call, **options: object) -> object:
        plain = replace(call, api_key=None, pictures=dict(call.pictures))
        return await self._send(method, arguments, {"call": plain, **options}, call.progress)

    async def _send(
        self, method: str, arguments: tuple[Any, ...], options: Mapping[str, Any], progress: Progress
    ) -> object:
        child, question = self._put(method, arguments, options, progress)
        heard = False
        try:
            while True:
                news = None
                with anyio.move_on_after(HEARTBEAT_S):
                    news = await question.news.get()
                match news:
                    case wire.Answer():
                        return news.value
                    case wire.Failure():
                        raise news.kind(news.message)
                    case wire.Report():
                        heard = True
                        await progress(news.fraction, news.message)
                    case None:
                        child.end_if_stuck()
                        if not heard:  # Python starts and imports torch; from then on the models tell more
                            await progress(0.0, "starting the local backend")
        finally:
            child.leave(question)

    def _put(
        self, method: str, arguments: tuple[Any, ...], options: Mapping[str, Any], progress: Progress
    ) -> tuple[Child, Question]:
        if self._closed:
            raise BackendError("the local backend was closed; start it again and ask again")
        question = None
        while self._child is None or (question := self._child.ask(method, arguments, options, progress)) is None:
            self._learnt = self._known()
            self._child = Child(self._start, self._settings.idle_unload_s)
        return self._child, question


def _plain(thresholds: Mapping[str, float] | None) -> dict[str, float] | None:
    return None if thresholds is None else {label: float(score) for label, score in thresholds.items()}
