"""Describe objects: masks, poses, captions, categories and texts, each by a model for it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import anyio

from dinox_mcp.backends.base import Call, Progress
from dinox_mcp.backends.local.checkpoints.presets import Role, chosen
from dinox_mcp.backends.local.models.base import DescribingModel, Features, Loaded
from dinox_mcp.backends.local.runtime.pool import Workers
from dinox_mcp.backends.local.runtime.requests import rising
from dinox_mcp.errors import DeadlineError
from dinox_mcp.images.picture import Picture
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

Nouns that mean things as often (coach, model, speaker) are left out.
"""
_PLURALS = {"people": "person", "men": "man", "women": "woman", "children": "child", "babies": "baby", "ladies": "lady"}
_DEVICES = frozenset(("record", "cd", "dvd", "mp3", "music", "media", "cassette", "video", "audio", "blu-ray", "vinyl"))
"""Before "player", these make it a device."""
_THINGS = frozenset(("crossing", "clothing", "building", "swing", "ring", "earring", "wing", "string", "setting"))
"""Nouns that end like a verb form."""
_AFTER = frozenset(("in", "on", "at", "with", "of", "by", "from", "near", "behind", "under", "and", "or", "who", "to"))


def is_person(label: str) -> bool:
    """Return whether a label means a person, by its main noun."""
    words = re.findall(r"[\w'-]+", label.casefold().replace("_", " ").partition(",")[0])
    if not words or words[-1] in _THINGS:
        return False
    ends = (index for index, word in enumerate(words) if index and (word in _AFTER or word.endswith("ing")))
    *before, noun = words[: next(ends, len(words))]
    if noun.rstrip("s") == "player" and before and before[-1] in _DEVICES:
        return False
    return any(form in PEOPLE for form in _singulars(noun))


def _singulars(noun: str) -> tuple[str, ...]:
    if noun.endswith("men"):
        return (noun[:-3] + "man",)
    return noun, _PLURALS.get(noun, noun.removesuffix("s")), noun.removesuffix("es")


@dataclass(frozen=True, slots=True)
class _Kind:
    """An output: the role of the model that gives it, what one and several are called, and the field for it."""

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
_ENCODED = 0.4  # of the progress of one output: the share that a worker reports until the image is encoded
DESCRIBES: frozenset[Output] = frozenset(_KINDS)
"""The outputs that this backend can give of any boxes."""


@dataclass(slots=True)
class _Description:
    """What is known so far: fields by the index of the object, outputs by the model that gave them, and notes."""

    fields: dict[int, dict[str, Any]] = field(default_factory=dict)
    models: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    complete: bool = True


@dataclass(frozen=True, slots=True)
class _First:
    """What the first request to a model returns. It does not hold the model, which may leave memory in between."""

    model: str
    notes: tuple[str, ...]
    features: Features
    at_once: int


async def describe(
    workers: Workers, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
) -> Detections:
    """Return the same objects in the same order, with the outputs filled in.

    Poses are for objects whose label means a person. An object outside the image stays as it is. Each output may take
    `timeout_s`, after its model is loaded; what is known by then is kept, and a note says what is missing.

    Raises:
        DeadlineError: nothing was known by then.
        SettingsError: there is no such model or device.
        BackendError: a model cannot be fetched, does not load, or fails.
        ImageError: the image is damaged.
    """
    known, call = _Description(), replace(call, progress=rising(call.progress))
    clipped = [clip(thing.bbox, image.width, image.height) for thing in objects]
    boxes = {index: box for index, box in enumerate(clipped) if area(box) > 0}
    if outside := len(objects) - len(boxes):
        known.notes.append(f"{outside} of {len(objects)} boxes lie outside the image and were left as they are")
    outputs = [output for output in _KINDS if output in include]
    for step, output in enumerate(outputs):
        suited = boxes
        if output == "pose":
            suited = {index: box for index, box in boxes.items() if is_person(objects[index].label)}
            if boxes and not suited:
                known.notes.append("no object is a person by its label, so there are no poses")
        part = partial(_within, call.progress, step / len(outputs), (step + 1) / len(outputs))
        if suited:
            await _describe(workers, image, suited, output, replace(call, progress=part), known)
    shares = [f"{' and '.join(kinds)} by {model}" for model, kinds in known.models.items()]
    return Detections(
        model=" + ".join(known.models),
        objects=tuple(_with(thing, known.fields.get(index, {})) for index, thing in enumerate(objects)),
        notes=(*(shares if len(shares) > 1 else ()), *known.notes),
        complete=known.complete,
    )


async def _describe(
    workers: Workers, image: Picture, boxes: Mapping[int, Box], output: Output, call: Call, known: _Description
) -> None:
    """Get one output of all boxes, some at a time; other requests run in between."""
    kind, indices, settings = _KINDS[output], list(boxes), workers.settings
    worker = await workers.get(chosen(settings)[kind.role], kind.role)
    request = partial(worker.run, client=call.client, progress=call.progress)
    if not worker.ready:
        await request(lambda _loaded, _features: None)

    def begin(loaded: Loaded, features: Features) -> _First:
        return _First(loaded.name, loaded.notes, features, loaded.model.at_once)

    def work(loaded: Loaded, features: Features, *, start: int, part: Sequence[int]) -> Sequence[Any]:
        worker.report(*_progress(kind, start, len(indices)))
        model: DescribingModel = loaded.model
        return model.describe(features, [boxes[index] for index in part], output)

    done = 0
    with anyio.move_on_after(settings.timeout_s) as limit:
        first = await request(begin, image=image)
        known.models.setdefault(first.model, []).append(kind.several)
        known.notes.extend(f"{kind.several} were {note}" for note in first.notes)
        for start in range(0, len(indices), first.at_once):
            part = indices[start : start + first.at_once]
            await call.progress(*_progress(kind, start, len(indices)))
            values = await request(partial(work, start=start, part=part), features=first.features)
            for index, value in zip(part, values, strict=True):
                known.fields.setdefault(index, {})[kind.field] = value
            done += len(part)
    if limit.cancelled_caught:
        missing = (
            f"within {settings.timeout_s:g} s there were {done} of {len(indices)} {kind.several}; ask again for fewer "
            "objects, or raise DINOX_MCP_TIMEOUT_S"
        )
        if not known.fields:
            raise DeadlineError(missing)
        known.notes.append(missing)
        known.complete = False


async def _within(progress: Progress, low: float, high: float, fraction: float, message: str) -> None:
    """Report the progress of one output as a part of the progress of all."""
    await progress(low + (high - low) * fraction, message)


def _progress(kind: _Kind, start: int, total: int) -> tuple[float, str]:
    return _ENCODED + (1 - _ENCODED) * start / total, f"{kind.one} {start + 1} of {total}"


def _with(thing: Detection, fields: Mapping[str, Any]) -> Detection:
    """Fill in the fields of an object; a pose replaces an older one and keeps the hands."""
    known = {name: value for name, value in fields.items() if value is not None}
    if "keypoints" in known:
        hands = tuple(point for point in thing.keypoints if point.name not in BODY)
        known["keypoints"] = (*known["keypoints"], *hands)
    return thing.model_copy(update=known)
