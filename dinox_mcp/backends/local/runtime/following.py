"""Follow objects through a video: from boxes in a first frame to masks in all, frame by frame."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import anyio

from dinox_mcp.backends.base import Call, Followed, Progress
from dinox_mcp.backends.local.checkpoints.presets import chosen
from dinox_mcp.backends.local.models.base import Features, FollowingModel, Loaded
from dinox_mcp.backends.local.runtime.pool import Workers
from dinox_mcp.backends.local.runtime.requests import rising
from dinox_mcp.backends.local.runtime.worker import Worker
from dinox_mcp.errors import DeadlineError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Mask

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _First:
    """What the first request to a model returns: its name and notes, and a memory for each group of objects."""

    model: str
    notes: tuple[str, ...]
    memories: list[Any]


async def follow(workers: Workers, frames: Sequence[Picture], boxes: Sequence[Box], call: Call) -> Followed:
    """Return the masks of what is in the boxes of the first frame, in each frame.

    Objects are followed some at a time within a frame, so that other requests run in between and a cancelled call stops
    soon. Each such step may take `timeout_s`, after the model is loaded.

    Raises:
        DeadlineError: a step took longer.
        SettingsError: there is no such model or device.
        BackendError: the model cannot be fetched, does not load, or fails.
        ImageError: a frame is damaged.
    """
    call = replace(call, progress=rising(call.progress))
    worker = await workers.get(chosen(workers.settings)["masks"], "masks", follows=True)
    begin = partial(_begin, boxes=boxes, size=(frames[0].width, frames[0].height))
    first = await worker.run(begin, client=call.client, progress=call.progress)
    masks: list[tuple[Mask | None, ...]] = []
    for number, frame in enumerate(frames):
        progress = partial(_fixed, call.progress, number / len(frames), f"frame {number + 1} of {len(frames)}")
        await progress(0.0, "")
        step = replace(call, progress=progress)
        masks.append(await _follow_frame(worker, frame, first.memories, step, workers.settings.timeout_s))
    return Followed(first.model, tuple(masks), first.notes)


async def _follow_frame(
    worker: Worker, frame: Picture, memories: Sequence[Any], call: Call, timeout_s: float
) -> tuple[Mask | None, ...]:
    """Follow all objects into one frame, which is encoded once."""
    request = partial(worker.run, client=call.client, progress=call.progress)
    features = await _in_time(request(lambda _loaded, features: features, image=frame), timeout_s)
    masks: list[Mask | None] = []
    for memory in memories:
        masks += await _in_time(request(partial(_follow, memory=memory), features=features), timeout_s)
    return tuple(masks)


async def _in_time(step: Awaitable[T], timeout_s: float) -> T:
    with anyio.move_on_after(timeout_s):
        return await step
    raise DeadlineError(
        f"a few masks in one frame took more than {timeout_s:g} s; ask again when less is going on, choose a smaller "
        "model (DINOX_MCP_MASKS_MODEL=sam2.1-tiny), or raise DINOX_MCP_TIMEOUT_S"
    )


async def _fixed(progress: Progress, fraction: float, message: str, _fraction: float, _message: str) -> None:
    """Report which frame it is, whatever step of it runs."""
    await progress(fraction, message)


def _begin(loaded: Loaded, _features: None, *, boxes: Sequence[Box], size: tuple[int, int]) -> _First:
    model: FollowingModel = loaded.model
    groups = [boxes[start : start + model.at_once] for start in range(0, len(boxes), model.at_once)]
    notes = tuple(f"masks were {note}" for note in loaded.notes)
    return _First(loaded.name, notes, [model.remember(group, size) for group in groups])


def _follow(loaded: Loaded, features: Features, *, memory: Any) -> list[Mask | None]:  # noqa: ANN401
    model: FollowingModel = loaded.model
    return model.follow(features, memory)
