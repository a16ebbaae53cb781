"""What backends get of a video: the key frames, and for masks every frame.

Masks are made by a backend that follows the boxes of a key frame to the next one. It starts anew at each key frame,
with the boxes of the tracks there, and after `AT_ONCE` frames. A track that is not in the video in a frame has no mask
in it.
"""

import time as clocks
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple, Self

import anyio.to_thread
from PIL import Image

from dinox_mcp.backends.base import Call, Follower, Progress
from dinox_mcp.detect import tiling
from dinox_mcp.drawing.views import encode_jpeg
from dinox_mcp.errors import BackendError, InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import area, clip
from dinox_mcp.types.detection import Mask
from dinox_mcp.types.video import clock
from dinox_mcp.video.frames import TOLERANCE_S, Fit, Frame, Pixels, Reader
from dinox_mcp.video.motion import flow_size
from dinox_mcp.video.scan import Limits, Scan, scan
from dinox_mcp.video.source import VideoFile, open_video
from dinox_mcp.video.tracking import TrackHistory

_JPEG_QUALITY = 90
AT_ONCE = 16
"""The most frames that are given to the backend at once: half a second of most videos."""

_FLOW_FPS = 15  # grey frames a second: in less time little moves
_MAX_FLOW_FRAMES = 64  # from one key frame to the next, to bound the memory


def plan_key_frames(times: Sequence[float], every_s: float, most: int) -> tuple[tuple[int, ...], float]:
    """Choose at most `most` key frames, evenly in time; more than `every_s` apart where they are too few for that.

    The first and the last of the frames, shown at `times`, are among them: tracks are known only between key frames.

    Returns:
        The numbers of the key frames, and the longest time from one to the next in seconds.

    Raises:
        InputError: `every_s` is not a positive number.
    """
    if not every_s > 0:
        raise InputError(f"every_s is {every_s}; choose the seconds from one key frame to the next, such as 0.5")
    span = times[-1] - times[0]
    steps = min(max(1, most - 1), max(1, -int(-span // every_s)))
    if most == 1 or len(times) == 1:
        return (len(times) // 2,), max(span, every_s)
    ideal = [times[0] + span * step / steps for step in range(steps + 1)]
    keys = sorted({_nearest(times, time) for time in ideal})
    return tuple(keys), max(times[b] - times[a] for a, b in pairwise(keys))


def _nearest(times: Sequence[float], time: float) -> int:
    after = min(bisect_left(times, time), len(times) - 1)
    return after - 1 if after and time - times[after - 1] < times[after] - time else after


@dataclass(frozen=True, slots=True)
class Job:
    """An open video and the plan for it.

    Attributes:
        keys: The numbers of the key frames.
        every_s: The longest time from one to the next, in seconds.
        calls_each: How many calls to the backend each key frame takes.
    """

    video: VideoFile
    scan: Scan
    keys: tuple[int, ...]
    every_s: float
    calls_each: int

    @property
    def planned_calls(self) -> int:
        """How many calls to the backend all key frames take together."""
        return len(self.keys) * self.calls_each


def open_job(source: str, settings: Settings, limits: Limits, every_s: float, max_calls: int, tiles: int) -> Job:
    """Open a video and plan its key frames. Blocks: call it in a thread.

    Raises:
        InputError: An argument or the video is wrong.
    """
    with ExitStack() as failing:
        video = failing.enter_context(open_video(source, settings))
        found = scan(video, limits)
        calls_each = len(tiling.frames(*found.size, tiles)) + 1 if tiles > 1 else 1
        if calls_each > max_calls:
            raise InputError(
                f"tiles is {tiles}, which takes {calls_each} calls for each key frame, more than the {max_calls} "
                "allowed; choose fewer, or raise max_calls"
            )
        keys, every_s = plan_key_frames(found.times, every_s, max_calls // calls_each)
        failing.pop_all()  # the video stays open
    return Job(video, found, keys, every_s, calls_each)


class KeyFrame(NamedTuple):
    """A key frame shown at `time`, in its own size for the backend (`picture`), and in the size of the video (`image`).

    `fit` is where it lies in the video. `grays` are the grey frames (height, width) from the key frame before to this
    one, and `times` when they are shown.
    """

    time: float
    picture: Picture
    fit: Fit
    image: Image.Image
    times: list[float]
    grays: list[Pixels]


class KeyFrames:
    """Decodes the key frames of a job, in order. Blocks."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.reader = Reader(job.video, job.scan)
        self._number = 0
        self._times: list[float] = []
        self._grays: list[Pixels] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.close()

    def next(self) -> KeyFrame | None:
        """Decode the next key frame; None after the last, or where the video ends before it."""
        keys, number, size = self._job.keys, self._number, self._job.scan.size
        if number == len(keys):
            return None
        time = self._job.scan.times[keys[number]]
        between = keys[number] - keys[number - 1] if number else 1
        stride = max(1, -(-between // _MAX_FLOW_FRAMES), round(self._job.scan.fps / _FLOW_FPS))
        small = flow_size(size)
        times, grays, frame = self._times, self._grays, None
        for frame in self.reader.until(time):
            is_key = frame.time >= time - TOLERANCE_S
            if is_key or (number and frame.number % stride == 0):
                times.append(frame.time)
                grays.append(frame.gray(small))
        if frame is None or frame.time < time - TOLERANCE_S:
            return None
        self._times, self._grays = times[-1:], grays[-1:]
        self._number += 1
        image = Image.fromarray(frame.rgb(size))
        own = image if frame.own == size else Image.fromarray(frame.rgb(frame.own))
        picture = _encode(own, self._job.video.name, frame.time)
        return KeyFrame(frame.time, picture, Fit.of(frame.own, size), image, times, grays)


def _encode(frame: Image.Image, name: str, time: float) -> Picture:
    """Encode a frame for a backend. Its source is the name of the video with a media fragment for the time (W3C)."""
    return Picture.from_bytes(encode_jpeg(frame, _JPEG_QUALITY), f"{name}#t={time:.3f}")


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
        self._keys = frozenset(job.keys)
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
        """Follow all tracks through the next batch of frames before `end` (None: the end of the video).

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
        self.at_keys |= {one.time: self.masks.get(one.number, {}) for one in batch if one.number in self._keys}
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
        """Request the masks of all tracks that have a box in the first frame of a batch."""
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
            self._frames = self._reader.until(self._job.scan.times[-1])
        batch: list[_Encoded] = []
        while len(batch) < AT_ONCE:
            self._upcoming = self._upcoming or self._encode(next(self._frames, None))
            if self._upcoming is None or (end is not None and self._upcoming.time >= end - TOLERANCE_S):
                break
            if batch and self._upcoming.number in self._keys:
                break
            batch.append(self._upcoming)
            self._upcoming = None
        return batch

    def _encode(self, frame: Frame | None) -> _Encoded | None:
        if frame is None:
            return None
        picture = _encode(Image.fromarray(frame.rgb(self._job.scan.size)), self._job.video.name, frame.time)
        return _Encoded(frame.number, frame.time, picture)


def check_mask_frames(job: Job, most: int) -> None:
    """Refuse masks in more frames than are allowed."""
    frames = len(job.scan.times)
    if frames > most:
        raise InputError(
            f"masks are followed through every frame, of which there are {frames}, more than the {most} allowed "
            f"(a frame takes seconds on a CPU); choose about {most / job.scan.fps:.1f} s of the video with start_s "
            "and end_s, leave masks out, or raise DINOX_MCP_VIDEO_MAX_MASK_FRAMES"
        )
