"""Describe boxes by models for that: masks, poses, captions, categories and texts in an image, and masks in a video."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import anyio

from dinox_mcp.backends.base import Call, Followed, Progress
from dinox_mcp.backends.local.checkpoints.presets import Role, chosen
from dinox_mcp.backends.local.models.base import DescribingModel, Features, FollowingModel, Loaded
from dinox_mcp.backends.local.naming import is_person
from dinox_mcp.backends.local.runtime.requests import rising
from dinox_mcp.backends.local.runtime.worker import Worker
from dinox_mcp.errors import DeadlineError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import Box, area, clip
from dinox_mcp.types.detection import Detection, Detections, Mask, Output
from dinox_mcp.types.keypoints import BODY

T = TypeVar("T")
GetWorker = Callable[..., Awaitable[Worker]]
"""Returns the worker of a model by its name and role; see `backend.Workers.get`."""


class _Kind(NamedTuple):
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


class _First(NamedTuple):
    """What the first request to a model returns; not the model, which may leave memory in between.

    `state` is the features of an image, or a memory for each group of objects in a video.
    """

    model: str
    notes: tuple[str, ...]
    state: Any
    at_once: int


async def describe(
    get: GetWorker,
    settings: Settings,
    image: Picture,
    objects: Sequence[Detection],
    include: frozenset[Output],
    call: Call,
) -> Detections:
    """Return the same objects in the same order, with the outputs filled in.

    Poses are for objects whose label means a person. An object outside the image stays as it is. Each output may take
    `timeout_s`, after its model is loaded; what is known by then is kept, and a note says what is missing.

    Raises:
        DeadlineError: nothing was known by then.
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
        part = partial(_part, call.progress, step, len(outputs), "")
        if suited:
            role = _KINDS[output].role
            worker = await get(chosen(settings)[role], role)
            await _describe(worker, image, suited, output, replace(call, progress=part), known, settings.timeout_s)
    shares = [f"{' and '.join(kinds)} by {model}" for model, kinds in known.models.items()]
    return Detections(
        model=" + ".join(known.models),
        objects=tuple(_with(thing, known.fields.get(index, {})) for index, thing in enumerate(objects)),
        notes=(*(shares if len(shares) > 1 else ()), *known.notes),
        complete=known.complete,
    )


async def _describe(
    worker: Worker,
    image: Picture,
    boxes: Mapping[int, Box],
    output: Output,
    call: Call,
    known: _Description,
    timeout_s: float,
) -> None:
    """Get one output of all boxes, some at a time; other requests run in between."""
    kind, indices = _KINDS[output], list(boxes)
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
    with anyio.move_on_after(timeout_s) as limit:
        first = await request(begin, image=image)
        known.models.setdefault(first.model, []).append(kind.several)
        known.notes.extend(f"{kind.several} were {note}" for note in first.notes)
        for start in range(0, len(indices), first.at_once):
            part = indices[start : start + first.at_once]
            await call.progress(*_progress(kind, start, len(indices)))
            values = await request(partial(work, start=start, part=part), features=first.state)
            for index, value in zip(part, values, strict=True):
                known.fields.setdefault(index, {})[kind.field] = value
            done += len(part)
    if limit.cancelled_caught:
        missing = (
            f"within {timeout_s:g} s there were {done} of {len(indices)} {kind.several}; try again with fewer "
            "objects, or raise DINOX_MCP_TIMEOUT_S"
        )
        if not known.fields:
            raise DeadlineError(missing)
        known.notes.append(missing)
        known.complete = False


async def _part(progress: Progress, number: int, total: int, title: str, fraction: float, message: str) -> None:
    """Report the progress of one part of several, with the title of the part instead of the message, if it has one."""
    await progress((number + fraction) / total, title or message)


def _progress(kind: _Kind, start: int, total: int) -> tuple[float, str]:
    return _ENCODED + (1 - _ENCODED) * start / total, f"{kind.one} {start + 1} of {total}"


def _with(thing: Detection, fields: Mapping[str, Any]) -> Detection:
    """Fill in the fields of an object; a pose replaces an older one and keeps the hands."""
    known = {name: value for name, value in fields.items() if value is not None}
    if "keypoints" in known:
        hands = tuple(point for point in thing.keypoints if point.name not in BODY)
        known["keypoints"] = (*known["keypoints"], *hands)
    return thing.model_copy(update=known)


async def follow(
    get: GetWorker, settings: Settings, frames: Sequence[Picture], boxes: Sequence[Box], call: Call
) -> Followed:
    """Return the masks of what is in the boxes of the first frame, in each frame.

    Objects are followed some at a time within a frame, so that other requests run in between and a cancelled call stops
    soon. Each such step may take `timeout_s`, after the model is loaded.

    Raises:
        DeadlineError: a step took longer.
    """
    call = replace(call, progress=rising(call.progress))
    worker = await get(chosen(settings)["masks"], "masks", follows=True)
    size = frames[0].width, frames[0].height

    def begin(loaded: Loaded, _features: None) -> _First:
        model: FollowingModel = loaded.model
        groups = [boxes[start : start + model.at_once] for start in range(0, len(boxes), model.at_once)]
        notes = tuple(f"masks were {note}" for note in loaded.notes)
        return _First(loaded.name, notes, [model.remember(group, size) for group in groups], model.at_once)

    first = await worker.run(begin, client=call.client, progress=call.progress)
    masks: list[tuple[Mask | None, ...]] = []
    for number, frame in enumerate(frames):
        progress = partial(_part, call.progress, number, len(frames), f"frame {number + 1} of {len(frames)}")
        await progress(0.0, "")
        step = replace(call, progress=progress)
        masks.append(await _follow_frame(worker, frame, first.state, step, settings.timeout_s))
    return Followed(first.model, tuple(masks), first.notes)


async def _follow_frame(
    worker: Worker, frame: Picture, memories: Sequence[Any], call: Call, timeout_s: float
) -> tuple[Mask | None, ...]:
    """Follow all objects into one frame, which is encoded once."""

    def follow(loaded: Loaded, features: Features, *, memory: Any) -> list[Mask | None]:  # noqa: ANN401 - a family's own
        model: FollowingModel = loaded.model
        return model.follow(features, memory)

    request = partial(worker.run, client=call.client, progress=call.progress)
    features = await _in_time(request(lambda _loaded, features: features, image=frame), timeout_s)
    masks: list[Mask | None] = []
    for memory in memories:
        masks += await _in_time(request(partial(follow, memory=memory), features=features), timeout_s)
    return tuple(masks)


async def _in_time(step: Awaitable[T], timeout_s: float) -> T:
    with anyio.move_on_after(timeout_s):
        return await step
    raise DeadlineError(
        f"a few masks in one frame took more than {timeout_s:g} s; try again when less is going on, choose a smaller "
        "model (DINOX_MCP_MASKS_MODEL=sam2.1-tiny), or raise DINOX_MCP_TIMEOUT_S"
    )
