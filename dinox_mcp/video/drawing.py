"""The frames of a video with its tracks on them, and the contact sheet of its key frames."""

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
from dinox_mcp.video.track import Trail

STYLE = Style(color_by="number", captions=False)
SHEET_FRAMES = 12
_LARGEST = 1920  # the long side of an annotated video: beyond, drawing and players are slow
_TRAIL_S = 1.5
_THUMBNAIL = 800


def objects_at(
    trails: Sequence[Trail], time: float, reach: float, size: tuple[int, int], masks: Mapping[int, Mask] | None = None
) -> list[DetectedObject]:
    """Say what is where at a time, in pixels of the video's `size` (width, height); `masks` are by track numbers."""
    objects = []
    for trail in trails:
        box = trail.box(time, reach)
        if box is not None and trail.id is not None:
            score = trail.latest(time).found.score
            mask = masks.get(trail.id) if masks else None
            objects.append(
                DetectedObject(id=trail.id, label=trail.label, bbox=clip(box, *size), score=score, mask=mask)
            )
    return objects


def drawn_size(size: tuple[int, int]) -> tuple[int, int]:
    """Tell the size of the annotated video."""
    factor = min(1.0, _LARGEST / max(size))
    return max(16, round(size[0] * factor)), max(16, round(size[1] * factor))


@dataclass
class Painter:
    """Draws the objects of one frame after the other, with the ways that they came along."""

    size: tuple[int, int]
    _ways: dict[int, deque[tuple[float, Point]]] = field(default_factory=lambda: defaultdict(deque))

    def paint(self, frame: Frame, objects: Sequence[DetectedObject]) -> Pixels:
        """Draw a frame, as an array of shape (height, width, 3)."""
        size = drawn_size(self.size)
        factors = size[0] / self.size[0], size[1] / self.size[1]
        for found in objects:
            x1, y1, x2, y2 = found.bbox
            self._ways[found.id].append((frame.time, ((x1 + x2) / 2 * factors[0], (y1 + y2) / 2 * factors[1])))
        canvas = Image.fromarray(frame.rgb(size))
        canvas = draw_trails(canvas, {one.id: self._way(one.id, frame.time) for one in objects})
        return np.asarray(annotate(canvas, objects, original_size=self.size, style=STYLE))

    def _way(self, number: int, time: float) -> list[Point]:
        way = self._ways[number]
        while way and way[0][0] < time - _TRAIL_S:
            way.popleft()
        return [point for _, point in way]


@dataclass
class Sheet:
    """Collects some key frames, small, until it is known what is on them."""

    size: tuple[int, int]
    kept: list[tuple[float, bytes]] = field(default_factory=list)

    def keep(self, time: float, image: Image.Image) -> None:
        """Keep a key frame."""
        small = image.copy()
        small.thumbnail((_THUMBNAIL, _THUMBNAIL))
        self.kept.append((time, encode_jpeg(small)))

    def draw(
        self,
        trails: Sequence[Trail],
        reach: float,
        max_side: int,
        max_bytes: int,
        masks: Mapping[float, Mapping[int, Mask]],
    ) -> bytes:
        """Draw the sheet as a JPEG of at most so many pixels along its long side and so many bytes.

        `masks` are by times of key frames and numbers of tracks.

        Raises:
            ValueError: nothing was kept.
        """
        frames = []
        for time, data in self.kept:
            objects = objects_at(trails, time, reach, self.size, masks.get(time))
            image = annotate(Picture.from_bytes(data).rgb(), objects, original_size=self.size, style=STYLE)
            counts = ", ".join(f"{count} {label}" for label, count in count_labels(objects).items())
            frames.append((image, f"{clock(time)}  {counts or 'nothing'}"))
        data, _, _ = fit_bytes(contact_sheet(frames, max_side), max_bytes, max_side)
        return data
