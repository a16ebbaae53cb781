"""The files of one call, written as it goes: stopped at any time, they are whole up to there."""

import json
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from dinox_mcp.errors import SettingsError
from dinox_mcp.schema import DetectedObject, Mask
from dinox_mcp.video.drawing import Painter, drawn_size, objects_at
from dinox_mcp.video.encoding import Encoder
from dinox_mcp.video.frames import Reader
from dinox_mcp.video.scan import Scan
from dinox_mcp.video.schema import VideoFiles, VideoResult
from dinox_mcp.video.source import VideoFile
from dinox_mcp.video.trail import Trail
from dinox_mcp.whole import write_whole

ANNOTATED = "-annotated.mp4"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files of a call go: `folder`/`stem`-annotated.mp4 and its like."""

    folder: Path
    stem: str

    def path(self, ending: str) -> Path:
        """Name a file."""
        return self.folder / f"{self.stem}{ending}"

    def written(self, ending: str) -> str:
        """Name a file in full, which need not be there yet; where it is a link now, it will be a file."""
        return str(self.folder.resolve() / f"{self.stem}{ending}")


class Output:
    """Writes the annotated video and what is in each of its frames. All methods block.

    Raises:
        SettingsError: the folder cannot be written, or the video itself would be overwritten.
        UnsupportedError: this FFmpeg has no H.264 encoder that works.
    """

    def __init__(self, place: Place, video: VideoFile, scan: Scan, keys: Collection[int]) -> None:
        self._place, self._scan, self._keys = place, scan, frozenset(keys)
        # Beside, until all is well: what an earlier call wrote stays where this one fails. No link has such a name.
        self._beside = place.path(f".{secrets.token_hex(8)}.part")
        self._beside_lines = self._beside.with_suffix(".jsonl.part")
        if place.path(ANNOTATED).resolve() == Path(video.name).resolve():
            raise SettingsError(f"{video.name} is the video itself, which is not overwritten; choose another folder")
        try:
            place.folder.mkdir(parents=True, exist_ok=True)
            self._lines: TextIO = self._beside_lines.open("x", encoding="utf-8")
            try:
                self._encoder = Encoder(self._beside, drawn_size(scan.size), scan.fps)
            except BaseException:
                self._lines.close()
                self._remove()
                raise
        except OSError as error:
            raise _unwritable(place.folder, error) from None
        self._reader = Reader(video, scan)
        self._painter = Painter(scan.size)
        self.drawn = 0

    def draw(
        self,
        time: float,
        trails: Sequence[Trail],
        reach: float,
        pause: Callable[[], None],
        masks: Mapping[int, Mapping[int, Mask]],
    ) -> None:
        """Draw all frames until a time with the tracks that are there; `masks` are by numbers of frames and tracks.

        Raises:
            SettingsError: the disk is full.
        """
        try:
            for frame in self._reader.until(time, pause):
                objects = objects_at(trails, frame.time, reach, self._scan.size, masks.get(frame.number))
                self._encoder.write(self._painter.paint(frame, objects), frame.time - self._scan.times[0])
                self._lines.write(_line(frame.number, frame.time, frame.number in self._keys, objects))
                self.drawn += 1
        except OSError as error:
            raise _unwritable(self._place.folder, error) from None

    def close(self) -> VideoFiles:
        """Finish the files and name them; without a frame there are none.

        Raises:
            SettingsError: the disk is full.
        """
        try:
            self._close()
            if self.drawn:
                self._beside.replace(self._place.path(ANNOTATED))
                self._beside_lines.replace(self._place.path("-frames.jsonl"))
        except OSError as error:
            raise _unwritable(self._place.folder, error) from None
        finally:
            self._remove()
        if not self.drawn:
            return VideoFiles()
        return VideoFiles(
            video=self._place.written(ANNOTATED),
            frames=self._place.written("-frames.jsonl"),
        )

    def discard(self) -> None:
        """Remove what was written; what an earlier call wrote stays."""
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
        self._beside.unlink(missing_ok=True)
        self._beside_lines.unlink(missing_ok=True)


def write_sheet(place: Place, data: bytes) -> str:
    """Write the contact sheet, and name its file.

    Raises:
        SettingsError: the folder cannot be written.
    """
    return _write(place, "-sheet.jpg", data)


def write_answer(place: Place, result: VideoResult) -> VideoResult:
    """Write the answer, and give it with the name of its file.

    Raises:
        SettingsError: the folder cannot be written.
    """
    path = place.written("-tracks.json")
    named = result.model_copy(update={"files": result.files.model_copy(update={"answer": path})})
    _write(place, "-tracks.json", named.model_dump_json(indent=1, exclude_none=True).encode())
    return named


def _write(place: Place, ending: str, data: bytes) -> str:
    try:
        write_whole(place.path(ending), data)
    except OSError as error:
        raise _unwritable(place.folder, error) from None
    return place.written(ending)


def _line(number: int, time: float, key: bool, objects: Sequence[DetectedObject]) -> str:
    listed = [
        {"id": one.id, "label": one.label, "bbox": [round(edge, 1) for edge in one.bbox]}
        | ({} if one.score is None else {"score": round(one.score, 3)})
        | ({} if one.mask is None else {"mask": one.mask.model_dump()})
        for one in objects
    ]
    return json.dumps({"frame": number, "time_s": round(time, 4), "key": key, "objects": listed}) + "\n"


def _unwritable(folder: Path, error: OSError) -> SettingsError:
    return SettingsError(
        f"cannot write into {folder} ({error.strerror}); choose another folder (IMAGE_STORAGE_DIRECTORY, or --out)"
    )
