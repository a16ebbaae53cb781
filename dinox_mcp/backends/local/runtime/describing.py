"""From boxes to more known of each: which model describes what, and the way of a call through it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import anyio

from dinox_mcp.backends.base import Call, Progress
from dinox_mcp.backends.local import extra
from dinox_mcp.backends.local.checkpoints.presets import Role, chosen
from dinox_mcp.backends.local.checkpoints.source import Checkpoint
from dinox_mcp.backends.local.models.base import ImageState
from dinox_mcp.backends.local.models.interfaces import Describer, Loaded, Model
from dinox_mcp.backends.local.runtime.caches import ImageStates, Room
from dinox_mcp.backends.local.runtime.queue import closed
from dinox_mcp.backends.local.runtime.requests import rising
from dinox_mcp.backends.local.runtime.worker import Host
from dinox_mcp.errors import DeadlineError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import Box, area, clip
from dinox_mcp.types.detection import Detection, Detections, Output
from dinox_mcp.types.keypoints import BODY

_NOUNS = """\
person man woman child kid boy girl baby toddler infant teenager adult human guy lady gentleman people someone
pedestrian passerby cyclist bicyclist biker motorcyclist rider jockey driver passenger tourist
player athlete runner jogger swimmer surfer skier snowboarder skater skateboarder climber hiker dancer gymnast
wrestler goalkeeper goalie referee umpire batter golfer
worker farmer soldier policeman policewoman officer firefighter fireman doctor nurse surgeon patient chef cook
waiter waitress teacher student pupil singer musician guitarist drummer artist painter photographer actor actress
bride groom father mother dad mom son daughter brother sister grandfather grandmother
fisherman cowboy clown astronaut pilot sailor butcher baker barber mechanic carpenter craftsman businessman
businesswoman salesman spectator customer shopper visitor guest
"""
PEOPLE = frozenset(re.findall(r"\w+", _NOUNS))
"""Nouns in the singular; a label that has words before or after them means a person too ("man in red", "old lady").

Nouns that are things as often (coach, model, speaker) are left out.
"""
_PLURALS = {"people": "person", "men": "man", "women": "woman", "children": "child", "babies": "baby", "ladies": "lady"}
_DEVICES = frozenset(("record", "cd", "dvd", "mp3", "music", "media", "cassette", "video", "audio", "blu-ray", "vinyl"))
"""What before "player" makes it a thing."""
_THINGS = frozenset(("crossing", "clothing", "building", "swing", "ring", "earring", "wing", "string", "setting"))
"""Nouns that look as if they said what somebody does."""
_AFTER = frozenset(("in", "on", "at", "with", "of", "by", "from", "near", "behind", "under", "and", "or", "who", "to"))


def is_person(label: str) -> bool:
    """Tell whether a label means one person or each of several: its main noun decides."""
    words = re.findall(r"[\w'-]+", label.casefold().replace("_", " ").partition(",")[0])
    if not words or words[-1] in _THINGS:
        return False
    ends = (place for place, word in enumerate(words) if place and (word in _AFTER or word.endswith("ing")))
    *before, noun = words[: next(ends, len(words))]
    if noun.rstrip("s") == "player" and before and before[-1] in _DEVICES:
        return False
    return any(form in PEOPLE for form in _singulars(noun))


def _singulars(noun: str) -> tuple[str, ...]:
    if noun.endswith("men"):
        return (noun[:-3] + "man",)
    return noun, _PLURALS.get(noun, noun.removesuffix("s")), noun.removesuffix("es")


Make = Callable[[str | None, Role], Model[Describer]]


@dataclass(frozen=True, slots=True)
class _Kind:
    """An output: the role of the model that gives it, what one and several are called, the field that it goes into."""

    role: Role
    one: str
    several: str
    field: str


_KINDS: dict[Output, _Kind] = {
    "masks": _Kind("masks", "mask", "masks", "mask"),
    "pose": _Kind("pose", "pose", "poses", "keypoints"),
    "caption": _Kind("caption", "caption", "captions", "caption"),
    "category": _Kind("caption", "category", "categories", "category"),
    "text": _Kind("caption", "text", "texts", "text"),
}
_SEEN = 0.4  # of the progress of one output: as far as the host counts, until the model has looked at the picture
DESCRIBES: frozenset[Output] = frozenset(_KINDS)
"""What this backend can tell of any boxes."""


@dataclass(slots=True)
class _Told:
    """What has become known so far: fields by the object's place, models by what they gave, and notes."""

    fields: dict[int, dict[str, Any]] = field(default_factory=dict)
    models: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    complete: bool = True


@dataclass(frozen=True, slots=True)
class _Start:
    """What the first turn with a model gives. It does not hold the model, which may leave memory between two parts."""

    model: str
    notes: tuple[str, ...]
    state: ImageState
    at_once: int


class Describing:
    """Asks models that tell more of given boxes, each in a thread of its own; see `host`.

    They share `room` and `states` with the models that find objects. `models` makes a model of a name, which is None
    for the default, and a role; tests give their own. Needs asyncio.
    """

    def __init__(self, settings: Settings, room: Room, states: ImageStates, models: Make | None = None) -> None:
        self._settings = settings
        self._room = room
        self._states = states
        self._models = models or (lambda name, role: Checkpoint(name, settings, role=role))
        self._hosts: dict[Role, Host[Describer]] = {}
        self._closed = False

    async def describe(
        self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
    ) -> Detections:
        """Give the same objects in the same order with more known of each.

        Poses are for objects whose label means a person. An object outside the picture stays as it is. Each output may
        take `timeout_s`, after its model is loaded; what is known by then is kept, and a note says what is missing.

        Raises:
            DeadlineError: nothing was known by then.
            SettingsError: there is no such model or device.
            BackendError: a model cannot be had, does not load, or fails.
            ImageError: the picture is damaged.
        """
        told, call = _Told(), replace(call, progress=rising(call.progress))
        frame = [clip(thing.bbox, image.width, image.height) for thing in objects]
        boxes = {place: box for place, box in enumerate(frame) if area(box) > 0}
        if outside := len(objects) - len(boxes):
            told.notes.append(f"{outside} of {len(objects)} boxes lie outside the picture and were left as they are")
        outputs = [output for output in _KINDS if output in include]
        for step, output in enumerate(outputs):
            wanted = boxes
            if output == "pose":
                wanted = {place: box for place, box in boxes.items() if is_person(objects[place].label)}
                if boxes and not wanted:
                    told.notes.append("no object is a person by its label, so there are no poses")
            part = partial(_within, call.progress, step / len(outputs), (step + 1) / len(outputs))
            await self._tell(image, wanted, output, replace(call, progress=part), told)
        return Detections(
            model=" + ".join(told.models),
            objects=tuple(_with(thing, told.fields.get(place, {})) for place, thing in enumerate(objects)),
            notes=(*_shares(told.models), *told.notes),
            complete=told.complete,
        )

    async def aclose(self) -> None:
        """Stop what runs, and unload all models."""
        self._closed = True
        async with anyio.create_task_group() as group:
            for host in self._hosts.values():
                group.start_soon(host.aclose)

    async def _tell(self, image: Picture, boxes: Mapping[int, Box], output: Output, call: Call, told: _Told) -> None:
        """Ask for one output of all boxes, some at a time; others come in between."""
        if not boxes:
            return
        kind, places = _KINDS[output], list(boxes)
        host = self._host(kind.role)
        if not host.ready:
            await host.ask(lambda _loaded, _state: None, client=call.client, progress=call.progress)

        def begin(loaded: Loaded[Describer], state: ImageState) -> _Start:
            return _Start(loaded.name, loaded.notes, state, loaded.adapter.at_once)

        def work(loaded: Loaded[Describer], state: ImageState, *, start: int, part: Sequence[int]) -> list[Any]:
            host.tell(_SEEN + (1 - _SEEN) * start / len(places), _which(kind, start, places))
            return loaded.adapter.describe(state, [boxes[place] for place in part], output)

        done = 0
        with anyio.move_on_after(self._settings.timeout_s) as limit:
            first = await host.ask(begin, picture=image, client=call.client, progress=call.progress)
            told.models.setdefault(first.model, []).append(kind.several)
            told.notes.extend(f"{kind.several} were {note}" for note in first.notes)
            for start in range(0, len(places), first.at_once):
                part = places[start : start + first.at_once]
                await call.progress(_SEEN + (1 - _SEEN) * start / len(places), _which(kind, start, places))
                values = await host.ask(
                    partial(work, start=start, part=part), state=first.state, client=call.client, progress=call.progress
                )
                for place, value in zip(part, values, strict=True):
                    told.fields.setdefault(place, {})[kind.field] = value
                done += len(part)
        if limit.cancelled_caught:
            self._note_lateness(kind, done, len(places), told)

    def _note_lateness(self, kind: _Kind, done: int, total: int, told: _Told) -> None:
        missing = (
            f"within {self._settings.timeout_s:g} s there were {done} of {total} {kind.several}; ask again for fewer "
            "objects, or raise DINOX_MCP_TIMEOUT_S"
        )
        if not told.fields:
            raise DeadlineError(missing)
        told.notes.append(missing)
        told.complete = False

    def _host(self, role: Role) -> Host[Describer]:
        extra.require()
        if self._closed:
            raise closed()
        if role not in self._hosts:
            self._hosts[role] = Host(
                self._models(chosen(self._settings)[role], role),
                self._room,
                self._states,
                queue_max=self._settings.queue_max,
                idle_s=self._settings.idle_unload_s,
            )
        return self._hosts[role]


async def _within(progress: Progress, low: float, high: float, fraction: float, message: str) -> None:
    """Report a fraction of one output as one of the whole."""
    await progress(low + (high - low) * fraction, message)


def _shares(models: Mapping[str, Sequence[str]]) -> list[str]:
    """Say who did what, where there are several."""
    return [f"{' and '.join(kinds)} by {model}" for model, kinds in models.items()] if len(models) > 1 else []


def _which(kind: _Kind, start: int, places: Sequence[int]) -> str:
    return f"{kind.one} {start + 1} of {len(places)}"


def _with(thing: Detection, fields: Mapping[str, Any]) -> Detection:
    """Add what is known to an object; a pose replaces an older one and leaves the hands."""
    known = {name: value for name, value in fields.items() if value is not None}
    if "keypoints" in known:
        hands = tuple(point for point in thing.keypoints if point.name not in BODY)
        known["keypoints"] = (*known["keypoints"], *hands)
    return thing.model_copy(update=known)
