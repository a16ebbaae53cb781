"""Key frames: which frames the backend is asked about, how they are decoded, and how boxes move between them."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from anyio.from_thread import check_cancelled
from PIL import Image

from dinox_mcp.detect import tiling
from dinox_mcp.drawing.encode import encode_jpeg
from dinox_mcp.errors import InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import Box
from dinox_mcp.video.frames import TOLERANCE_S, Fit, Pixels, Reader
from dinox_mcp.video.scan import Limits, Scan, scan
from dinox_mcp.video.source import VideoFile, open_video

_JPEG_QUALITY = 90

_FLOW_SIDE = 480  # pixels along the long side of the grey frames in which boxes are followed
_FLOW_FPS = 15  # grey frames a second: in less time little moves
_MAX_FLOW_FRAMES = 64  # from one key frame to the next, to bound the memory
_GRID = 6  # points along each side of a box
_WINDOW = (15, 15)
_LEVELS = 3
_MIN_POINTS = 8  # that must agree
_MAX_RETURN_ERROR = 1.5  # pixels between a point and where it ends when it is followed there and back
_MAX_GROWTH = 1.25  # of a box in one step

Points = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class KeyFramePlan:
    """The numbers of the key frames, and the longest time from one to the next in seconds."""

    keys: tuple[int, ...]
    every_s: float


def plan_key_frames(times: Sequence[float], every_s: float, most: int) -> KeyFramePlan:
    """Choose key frames, evenly in time.

    The first and the last frame are among them, as tracks are known only between two key frames.

    Args:
        times: When the frames are shown, in seconds, increasing.
        every_s: The wished time from one key frame to the next.
        most: How many key frames there may be; with fewer than `every_s` needs, they are further apart.

    Raises:
        InputError: `every_s` is not a positive number.
    """
    if not every_s > 0:
        raise InputError(f"every_s is {every_s}; choose the seconds from one key frame to the next, such as 0.5")
    span = times[-1] - times[0]
    steps = min(max(1, most - 1), max(1, -int(-span // every_s)))
    if most == 1 or len(times) == 1:
        return KeyFramePlan((len(times) // 2,), max(span, every_s))
    ideal = [times[0] + span * step / steps for step in range(steps + 1)]
    keys = sorted({_nearest(times, time) for time in ideal})
    return KeyFramePlan(tuple(keys), max(times[b] - times[a] for a, b in pairwise(keys)))


def _nearest(times: Sequence[float], time: float) -> int:
    after = min(bisect_left(times, time), len(times) - 1)
    return after - 1 if after and time - times[after - 1] < times[after] - time else after


@dataclass(frozen=True, slots=True)
class Job:
    """An open video and the plan for it; `calls_each` is how many calls to the backend each key frame takes."""

    video: VideoFile
    scan: Scan
    plan: KeyFramePlan
    calls_each: int

    @property
    def key_times(self) -> list[float]:
        """When the key frames are shown, in seconds."""
        return [self.scan.times[key] for key in self.plan.keys]

    @property
    def planned_calls(self) -> int:
        """How many calls to the backend all key frames take together."""
        return len(self.plan.keys) * self.calls_each


def open_job(
    source: str,
    settings: Settings,
    *,
    every_s: float,
    max_calls: int,
    start_s: float,
    end_s: float | None,
    tiles: int,
) -> Job:
    """Open a video and plan its key frames. Blocks: call it in a thread.

    Raises:
        InputError: An argument or the video is wrong.
    """
    video = open_video(source, settings)
    try:
        limits = Limits(settings.video_max_s, settings.video_max_frames, start_s, end_s)
        found = scan(video, limits, check_cancelled)
        calls_each = _calls_each(found.size, tiles, max_calls)
        return Job(video, found, plan_key_frames(found.times, every_s, max_calls // calls_each), calls_each)
    except BaseException:
        video.file.close()
        raise


def _calls_each(size: tuple[int, int], tiles: int, most: int) -> int:
    calls = len(tiling.frames(*size, tiles)) + 1 if tiles > 1 else 1
    if calls > most:
        raise InputError(
            f"tiles is {tiles}, which takes {calls} calls for each key frame, more than the {most} allowed; "
            "choose fewer, or raise max_calls"
        )
    return calls


class KeyFrame(NamedTuple):
    """A key frame, and the grey frames that lead to it from the key frame before.

    Attributes:
        time: When it is shown, in seconds.
        picture: The frame in its own size, for the backend.
        fit: Where the frame lies in the video.
        image: The frame in the size of the video.
        times: When the grey frames are shown, from the key frame before to this one.
        grays: The grey frames, each of shape (height, width).
    """

    time: float
    picture: Picture
    fit: Fit
    image: Image.Image
    times: list[float]
    grays: list[Pixels]

    @property
    def is_first(self) -> bool:
        """Whether no key frame comes before it."""
        return len(self.grays) == 1


class KeyFrames:
    """Decodes the key frames of a job, in order. Blocks."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._reader = Reader(job.video, job.scan)
        self._number = 0
        self._times: list[float] = []
        self._grays: list[Pixels] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    @property
    def damaged(self) -> int:
        """How many packets could not be decoded so far."""
        return self._reader.damaged

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """The different sizes of the frames so far, in order."""
        return list(self._reader.sizes)

    def next(self) -> KeyFrame | None:
        """Decode the next key frame; None after the last, or where the video ends before it."""
        keys, number = self._job.plan.keys, self._number
        if number == len(keys):
            return None
        time = self._job.scan.times[keys[number]]
        between = keys[number] - keys[number - 1] if number else 1
        stride = max(1, -(-between // _MAX_FLOW_FRAMES), round(self._job.scan.fps / _FLOW_FPS))
        small = flow_size(self._job.scan.size)
        times, grays, frame = self._times, self._grays, None
        for frame in self._reader.until(time, check_cancelled):
            is_key = frame.time >= time - TOLERANCE_S
            if is_key or (number and frame.number % stride == 0):
                times.append(frame.time)
                grays.append(frame.gray(small))
        if frame is None or frame.time < time - TOLERANCE_S:
            return None
        self._times, self._grays = times[-1:], grays[-1:]
        self._number += 1
        size = self._job.scan.size
        image = Image.fromarray(frame.rgb(size))
        own = image if frame.own == size else Image.fromarray(frame.rgb(frame.own))
        picture = encode_frame(own, self._job.video.name, frame.time)
        return KeyFrame(frame.time, picture, Fit.of(frame.own, size), image, times, grays)


def encode_frame(frame: Image.Image, name: str, time: float) -> Picture:
    """Encode a frame for a backend. Its source is the name of the video with a media fragment for the time (W3C)."""
    return Picture.from_bytes(encode_jpeg(frame, _JPEG_QUALITY), f"{name}#t={time:.3f}")


def follow(
    times: Sequence[float],
    grays: Sequence[Pixels],
    boxes: Sequence[Box | None],
    size: tuple[int, int],
    check: Callable[[], None] = lambda: None,
) -> list[list[tuple[float, Box]] | None]:
    """Follow boxes through grey frames by the pixels in them (median flow). Blocks.

    Args:
        times: When the grey frames are shown, in seconds.
        grays: The grey frames, each of shape (height, width).
        boxes: The boxes in the first of them, in pixels of `size`.
        size: The (width, height) of the video.
        check: Called before each frame; what it raises stops the work.

    Returns:
        The path of each box without its start; None where it is lost, or was None.
    """
    scale = np.array([grays[0].shape[1] / size[0], grays[0].shape[0] / size[1]] * 2)
    paths: list[list[tuple[float, Box]] | None] = [None if box is None else [] for box in boxes]
    current = {index: np.array(box) * scale for index, box in enumerate(boxes) if box is not None}
    for (before, gray), time in zip(pairwise(grays), times[1:], strict=True):
        if not current:
            break
        check()
        indices = list(current)
        starts = np.concatenate([_grid(current[index]) for index in indices])
        ends, found = _optical_flow(before, gray, starts)
        back, returned = _optical_flow(gray, before, ends)
        errors = np.linalg.norm(back - starts, axis=1)
        errors[~(found & returned)] = np.inf
        for order, index in enumerate(indices):
            part = slice(order * _GRID**2, (order + 1) * _GRID**2)
            moved = _moved(current[index], starts[part], ends[part], errors[part])
            path = paths[index]
            if moved is None or path is None:
                paths[index] = None
                del current[index]
            else:
                current[index] = moved
                x1, y1, x2, y2 = (float(edge) for edge in moved / scale)
                path.append((time, (x1, y1, x2, y2)))
    return paths


def flow_size(size: tuple[int, int]) -> tuple[int, int]:
    """Give the (width, height) of the grey frames for a video of a size."""
    factor = min(1.0, _FLOW_SIDE / max(size))
    return max(16, round(size[0] * factor)), max(16, round(size[1] * factor))


def _optical_flow(before: Pixels, after: Pixels, points: Points) -> tuple[Points, npt.NDArray[np.bool_]]:
    """Follow points (n, 2) to the next frame (Lucas-Kanade); also say which were found."""
    import cv2

    ends, found, _ = cv2.calcOpticalFlowPyrLK(before, after, points, points.copy(), winSize=_WINDOW, maxLevel=_LEVELS)
    return np.asarray(ends, np.float32), np.asarray(found)[:, 0] > 0


def _grid(box: npt.NDArray[np.float64]) -> Points:
    """Spread points over a box up to its edges, where objects without texture differ from the background."""
    x, y = np.meshgrid(np.linspace(box[0], box[2], _GRID), np.linspace(box[1], box[3], _GRID))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def _moved(
    box: npt.NDArray[np.float64], starts: Points, ends: Points, errors: Points
) -> npt.NDArray[np.float64] | None:
    """Move and scale a box as the median of its points does; None where too few agree."""
    good = errors <= min(_MAX_RETURN_ERROR, float(np.median(errors)))
    if np.count_nonzero(good) < _MIN_POINTS:
        return None
    start, end = starts[good], ends[good]
    step = np.median(end - start, axis=0)
    spread = np.linalg.norm(start - np.median(start, axis=0), axis=1)
    far = spread > np.median(spread)
    if not far.any():
        return None
    ratios = np.linalg.norm(end - np.median(end, axis=0), axis=1)[far] / spread[far]
    growth = float(np.clip(np.median(ratios), 1 / _MAX_GROWTH, _MAX_GROWTH))
    center = (box[:2] + box[2:]) / 2 + step
    half = (box[2:] - box[:2]) / 2 * growth
    return np.concatenate([center - half, center + half])
