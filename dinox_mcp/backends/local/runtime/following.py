"""From boxes in a first frame to masks in all: the way of a call through the model, frame by frame."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import anyio

from dinox_mcp.backends.base import Call, Followed, Progress
from dinox_mcp.backends.local import extra
from dinox_mcp.backends.local.checkpoints.presets import chosen
from dinox_mcp.backends.local.checkpoints.source import Checkpoint
from dinox_mcp.backends.local.models.base import ImageState
from dinox_mcp.backends.local.models.interfaces import Follower, Loaded, Model
from dinox_mcp.backends.local.runtime.caches import ImageStates, Room
from dinox_mcp.backends.local.runtime.queue import closed
from dinox_mcp.backends.local.runtime.requests import rising
from dinox_mcp.backends.local.runtime.worker import Host
from dinox_mcp.errors import DeadlineError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Mask

T = TypeVar("T")
Make = Callable[[str | None], Model[Follower]]


@dataclass(frozen=True, slots=True)
class _Start:
    """What the first turn with a model gives: its name and notes, and a memory for each group of things."""

    model: str
    notes: tuple[str, ...]
    memories: list[Any]


class Following:
    """Asks a model that follows things from frame to frame, in a thread of its own; see `host`.

    It shares `room` with the other models; what it sees of a frame is kept for that frame alone. `models` makes a model
    of a name, which is None for the default; tests give their own. Needs asyncio.
    """

    def __init__(self, settings: Settings, room: Room, models: Make | None = None) -> None:
        self._settings = settings
        self._room = room
        self._models = models or (lambda name: Checkpoint(name, settings, role="masks", follows=True))
        self._host: Host[Follower] | None = None
        self._closed = False

    async def follow(self, frames: Sequence[Picture], boxes: Sequence[Box], call: Call) -> Followed:
        """Give the masks of what is in the boxes of the first frame, in each frame.

        Things are followed some at a time within a frame, so that other questions come in between and a cancelled one
        stops soon. Each such step may take `timeout_s`, after the model is loaded.

        Raises:
            DeadlineError: a step took longer.
            SettingsError: there is no such model or device.
            BackendError: the model cannot be had, does not load, or fails.
            ImageError: a frame is damaged.
        """
        call = replace(call, progress=rising(call.progress))
        host = self._get()
        begin = partial(_begin, boxes=boxes, size=(frames[0].width, frames[0].height))
        start = await host.ask(begin, client=call.client, progress=call.progress)
        masks: list[tuple[Mask | None, ...]] = []
        for number, frame in enumerate(frames):
            told = partial(_within, call.progress, number / len(frames), f"frame {number + 1} of {len(frames)}")
            await told(0.0, "")
            masks.append(await self._step(host, frame, start.memories, replace(call, progress=told)))
        return Followed(start.model, tuple(masks), start.notes)

    async def aclose(self) -> None:
        """Stop what runs, and unload the model."""
        self._closed = True
        if self._host:
            await self._host.aclose()

    async def _step(
        self, host: Host[Follower], frame: Picture, memories: Sequence[Any], call: Call
    ) -> tuple[Mask | None, ...]:
        """Go on by one frame, which is looked at once."""
        ask = partial(host.ask, client=call.client, progress=call.progress)
        state = await self._in_time(ask(lambda _loaded, state: state, picture=frame))
        masks: list[Mask | None] = []
        for memory in memories:
            masks += await self._in_time(ask(partial(_follow, memory=memory), state=state))
        return tuple(masks)

    async def _in_time(self, step: Awaitable[T]) -> T:
        with anyio.move_on_after(self._settings.timeout_s):
            return await step
        raise DeadlineError(
            f"a few masks in one frame took more than {self._settings.timeout_s:g} s; ask again when less is going on, "
            "choose a smaller model (DINOX_MCP_MASKS_MODEL=sam2.1-tiny), or raise DINOX_MCP_TIMEOUT_S"
        )

    def _get(self) -> Host[Follower]:
        extra.require()
        if self._closed:
            raise closed()
        if self._host is None:
            self._host = Host(
                self._models(chosen(self._settings)["masks"]),
                self._room,
                ImageStates(0),
                queue_max=self._settings.queue_max,
                idle_s=self._settings.idle_unload_s,
            )
        return self._host


async def _within(progress: Progress, fraction: float, message: str, _fraction: float, _message: str) -> None:
    """Report which frame it is, whatever is being done with it."""
    await progress(fraction, message)


def _begin(
    loaded: Loaded[Follower], _state: ImageState | None, *, boxes: Sequence[Box], size: tuple[int, int]
) -> _Start:
    model, some = loaded.adapter, loaded.adapter.at_once
    groups = [boxes[start : start + some] for start in range(0, len(boxes), some)]
    notes = tuple(f"masks were {note}" for note in loaded.notes)
    return _Start(loaded.name, notes, [model.remember(group, size) for group in groups])


def _follow(loaded: Loaded[Follower], state: ImageState, *, memory: Any) -> list[Mask | None]:  # noqa: ANN401
    return loaded.adapter.follow(state, memory)
