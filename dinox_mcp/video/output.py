"""The files of one call, and what is drawn in them.

They are the annotated H.264 video, its objects frame by frame, the contact sheet of key frames, and the result.
"""

import json
import secrets
from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np
from PIL import Image

from dinox_mcp.drawing.annotate import annotate
from dinox_mcp.drawing.lines import draw_trails
from dinox_mcp.drawing.sheet import cell_size, contact_sheet
from dinox_mcp.drawing.style import Style
from dinox_mcp.drawing.views import encode_jpeg, fit_bytes
from dinox_mcp.errors import SettingsError
from dinox_mcp.images.picture import Picture
from dinox_mcp.store.files import check_replaceable, move_into_place, write_atomically
from dinox_mcp.types.boxes import center, clip, scale
from dinox_mcp.types.detection import DetectedObject, Mask, Point, count_labels
from dinox_mcp.types.video import VideoFiles, VideoResult, clock
from dinox_mcp.video.frames import Encoder, Frame, Pixels, Reader, fitted_size
from dinox_mcp.video.scan import Scan
from dinox_mcp.video.source import VideoFile
from dinox_mcp.video.tracking import TrackHistory

ANNOTATED = "-annotated.mp4"
_FRAMES = "-frames.jsonl"
SHEET = "-sheet.jpg"
_RESULT = "-tracks.json"
SHEET_FRAMES = 12  # at most on a contact sheet
_STYLE = Style(color_by="number", captions=False)
_TIMES = "\N{MULTIPLICATION SIGN}"
_MAX_SIDE = 1920  # of an annotated video: beyond, drawing and players are slow
_PATH_S = 1.5  # how much of its path is drawn behind an object
_THUMBNAIL = 800


@dataclass(frozen=True, slots=True)
class OutputPaths:
    """Where the files of a call go: `folder`/`stem`-annotated.mp4 and so on."""

    folder: Path
    stem: str

    def path(self, ending: str) -> Path:
        """Give the path of a file."""
        return self.folder / f"{self.stem}{ending}"

    def absolute(self, ending: str) -> str:
        """Give the absolute path of a file. A link of that name is not followed, as it will be replaced."""
        return str(self.folder.resolve() / f"{self.stem}{ending}")


class FrameFiles:
    """Writes the annotated video and the list of objects in each of its frames. All methods block.

    Both are written under temporary names and moved into place when they are complete: until then, and when the call
    fails, the files of an earlier call stay.

    Raises:
        SettingsError: The folder cannot be written, or the video itself would be overwritten.
        UnsupportedError: This FFmpeg has no H.264 encoder that works.
    """

    def __init__(self, paths: OutputPaths, video: VideoFile, scan: Scan, keys: Collection[int]) -> None:
        self._paths, self._scan, self._keys = paths, scan, frozenset(keys)
        self._new_video = paths.path(f".{secrets.token_hex(8)}.part")
        self._new_lines = self._new_video.with_suffix(".jsonl.part")
        if paths.path(ANNOTATED).resolve() == Path(video.name).resolve():
            raise SettingsError(f"{video.name} is the video itself, which is not overwritten; choose another folder")
        with _writing_into(paths.folder):
            paths.folder.mkdir(parents=True, exist_ok=True)
            for ending in (ANNOTATED, _FRAMES, SHEET, _RESULT):  # before calls are paid for
                check_replaceable(paths.path(ending))
            self._lines: TextIO = self._new_lines.open("x", encoding="utf-8")
            try:
                self._encoder = Encoder(self._new_video, annotated_size(scan.size), scan.fps)
            except BaseException:
                self._lines.close()
                self._remove()
                raise
        self._reader = Reader(video, scan)
        self._annotator = FrameAnnotator(scan.size)
        self.written = 0

    def write(self, time: float, tracks: Sequence[TrackHistory], masks: Mapping[int, Mapping[int, Mask]]) -> None:
        """Write all frames until a time, with the tracks until then; `masks` are by numbers of frames and of tracks.

        Raises:
            SettingsError: The disk is full.
        """
        with _writing_into(self._paths.folder):
            for frame in self._reader.until(time):
                objects = objects_at(tracks, frame.time, self._scan.size, masks.get(frame.number))
                self._encoder.write(self._annotator.draw(frame, objects), frame.time - self._scan.times[0])
                self._lines.write(_line(frame.number, frame.time, frame.number in self._keys, objects))
                self.written += 1

    def close(self) -> VideoFiles:
        """Complete the files, move them into place, and give their paths; without a frame there are no files.

        Raises:
            SettingsError: The disk is full.
        """
        try:
            with _writing_into(self._paths.folder):
                self._close()
                if not self.written:
                    return VideoFiles()
                move_into_place(self._new_video, self._paths.path(ANNOTATED))
                move_into_place(self._new_lines, self._paths.path(_FRAMES))
        finally:
            self._remove()
        return VideoFiles(video=self._paths.absolute(ANNOTATED), frames=self._paths.absolute(_FRAMES))

    def discard(self) -> None:
        """Remove what was written; the files of an earlier call stay."""
        with suppress(OSError):  # the disk may be full
            self._close()
        self._remove()

    def _close(self) -> None:
        self._reader.close()
        try:
            self._lines.close()
        finally:
            self._encoder.close()

    def _remove(self) -> None:
        self._new_video.unlink(missing_ok=True)
        self._new_lines.unlink(missing_ok=True)


def write_result(paths: OutputPaths, result: VideoResult) -> VideoResult:
    """Write the result as JSON, and give it with the path of its file; see `write_file`."""
    files = result.files.model_copy(update={"answer": paths.absolute(_RESULT)})
    result = result.model_copy(update={"files": files})
    write_file(paths, _RESULT, result.model_dump_json(indent=1, exclude_none=True).encode())
    return result


def write_file(paths: OutputPaths, ending: str, data: bytes) -> str:
    """Write a file in one step, and give its path.

    Raises:
        SettingsError: The folder cannot be written.
    """
    with _writing_into(paths.folder):
        write_atomically(paths.path(ending), data)
    return paths.absolute(ending)


def _line(number: int, time: float, key: bool, objects: Sequence[DetectedObject]) -> str:
    listed = [
        {"id": one.id, "label": one.label, "bbox": [round(edge, 1) for edge in one.bbox]}
        | ({} if one.score is None else {"score": round(one.score, 3)})
        | ({} if one.mask is None else {"mask": one.mask.model_dump()})
        for one in objects
    ]
    return json.dumps({"frame": number, "time_s": round(time, 4), "key": key, "objects": listed}) + "\n"


@contextmanager
def _writing_into(folder: Path) -> Iterator[None]:
    """Explain why a folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise SettingsError(
            f"cannot write into {folder} ({error.strerror}); choose another folder (IMAGE_STORAGE_DIRECTORY, or --out)"
        ) from None


def objects_at(
    tracks: Sequence[TrackHistory],
    time: float,
    size: tuple[int, int],
    masks: Mapping[int, Mask] | None = None,
) -> list[DetectedObject]:
    """List the objects of the numbered tracks at a time in a video of (width, height) `size`; masks by number."""
    return [
        DetectedObject(
            id=track.id,
            label=track.label,
            bbox=clip(box, *size),
            score=track.latest(time).detection.score,
            mask=masks.get(track.id) if masks else None,
        )
        for track in tracks
        if track.id is not None and (box := track.box(time)) is not None
    ]


def annotated_size(size: tuple[int, int]) -> tuple[int, int]:
    """Give the (width, height) of the annotated video for a video of a size."""
    return fitted_size(size, _MAX_SIDE)


@dataclass
class FrameAnnotator:
    """Draws objects and their latest paths on frames, which it gets in order."""

    size: tuple[int, int]
    _paths: dict[int, deque[tuple[float, Point]]] = field(default_factory=lambda: defaultdict(deque))

    def draw(self, frame: Frame, objects: Sequence[DetectedObject]) -> Pixels:
        """Draw a frame, as an array of shape (height, width, 3)."""
        size = annotated_size(self.size)
        for found in objects:
            box = scale(found.bbox, size[0] / self.size[0], size[1] / self.size[1])
            self._paths[found.id].append((frame.time, center(box)))
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
    """Collects small key frames (time, JPEG), and draws them when all tracks are known."""

    size: tuple[int, int]
    frames: list[tuple[float, bytes]] = field(default_factory=list)

    def add(self, time: float, image: Image.Image) -> None:
        """Add a key frame."""
        small = image.copy()
        small.thumbnail((_THUMBNAIL, _THUMBNAIL))
        self.frames.append((time, encode_jpeg(small)))

    def draw(
        self,
        tracks: Sequence[TrackHistory],
        max_side: int,
        max_bytes: int,
        masks: Mapping[float, Mapping[int, Mask]],
    ) -> bytes:
        """Draw the sheet as a JPEG; `masks` are by times of key frames and numbers of tracks."""
        frames = []
        for time, data in self.frames:
            objects = objects_at(tracks, time, self.size, masks.get(time))
            image = Picture.from_bytes(data).rgb()
            image = image.resize(cell_size(len(self.frames), image.size, max_side), Image.Resampling.LANCZOS)
            image = annotate(image, objects, original_size=self.size, style=_STYLE)  # small, so that tags are legible
            counts = ", ".join(f"{label} {_TIMES} {count}" for label, count in count_labels(objects).items())
            frames.append((image, f"{clock(time)} · {counts or 'nothing'}"))
        data, _, _ = fit_bytes(contact_sheet(frames, max_side), max_bytes, max_side)
        return data
