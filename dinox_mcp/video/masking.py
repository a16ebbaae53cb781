"""Masks in every frame: a backend follows what is in the boxes of a key frame to the next one.

It begins anew at each key frame, with the boxes that the tracks have there, and after as many frames as are held at
once. What has no box in a frame, as its track has ended or not begun, has no mask in it.
"""

import time as clocks
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

import anyio.to_thread
from PIL import Image

from dinox_mcp.backends.base import Call, Follower
from dinox_mcp.drawing.encode import encode_jpeg
from dinox_mcp.errors import BackendError, InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import area, clip
from dinox_mcp.types.detection import Mask
from dinox_mcp.types.video import clock
from dinox_mcp.video.frames import Frame, Reader
from dinox_mcp.video.job import Job, pause
from dinox_mcp.video.track import Trail

T = TypeVar("T")
Tell = Callable[[float, str], Awaitable[None]]

AT_ONCE = 16
"""Frames that are given to the backend at once: half a second of most videos."""
_QUALITY = 90
_TOO_SOON = 5e-4


class _Shown(NamedTuple):
    """A frame as the backend gets it."""

    number: int
    time: float
    picture: Picture


class Masking:
    """Gives the masks of tracks, stretch by stretch. Use it from one task; `tell` hears how far it is, from 0 to 1."""

    def __init__(self, follower: Follower, job: Job, call: Call, tell: Tell) -> None:
        self._follower, self._job, self._call, self._tell = follower, job, call, tell
        self._reader: Reader | None = None
        self._frames: Iterator[Frame] = iter(())
        self._ahead: _Shown | None = None
        self._done = 0
        self._spent_s = 0.0
        self.masks: Mapping[int, Mapping[int, Mask]] = {}
        """Of the last stretch: by the numbers of frames and of tracks."""
        self.at_keys: dict[float, Mapping[int, Mask]] = {}
        """Of all key frames so far: by their times."""
        self._models: dict[str, None] = {}
        self._notes: dict[str, None] = {}

    async def next(self, end: float | None, trails: Sequence[Trail], reach: float) -> float | None:
        """Follow through the next stretch, and give the time of its last frame; None if there is none before `end`.

        An `end` of None is that of the video. `trails` are all tracks that are there until then.

        Raises:
            BackendError: the backend cannot follow.
        """
        self.masks = {}
        stretch = await _thread(partial(self._decode, end))
        if not stretch:
            return None
        began = clocks.monotonic()
        self.masks = await self._follow(stretch, trails, reach)
        self._spent_s += clocks.monotonic() - began
        self._done += len(stretch)
        keys = frozenset(self._job.plan.keys)
        self.at_keys |= {shown.time: self.masks.get(shown.number, {}) for shown in stretch if shown.number in keys}
        return stretch[-1].time

    def notes(self) -> list[str]:
        """Say by which model, through how many frames, and where the masks are."""
        where = "they are in the annotated video and in its list of frames"
        return [
            *(f"masks were followed through {self._done} frames by {model}; {where}" for model in self._models),
            *self._notes,
        ]

    def close(self) -> None:
        """Free the decoder."""
        if self._reader:
            self._reader.close()

    async def _follow(
        self, stretch: Sequence[_Shown], trails: Sequence[Trail], reach: float
    ) -> dict[int, dict[int, Mask]]:
        """Ask for the masks of all tracks that have a box in the first frame of a stretch."""
        width, height = self._job.scan.size
        boxes = ((trail, trail.box(stretch[0].time, reach)) for trail in trails)
        begun = [(trail, clip(box, width, height)) for trail, box in boxes if box]
        begun = [(trail, box) for trail, box in begun if area(box) > 0]
        if not begun:
            return {}
        call = replace(self._call, progress=partial(self._progress, stretch))
        followed = await self._follower.follow([shown.picture for shown in stretch], [box for _, box in begun], call)
        if [len(masks) for masks in followed.masks] != [len(begun)] * len(stretch):
            raise BackendError(f"{followed.model} gave masks of other things than it was asked for; report it")
        self._models[followed.model] = None
        self._notes |= dict.fromkeys(followed.notes)
        return {
            shown.number: {
                trail.id: mask
                for (trail, _), mask in zip(begun, masks, strict=True)
                if mask and trail.id is not None and trail.box(shown.time, reach)
            }
            for shown, masks in zip(stretch, followed.masks, strict=True)
        }

    async def _progress(self, stretch: Sequence[_Shown], part: float, message: str) -> None:
        total = len(self._job.scan.times)
        done = self._done + part * len(stretch)
        at = stretch[min(len(stretch) - 1, int(part * len(stretch)))].time
        left = f", about {clock(self._spent_s / self._done * (total - done))} left" if self._done else ""
        await self._tell(done / total, f"masks at {clock(at)} of {clock(self._job.scan.times[-1])}{left}: {message}")

    def _decode(self, end: float | None) -> list[_Shown]:
        """Decode the frames of the next stretch: from here to the next key frame, at most so many. Blocks."""
        if self._reader is None:
            self._reader = Reader(self._job.video, self._job.scan)
            self._frames = self._reader.until(self._job.scan.times[-1], pause)
        stretch: list[_Shown] = []
        keys = frozenset(self._job.plan.keys)
        while len(stretch) < AT_ONCE:
            self._ahead = self._ahead or self._shown(next(self._frames, None))
            if self._ahead is None or (end is not None and self._ahead.time >= end - _TOO_SOON):
                break
            if stretch and self._ahead.number in keys:
                break
            stretch.append(self._ahead)
            self._ahead = None
        return stretch

    def _shown(self, frame: Frame | None) -> _Shown | None:
        if frame is None:
            return None
        data = encode_jpeg(Image.fromarray(frame.rgb(self._job.scan.size)), _QUALITY)
        return _Shown(frame.number, frame.time, Picture.from_bytes(data, f"{self._job.video.name}#t={frame.time:.3f}"))


def check_cost(job: Job, most: int) -> None:
    """Refuse masks in more frames than are allowed.

    Raises:
        InputError: there are more.
    """
    frames = len(job.scan.times)
    if frames > most:
        raise InputError(
            f"masks are followed through every frame, of which there are {frames}, more than the {most} allowed "
            f"(a frame takes seconds on a CPU); choose about {most / job.scan.fps:.1f} s of the video with start_s "
            "and end_s, leave masks out, or raise DINOX_MCP_VIDEO_MAX_MASK_FRAMES"
        )


async def _thread(work: Callable[[], T]) -> T:
    return await anyio.to_thread.run_sync(work)
