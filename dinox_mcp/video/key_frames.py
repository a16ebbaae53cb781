"""Key frames one after the other, and where boxes go from one to the next."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from dinox_mcp.drawing.encode import encode_jpeg
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import Box
from dinox_mcp.video.frames import Fit, Pixels, Reader
from dinox_mcp.video.job import Job, pause

_QUALITY = 90
_TOO_SOON = 1e-3


class KeyFrame(NamedTuple):
    """A frame to ask about, and the grey frames that lead to it from the one before, that one too.

    `picture` is of the frame's own size, and `fit` says where that lies in the video; `image` is of the video's size.
    """

    time: float
    picture: Picture
    fit: Fit
    image: Image.Image
    times: list[float]
    grays: list[Pixels]


class KeyFrames:
    """Decodes the key frames of a job, from the first on. Blocks."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._reader = Reader(job.video, job.scan)
        self._number = 0
        self._times: list[float] = []
        self._grays: list[Pixels] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reader.close()

    @property
    def damaged(self) -> int:
        """How many parts of the file could not be decoded so far."""
        return self._reader.damaged

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """The sizes of the frames so far, in order."""
        return list(self._reader.sizes)

    def next(self) -> KeyFrame | None:
        """Decode on to the next key frame; None after the last, or where the video ends before it."""
        keys, number = self._job.plan.keys, self._number
        if number == len(keys):
            return None
        time = self._job.scan.times[keys[number]]
        between = keys[number] - keys[number - 1] if number else 1
        stride = max(1, -(-between // MOST), round(self._job.scan.fps / RATE))
        small = gray_size(self._job.scan.size)
        times, grays, frame = self._times, self._grays, None
        for frame in self._reader.until(time, pause):
            is_key = frame.time >= time - _TOO_SOON
            if is_key or (number and frame.number % stride == 0):
                times.append(frame.time)
                grays.append(frame.gray(small))
        if frame is None or frame.time < time - _TOO_SOON:
            return None
        self._times, self._grays = times[-1:], grays[-1:]
        self._number += 1
        size = self._job.scan.size
        image = Image.fromarray(frame.rgb(size))
        own = image if frame.own == size else Image.fromarray(frame.rgb(frame.own))
        source = f"{self._job.video.name}#t={frame.time:.3f}"  # a media fragment, as in the W3C's recommendation
        picture = Picture.from_bytes(encode_jpeg(own, _QUALITY), source)
        return KeyFrame(frame.time, picture, Fit.of(frame.own, size), image, times, grays)


Points = npt.NDArray[np.float32]

SIDE = 480  # the long side at which pixels are followed
RATE = 15  # frames a second that are followed: what is shown more often moves little
MOST = 64  # the most frames followed from one key frame to the next, lest they fill the memory
_GRID = 6  # points along each side of a box
_WINDOW = (15, 15)
_LEVELS = 3
_ENOUGH = 8  # points that must agree
_ASTRAY = 1.5  # pixels from where a point started when it is followed there and back: lost
_GROWTH = 1.25  # the most that a box grows or shrinks in one step


def follow(
    times: Sequence[float],
    grays: Sequence[Pixels],
    boxes: Sequence[Box | None],
    size: tuple[int, int],
    pause: Callable[[], None] = lambda: None,
) -> list[list[tuple[float, Box]] | None]:
    """Follow boxes, in pixels of `size` (width, height), from the first of some grey frames to the last.

    Gives the path of each without its start; None where it is lost from sight, or was None. Blocks.
    """
    scale = np.array([grays[0].shape[1] / size[0], grays[0].shape[0] / size[1]] * 2)
    paths: list[list[tuple[float, Box]] | None] = [None if box is None else [] for box in boxes]
    now = {at: np.array(box) * scale for at, box in enumerate(boxes) if box is not None}
    for (before, gray), time in zip(pairwise(grays), times[1:], strict=True):
        if not now:
            break
        pause()
        places = list(now)
        starts = np.concatenate([_grid(now[at]) for at in places])
        ends, found = _lucas_kanade(before, gray, starts)
        back, returned = _lucas_kanade(gray, before, ends)
        astray = np.linalg.norm(back - starts, axis=1)
        astray[~(found & returned)] = np.inf
        for order, at in enumerate(places):
            part = slice(order * _GRID**2, (order + 1) * _GRID**2)
            moved = _moved(now[at], starts[part], ends[part], astray[part])
            path = paths[at]
            if moved is None or path is None:
                paths[at] = None
                del now[at]
            else:
                now[at] = moved
                x1, y1, x2, y2 = (float(edge) for edge in moved / scale)
                path.append((time, (x1, y1, x2, y2)))
    return paths


def gray_size(size: tuple[int, int]) -> tuple[int, int]:
    """Tell at which size (width, height) pixels of a video of a size are followed."""
    factor = min(1.0, SIDE / max(size))
    return max(16, round(size[0] * factor)), max(16, round(size[1] * factor))


def _lucas_kanade(before: Pixels, after: Pixels, points: Points) -> tuple[Points, npt.NDArray[np.bool_]]:
    """Follow points from one frame to the next; tells for each where it is, and whether it was found."""
    import cv2

    ends, found, _ = cv2.calcOpticalFlowPyrLK(before, after, points, points.copy(), winSize=_WINDOW, maxLevel=_LEVELS)
    return np.asarray(ends, np.float32), np.asarray(found)[:, 0] > 0


def _grid(box: npt.NDArray[np.float64]) -> Points:
    """Spread points over a box, up to its edges, where plain things differ from what is behind them."""
    x, y = np.meshgrid(np.linspace(box[0], box[2], _GRID), np.linspace(box[1], box[3], _GRID))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def _moved(
    box: npt.NDArray[np.float64], starts: Points, ends: Points, astray: Points
) -> npt.NDArray[np.float64] | None:
    good = astray <= min(_ASTRAY, float(np.median(astray)))
    if np.count_nonzero(good) < _ENOUGH:
        return None
    start, end = starts[good], ends[good]
    step = np.median(end - start, axis=0)
    spread = np.linalg.norm(start - np.median(start, axis=0), axis=1)
    far = spread > np.median(spread)
    if not far.any():
        return None
    ratios = np.linalg.norm(end - np.median(end, axis=0), axis=1)[far] / spread[far]
    growth = float(np.clip(np.median(ratios), 1 / _GROWTH, _GROWTH))
    center = (box[:2] + box[2:]) / 2 + step
    half = (box[2:] - box[:2]) / 2 * growth
    return np.concatenate([center - half, center + half])
