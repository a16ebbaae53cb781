"""The backend: a question and a picture go in, detections come out of a model that runs in this process."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from dinox_mcp.backends.base import Call, Capabilities, Followed, Progress, silent
from dinox_mcp.backends.base import Model as Offer
from dinox_mcp.backends.local import abilities, merge
from dinox_mcp.backends.local import vocabulary as vocabularies
from dinox_mcp.backends.local.checkpoints import presets
from dinox_mcp.backends.local.checkpoints.source import Checkpoint
from dinox_mcp.backends.local.models.interfaces import Model
from dinox_mcp.backends.local.runtime import examples, requests
from dinox_mcp.backends.local.runtime.describing import DESCRIBES, Describing
from dinox_mcp.backends.local.runtime.following import Following
from dinox_mcp.backends.local.runtime.pool import Hosts
from dinox_mcp.backends.local.runtime.requests import Answer, Turn, rising
from dinox_mcp.backends.local.runtime.worker import Host
from dinox_mcp.backends.local.vocabulary import Vocabulary
from dinox_mcp.errors import DeadlineError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Embedding, Need, Output

T = TypeVar("T")


class LocalBackend:
    """Asks models of the open-vocabulary families, each in a thread of its own; see `host`.

    `models` makes a model of a name, which is None for the default; tests give their own.
    """

    name = "local"

    def __init__(
        self,
        settings: Settings,
        models: Callable[[str | None], Model] | None = None,
        cache: Path | None = None,
    ) -> None:
        self._settings = settings
        self._labels = requests.Embeddings(cache)
        self._hosts = Hosts(settings, models or partial(Checkpoint, settings=settings), self._labels.forget)
        self._describing = Describing(settings, self._hosts.room, self._hosts.states)
        self._following = Following(settings, self._hosts.room)

    def capabilities(self, model: str | None = None) -> Capabilities:
        """Say what a model can be asked, by its name and by what is on this machine; see `abilities`.

        Raises:
            InputError: it is no model's name.
        """
        known = self._hosts.known(model or self._settings.model)
        able = known.able if known else abilities.of_name(model, self._settings)
        return replace(able, describes=DESCRIBES, fetches=True)

    def models(self) -> tuple[Offer, ...]:
        """The model of the settings or of this machine, and the presets."""
        default = abilities.default(self._settings)
        ready = self._hosts.ready()
        if self._settings.model in ready:  # the default may have been asked for without a name
            ready.add(default)
        return tuple(
            Offer(name, self.capabilities(None if name == default else name), _about(name), name in ready)
            for name in dict.fromkeys((default, *presets.PRESETS))
        )

    async def detect(
        self,
        image: Picture,
        request: DetectionRequest,
        call: Call,
        *,
        thresholds: Mapping[str, float] | None = None,
    ) -> Detections:
        """Find the prompted objects, those like the examples, the described one, or those of the vocabulary.

        Python users may give `thresholds`: the lowest score by label, where it is another than the request's.

        Raises:
            UnsupportedError: the extra is not installed, or the model cannot be asked so, or has no masks.
            InputError: an example lies outside its picture, or all are negative.
            BusyError, DeadlineError, BackendError: see each.
            SettingsError: there is no such model, device or vocabulary.
            ImageError: the picture is damaged.
        """
        everything = await self._vocabulary() if "prompt-free detection" in request.needs else None
        host, call = await self._ready(request.model, request.needs, request.include, call)
        least = min([request.min_score, *(thresholds or {}).values()])
        turn = Turn(host, image, call, least, "masks" in request.include)
        answer = await self._in_time(host, self._answer(turn, request, everything))
        lowest = [(thresholds or {}).get(label, request.min_score) for label in answer.labels]
        found = [one for one in answer.found if one.score >= lowest[one.label]]
        size = image.width, image.height
        tidy = partial(merge.tidy, found, answer.labels, everything, size, request.iou_threshold)
        objects, notes = await anyio.to_thread.run_sync(tidy)
        return Detections(model=answer.model, objects=tuple(objects), notes=(*answer.notes, *notes))

    async def describe(
        self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
    ) -> Detections:
        """Tell more of given boxes, by models of their own; see `Describing.describe`.

        Raises:
            BusyError, DeadlineError, BackendError: see each.
            SettingsError: there is no such model or device.
            ImageError: the picture is damaged.
        """
        return await self._describing.describe(image, objects, include, call)

    async def follow(self, frames: Sequence[Picture], boxes: Sequence[Box], call: Call) -> Followed:
        """Follow what is in the boxes of a first frame through those after it; see `Following.follow`.

        Raises:
            UnsupportedError: the extra is not installed, or the model for masks has no memory.
            BusyError, DeadlineError, BackendError: see each.
            SettingsError: there is no such model or device.
            ImageError: a frame is damaged.
        """
        return await self._following.follow(frames, boxes, call)

    async def embed(self, image: Picture, request: DetectionRequest, call: Call) -> Embedding:
        """Keep how the request's examples look to its model.

        Raises:
            UnsupportedError: the extra is not installed, or the model knows no saved prompts.
            InputError: an example is negative, or lies outside its picture.
            BusyError, DeadlineError, BackendError: see each.
        """
        host, call = await self._ready(request.model, request.needs | {"saved prompts"}, frozenset(), call)
        return await self._in_time(host, examples.embed(Turn(host, image, call), request.examples))

    async def load(self, model: str | None = None, progress: Progress = silent) -> str:
        """Fetch and load a model before the first question needs it; gives its name.

        Raises:
            BackendError: it cannot be had, or does not load.
        """
        host = await self._hosts.get(model or self._settings.model)
        return await host.ask(lambda loaded, _: loaded.name, progress=progress)

    async def aclose(self) -> None:
        """Stop what runs, and unload all models."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._hosts.aclose)
            group.start_soon(self._describing.aclose)
            group.start_soon(self._following.aclose)

    async def _answer(self, turn: Turn, request: DetectionRequest, everything: Vocabulary | None) -> Answer:
        """Put the question of its kind to the model."""
        if request.description is not None:
            return await requests.find_described(turn, request.description)
        if request.examples and request.prompts is None:
            return await examples.find(turn, request.examples)
        asked = everything.nouns if everything else request.prompts or ()
        if request.caption is None:
            return await requests.find(turn, asked, self._labels)
        if "descriptions" in (await self._hosts.know(turn.host, turn.call)).able.answers:
            return await requests.ground(turn, request.caption, asked, self._labels)
        return requests.alone(await requests.find(turn, asked, self._labels))

    async def _ready(
        self, model: str | None, needs: frozenset[Need], include: frozenset[Output], call: Call
    ) -> tuple[Host, Call]:
        """Have a model loaded that can do what is asked."""
        call = replace(call, progress=rising(call.progress))
        host = await self._hosts.get(model or self._settings.model)
        known = await self._hosts.know(host, call)
        abilities.require(known.able, known.name, needs, include)
        return host, call

    async def _in_time(self, host: Host, question: Awaitable[T]) -> T:
        """Wait for an answer, but not for ever."""
        with anyio.move_on_after(self._settings.timeout_s):
            return await question
        kept = "the picture and most labels" if host.keeps_labels else "the picture"
        raise DeadlineError(
            f"the model gave no answer within {self._settings.timeout_s:g} s; ask again (what it made of {kept} is "
            "kept), ask for fewer labels, choose a faster model (DINOX_MCP_MODEL=fast), or raise DINOX_MCP_TIMEOUT_S"
        )

    async def _vocabulary(self) -> Vocabulary:
        path = self._settings.vocabulary
        return await anyio.to_thread.run_sync(lambda: vocabularies.read(path) if path else self._built_in)

    @cached_property
    def _built_in(self) -> Vocabulary:
        return vocabularies.built_in()


def _about(model: str) -> str:
    preset = presets.PRESETS.get(model)
    return f"{preset.repo}, {preset.licence}; {preset.good_for}" if preset else ""
