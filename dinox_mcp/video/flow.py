"""Where boxes go from one key frame to the next, seen in the pixels of the frames between.

Median flow (Kalal et al. 2010): points in each box are followed forward and back again by Lucas-Kanade; the better half
of those that return tell by their median how the box moved and grew.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from dinox_mcp.geometry import Box
from dinox_mcp.video.frames import Pixels

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
