"""Tracks in tests: detections of key frames, and a tracker that was given them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detection
from dinox_mcp.video.tracking import Tracker

SIZE = (1000, 300)


def box(x: float, y: float = 100, size: float = 40) -> Box:
    return x, y, x + size, y + size


def code(text: str | None, x: float = 0) -> Detection:
    """A QR code with its content, or one that could not be read."""
    return Detection(label="QR code", bbox=box(x), text=text)


def alike(boxes: Sequence[Box]) -> npt.NDArray[np.float64]:
    """Give all boxes the same appearance."""
    return np.ones((len(boxes), 1))


def track(*keys: Sequence[Detection], every_s: float = 0.5) -> Tracker:
    """Track what is found at key frames, and number tracks when the frames before would be written."""
    tracker = Tracker(every_s)
    for number, found in enumerate(keys):
        tracker.update(number * every_s, found, alike)
        tracker.number(number - tracker.max_missed)
    tracker.number(len(keys))
    return tracker
