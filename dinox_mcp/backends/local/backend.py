"""The backend: labels and a picture go in, detections come out of a model that runs in this process."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from dinox_mcp.backends.base import Call, Capabilities, Progress, silent
from dinox_mcp.backends.base import Model as Offer
from dinox_mcp.backends.local import extra, merge, presets
from dinox_mcp.backends.local import vocabulary as vocabularies
from dinox_mcp.backends.local.caches import ImageStates, LabelStates
from dinox_mcp.backends.local.families.base import Found, ImageState
from dinox_mcp.backends.local.host import Host
from dinox_mcp.backends.local.model import Loaded, Model
from dinox_mcp.backends.local.room import Room
from dinox_mcp.backends.local.source import Checkpoint, has_masks
from dinox_mcp.backends.local.vocabulary import Vocabulary
from dinox_mcp.errors import DeadlineError, UnsupportedError
from dinox_mcp.images.picture import Picture
from dinox_mcp.schema import Detection, DetectionRequest, Detections
from dinox_mcp.settings import Settings

if TYPE_CHECKING:
    import torch

_QUICK = 50
"""Labels that take milliseconds to embed and to find, where the model reuses text."""


@dataclass(frozen=True, slots=True)
class _Start:
    """What the first turn with the model gives: the first part's findings, and what the other parts need.

    It does not hold the model, which may have to leave memory between two parts.
    """

    model: str
    notes: list[str]
    masks: bool
    state: ImageState
    parts: list[list[int]]
    found: list[Found]


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
        self._models = models or partial(Checkpoint, settings=settings)
        self._labels_folder = cache
        self._room = Room(settings.models_max_bytes)
        self._states = ImageStates(settings.features_max_bytes)
        self._labels: dict[Host, LabelStates] = {}  # while its model is loaded; the disk has them for longer
        self._hosts: dict[Hashable, Host] = {}
        self._named: dict[str | None, Host] = {}  # several names may mean one model

    def capabilities(self, model: str | None = None) -> Capabilities:
        """Any noun, and everything; masks where the model has them."""
        return _able(self._settings.model if model is None else model)

    def models(self) -> tuple[Offer, ...]:
        """The model of the settings, and the presets."""
        names = dict.fromkeys((self._settings.model or "balanced", *presets.PRESETS))
        loaded = {host for host in self._hosts.values() if host.ready}
        return tuple(Offer(name, _able(name), _about(name), self._named.get(name) in loaded) for name in names)

    async def detect(
        self,
        image: Picture,
        request: DetectionRequest,
        call: Call,
        *,
        thresholds: Mapping[str, float] | None = None,
    ) -> Detections:
        """Find the prompted objects, or those of the vocabulary.

        Python users may give `thresholds`: the lowest score by label, where it is another than the request's.

        Raises:
            UnsupportedError: the extra is not installed, or the model has no masks.
            BusyError, DeadlineError, BackendError: see each.
            SettingsError: there is no such model, device or vocabulary.
            ImageError: the picture is damaged.
        """
        call = replace(call, progress=_rising(call.progress))
        host = await self._host(request.model or self._settings.model)
        everything = await self._vocabulary() if request.prompts is None else None
        labels = everything.nouns if everything else request.prompts or ()
        least = min([request.min_score, *(thresholds or {}).values()])
        if not host.ready:
            await host.ask(lambda _loaded, _state: None, client=call.client, progress=call.progress)
        with anyio.move_on_after(self._settings.timeout_s) as limit:
            start, found = await self._find(host, image, labels, least, call)
        if limit.cancelled_caught:
            kept = "the picture and most labels" if host.keeps_labels else "the picture"
            raise DeadlineError(
                f"the model gave no answer within {self._settings.timeout_s:g} s; ask again (what it made of "
                f"{kept} is kept), ask for fewer labels, choose a faster model "
                "(DINOX_MCP_MODEL=fast), or raise DINOX_MCP_TIMEOUT_S"
            )
        masks = "masks" in request.include
        if masks and not start.masks:
            raise UnsupportedError(
                f"the model {start.model} has no masks; ask without include=['masks'], or choose DINOX_MCP_MODEL=sam3"
            )
        lowest = [(thresholds or {}).get(label, request.min_score) for label in labels]
        found = [one for one in found if one.score >= lowest[one.label]]
        size = image.width, image.height
        tidy = partial(_tidy, found, labels, everything, size, request.iou_threshold, masks=masks)
        objects, merged = await anyio.to_thread.run_sync(tidy)
        return Detections(
            model=start.model,
            objects=tuple(objects),
            notes=(*start.notes, *_notes(everything, len(start.parts), merged)),
        )

    async def load(self, model: str | None = None, progress: Progress = silent) -> str:
        """Fetch and load a model before the first question needs it; gives its name.

        Raises:
            BackendError: it cannot be had, or does not load.
        """
        host = await self._host(model or self._settings.model)
        return await host.ask(lambda loaded, _state: loaded.name, progress=progress)

    async def aclose(self) -> None:
        """Stop what runs, and unload all models."""
        async with anyio.create_task_group() as group:
            for host in self._hosts.values():
                group.start_soon(host.aclose)

    async def _find(
        self, host: Host, image: Picture, labels: Sequence[str], least: float, call: Call
    ) -> tuple[_Start, list[Found]]:
        """Ask for all labels, part by part where the model cannot read them at once; others come in between."""

        def find(loaded: Loaded, state: ImageState, part: Sequence[int]) -> list[Found]:
            """Find some of the labels. Runs in the model's thread."""
            asked = [labels[place] for place in part]
            embeddings = self._embed(host, loaded, asked) if loaded.adapter.reuses_text else None
            found = loaded.adapter.find(state, asked, embeddings, least)
            return [Found(part[one.label], one.score, one.bbox, one.mask) for one in found]

        def begin(loaded: Loaded, state: ImageState) -> _Start:
            parts = loaded.adapter.chunks(labels)
            notes = [*loaded.notes]
            if cut := [labels[place] for place in loaded.adapter.overlong(labels)]:
                notes.append(f"the model reads only the beginning of {_few(cut)}; shorter labels are read whole")
            found = find(loaded, state, parts[0])
            return _Start(loaded.name, notes, loaded.adapter.masks, state, parts, found)

        start = await host.ask(
            begin, picture=image, quick=len(labels) <= _QUICK, client=call.client, progress=call.progress
        )
        found = start.found
        for number, part in enumerate(start.parts[1:], start=1):
            await call.progress(0.6 + 0.4 * number / len(start.parts), f"part {number + 1} of {len(start.parts)}")
            found += await host.ask(
                partial(find, part=part), state=start.state, client=call.client, progress=call.progress
            )
        return start, found

    def _embed(self, host: Host, loaded: Loaded, labels: Sequence[str]) -> "torch.Tensor":
        import torch

        states = self._labels.get(host)
        if states is None:
            states = self._labels[host] = LabelStates(self._cache, loaded.fingerprint)

        def tell(done: int, total: int) -> None:
            host.tell(0.5, f"reading the labels, {done} of {total}")

        return torch.from_numpy(states.rows(labels, loaded.adapter.embed, tell))

    async def _host(self, name: str | None) -> Host:
        extra.require()
        if name not in self._named:
            model = self._models(name)
            identity = await anyio.to_thread.run_sync(model.identify, abandon_on_cancel=True)  # may import torch
            host = Host(
                model,
                self._room,
                self._states,
                queue_max=self._settings.queue_max,
                idle_s=self._settings.idle_unload_s,
                unloaded=lambda host: self._labels.pop(host, None),
            )
            self._named[name] = self._hosts.setdefault(identity, host)
        return self._named[name]

    async def _vocabulary(self) -> Vocabulary:
        path = self._settings.vocabulary
        return await anyio.to_thread.run_sync(lambda: vocabularies.read(path) if path else self._built_in)

    @cached_property
    def _built_in(self) -> Vocabulary:
        return vocabularies.built_in()

    @cached_property
    def _cache(self) -> Path:
        from platformdirs import user_cache_path

        return self._labels_folder or user_cache_path("dinox-mcp") / "labels"


def _able(model: str | None) -> Capabilities:
    """A model with masks takes seconds for each label, so it is not asked for a thousand."""
    if has_masks(model):
        return Capabilities(answers=frozenset({"text prompts"}), outputs=frozenset({"masks"}))
    return Capabilities()


def _about(model: str) -> str:
    preset = presets.PRESETS.get(model)
    return f"{preset.repo}, {preset.licence}; {preset.good_for}" if preset else ""


def _rising(progress: Progress) -> Progress:
    """Let progress never go back, which clients may not take, whatever the turns with the model report."""
    highest = 0.0

    async def report(fraction: float, message: str) -> None:
        nonlocal highest
        highest = max(highest, fraction)
        await progress(highest, message)

    return report


def _tidy(
    found: Sequence[Found],
    labels: Sequence[str],
    everything: Vocabulary | None,
    size: tuple[int, int],
    iou_threshold: float,
    *,
    masks: bool,
) -> tuple[list[Detection], int]:
    """Make detections of findings, and count those that were a second name for a thing. Slow: not for the loop."""
    names = everything.names if everything else labels
    objects = merge.detections(found, names, size, iou_threshold, masks=masks)
    if everything is None:
        return objects, 0
    once = merge.name_once(objects, everything)
    return once, len(objects) - len(once)


def _notes(everything: Vocabulary | None, parts: int, merged: int) -> list[str]:
    notes = []
    if everything:
        notes.append(f"looked for {len(everything.nouns)} nouns; what is not among them needs a prompt")
    if parts > 1:
        notes.append(f"the labels were asked for in {parts} parts, as the model reads so many at a time")
    if merged:
        notes.append(f"{merged} {'box was' if merged == 1 else 'boxes were'} a second name for a thing and left out")
    return notes


def _few(labels: Sequence[str]) -> str:
    quoted = ", ".join(repr(f"{label[:40]}…" if len(label) > 41 else label) for label in labels[:3])  # noqa: PLR2004
    return f"{quoted} and {len(labels) - 3} more" if len(labels) > 3 else quoted  # noqa: PLR2004 - as many as quoted
