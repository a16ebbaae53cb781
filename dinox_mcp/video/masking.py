"""Masks in every frame: a backend follows the boxes of a key frame to the next one.

It starts anew at each key frame, with the boxes of the tracks there, and after `AT_ONCE` frames. A track that is not in
the video in a frame has no mask in it.
"""

import time as clocks
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import anyio.to_thread
from anyio.from_thread import check_cancelled
from PIL import Image

from dinox_mcp.backends.base import Call, Follower, Progress
from dinox_mcp.errors import BackendError, InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import area, clip
from dinox_mcp.types.detection import Mask
from dinox_mcp.types.video import clock
from dinox_mcp.video.frames import TOLERANCE_S, Frame, Reader
from dinox_mcp.video.key_frames import Job, encode_frame
from dinox_mcp.video.track import TrackHistory

AT_ONCE = 16
"""The most frames that are given to the backend at once: half a second of most videos."""


class _Encoded(NamedTuple):
    """A frame as the backend gets it."""

    number: int
    time: float
    picture: Picture


class Masking:
    """Gives the masks of tracks, batch by batch of frames. Use it from one task.

    Attributes:
        masks: The masks of the last batch, by the numbers of frames and of tracks.
        at_keys: The masks of all key frames so far, by their times and the numbers of tracks.
    """

    def __init__(self, follower: Follower, job: Job, call: Call, progress: Progress) -> None:
        self._follower, self._job, self._call, self._progress = follower, job, call, progress
        self._reader: Reader | None = None
        self._frames: Iterator[Frame] = iter(())
        self._upcoming: _Encoded | None = None
        self._done = 0
        self._spent_s = 0.0
        self.masks: Mapping[int, Mapping[int, Mask]] = {}
        self.at_keys: dict[float, Mapping[int, Mask]] = {}
        self._models: dict[str, None] = {}
        self._notes: dict[str, None] = {}

    async def next(self, end: float | None, tracks: Sequence[TrackHistory]) -> float | None:
        """Follow the tracks through the next batch of frames.

        Args:
            end: The time before which the batch ends; None for the end of the video.
            tracks: All tracks that are in the video until then.

        Returns:
            The time of the last frame of the batch; None if there is no frame before `end`.

        Raises:
            BackendError: The backend cannot follow.
        """
        self.masks = {}
        batch = await anyio.to_thread.run_sync(self._decode, end)
        if not batch:
            return None
        began = clocks.monotonic()
        self.masks = await self._follow(batch, tracks)
        self._spent_s += clocks.monotonic() - began
        self._done += len(batch)
        keys = frozenset(self._job.plan.keys)
        self.at_keys |= {one.time: self.masks.get(one.number, {}) for one in batch if one.number in keys}
        return batch[-1].time

    def notes(self) -> list[str]:
        """Say which model followed the masks, through how many frames, and where they are; then its own notes."""
        where = "they are in the annotated video and in its list of frames"
        return [
            *(f"masks were followed through {self._done} frames by {model}; {where}" for model in self._models),
            *self._notes,
        ]

    def close(self) -> None:
        """Free the decoder."""
        if self._reader:
            self._reader.close()

    async def _follow(self, batch: Sequence[_Encoded], tracks: Sequence[TrackHistory]) -> dict[int, dict[int, Mask]]:
        """Ask for the masks of all tracks that have a box in the first frame of a batch."""
        width, height = self._job.scan.size
        boxes = ((track, track.box(batch[0].time)) for track in tracks)
        started = [(track, clip(box, width, height)) for track, box in boxes if box]
        started = [(track, box) for track, box in started if area(box) > 0]
        if not started:
            return {}
        call = replace(self._call, progress=partial(self._report, batch))
        followed = await self._follower.follow([one.picture for one in batch], [box for _, box in started], call)
        if [len(masks) for masks in followed.masks] != [len(started)] * len(batch):
            raise BackendError(f"{followed.model} gave masks of other objects than were requested; report it")
        self._models[followed.model] = None
        self._notes |= dict.fromkeys(followed.notes)
        return {
            one.number: {
                track.id: mask
                for (track, _), mask in zip(started, masks, strict=True)
                if mask and track.id is not None and track.box(one.time)
            }
            for one, masks in zip(batch, followed.masks, strict=True)
        }

    async def _report(self, batch: Sequence[_Encoded], part: float, message: str) -> None:
        total = len(self._job.scan.times)
        done = self._done + part * len(batch)
        at = batch[min(len(batch) - 1, int(part * len(batch)))].time
        left = f", about {clock(self._spent_s / self._done * (total - done))} left" if self._done else ""
        end = clock(self._job.scan.times[-1])
        await self._progress(done / total, f"masks at {clock(at)} of {end}{left}: {message}")

    def _decode(self, end: float | None) -> list[_Encoded]:
        """Decode the next batch: at most `AT_ONCE` frames, and none beyond the next key frame. Blocks."""
        if self._reader is None:
            self._reader = Reader(self._job.video, self._job.scan)
            self._frames = self._reader.until(self._job.scan.times[-1], check_cancelled)
        batch: list[_Encoded] = []
        keys = frozenset(self._job.plan.keys)
        while len(batch) < AT_ONCE:
            self._upcoming = self._upcoming or self._encode(next(self._frames, None))
            if self._upcoming is None or (end is not None and self._upcoming.time >= end - TOLERANCE_S):
                break
            if batch and self._upcoming.number in keys:
                break
            batch.append(self._upcoming)
            self._upcoming = None
        return batch

    def _encode(self, frame: Frame | None) -> _Encoded | None:
        if frame is None:
            return None
        picture = encode_frame(Image.fromarray(frame.rgb(self._job.scan.size)), self._job.video.name, frame.time)
        return _Encoded(frame.number, frame.time, picture)


def check_mask_frames(job: Job, most: int) -> None:
    """Refuse masks in more frames than are allowed.

    Raises:
        InputError: There are more.
    """
    frames = len(job.scan.times)
    if frames > most:
        raise InputError(
            f"masks are followed through every frame, of which there are {frames}, more than the {most} allowed "
            f"(a frame takes seconds on a CPU); choose about {most / job.scan.fps:.1f} s of the video with start_s "
            "and end_s, leave masks out, or raise DINOX_MCP_VIDEO_MAX_MASK_FRAMES"
        )
