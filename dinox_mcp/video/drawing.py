"""Frames of a video with its tracks drawn on them, and the contact sheet of its key frames."""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from dinox_mcp.drawing.annotate import annotate
from dinox_mcp.drawing.encode import encode_jpeg, fit_bytes
from dinox_mcp.drawing.lines import draw_trails
from dinox_mcp.drawing.sheet import contact_sheet
from dinox_mcp.drawing.style import Style
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import clip
from dinox_mcp.types.detection import DetectedObject, Mask, Point, count_labels
from dinox_mcp.types.video import clock
from dinox_mcp.video.frames import Frame, Pixels
from dinox_mcp.video.track import TrackHistory

SHEET_FRAMES = 12
"""The most key frames on a contact sheet."""
_STYLE = Style(color_by="number", captions=False)
_MAX_SIDE = 1920  # of an annotated video: beyond, drawing and players are slow
_PATH_S = 1.5  # how much of its path is drawn behind an object
_THUMBNAIL = 800


def objects_at(
    tracks: Sequence[TrackHistory],
    time: float,
    size: tuple[int, int],
    masks: Mapping[int, Mask] | None = None,
) -> list[DetectedObject]:
    """List the objects at a time.

    Args:
        tracks: The tracks; those without a number are left out.
        time: In seconds.
        size: The (width, height) of the video.
        masks: Masks by the numbers of tracks.
    """
    objects = []
    for track in tracks:
        box = track.box(time)
        if box is not None and track.id is not None:
            score = track.latest(time).detection.score
            mask = masks.get(track.id) if masks else None
            objects.append(
                DetectedObject(id=track.id, label=track.label, bbox=clip(box, *size), score=score, mask=mask)
            )
    return objects


def annotated_size(size: tuple[int, int]) -> tuple[int, int]:
    """Give the (width, height) of the annotated video for a video of a size."""
    factor = min(1.0, _MAX_SIDE / max(size))
    return max(16, round(size[0] * factor)), max(16, round(size[1] * factor))


@dataclass
class FrameAnnotator:
    """Draws objects and their latest paths on frames, which it gets in order."""

    size: tuple[int, int]
    _paths: dict[int, deque[tuple[float, Point]]] = field(default_factory=lambda: defaultdict(deque))

    def draw(self, frame: Frame, objects: Sequence[DetectedObject]) -> Pixels:
        """Draw a frame, as an array of shape (height, width, 3)."""
        size = annotated_size(self.size)
        factors = size[0] / self.size[0], size[1] / self.size[1]
        for found in objects:
            x1, y1, x2, y2 = found.bbox
            self._paths[found.id].append((frame.time, ((x1 + x2) / 2 * factors[0], (y1 + y2) / 2 * factors[1])))
        canvas = Image.fromarray(frame.rgb(size))
        canvas = draw_trails(canvas, {one.id: self._path(one.id, frame.time) for one in objects})
        return np.asarray(annotate(canvas, objects, original_size=self.size, style=_STYLE))

    def _path(self, number: int, time: float) -> list[Point]:
        path = self._paths[number]
        while path and path[0][0] < time - _PATH_S:
            path.popleft()
        return [point for _, point in path]


@dataclass
class ContactSheet:
    """Collects small key frames, and draws them when all tracks are known."""

    size: tuple[int, int]
    _frames: list[tuple[float, bytes]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether it has no frame yet."""
        return not self._frames

    def add(self, time: float, image: Image.Image) -> None:
        """Add a key frame."""
        small = image.copy()
        small.thumbnail((_THUMBNAIL, _THUMBNAIL))
        self._frames.append((time, encode_jpeg(small)))

    def draw(
        self,
        tracks: Sequence[TrackHistory],
        max_side: int,
        max_bytes: int,
        masks: Mapping[float, Mapping[int, Mask]],
    ) -> bytes:
        """Draw the sheet as a JPEG.

        Args:
            tracks: All tracks.
            max_side: The most pixels along its long side.
            max_bytes: The most bytes.
            masks: Masks by the times of key frames and the numbers of tracks.

        Raises:
            ValueError: It has no frame.
        """
        frames = []
        for time, data in self._frames:
            objects = objects_at(tracks, time, self.size, masks.get(time))
            image = annotate(Picture.from_bytes(data).rgb(), objects, original_size=self.size, style=_STYLE)
            counts = ", ".join(f"{count} {label}" for label, count in count_labels(objects).items())
            frames.append((image, f"{clock(time)}  {counts or 'nothing'}"))
        data, _, _ = fit_bytes(contact_sheet(frames, max_side), max_bytes, max_side)
        return data
