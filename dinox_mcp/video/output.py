"""The files of one call, written as it goes: stopped at any time, they are whole up to there."""

import json
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
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
from dinox_mcp.video.tracking import Trail

ANNOTATED = "-annotated.mp4"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files of a call go: `folder`/`stem`-annotated.mp4 and its like."""

    folder: Path
    stem: str

    def path(self, ending: str) -> Path:
        """Name a file."""
        return self.folder / f"{self.stem}{ending}"


class Output:
    """Writes the annotated video and what is in each of its frames. All methods block.

    Raises:
        SettingsError: the folder cannot be written, or the video itself would be overwritten.
        UnsupportedError: this FFmpeg has no H.264 encoder that works.
    """

    def __init__(self, place: Place, video: VideoFile, scan: Scan, keys: Collection[int]) -> None:
        self._place, self._scan, self._keys = place, scan, frozenset(keys)
        # Beside, until there is something to show: what an earlier call wrote stays where this one fails at once.
        self._beside = place.path(f".{secrets.token_hex(4)}.part")
        self._beside_lines = self._beside.with_suffix(".jsonl.part")
        if place.path(ANNOTATED).resolve() == Path(video.name).resolve():
            raise SettingsError(f"{video.name} is the video itself, which is not overwritten; choose another folder")
        try:
            place.folder.mkdir(parents=True, exist_ok=True)
            self._lines: TextIO = self._beside_lines.open("w", encoding="utf-8")
        except OSError as error:
            raise _unwritable(place.folder, error) from None
        try:
            self._encoder = Encoder(self._beside, drawn_size(scan.size), scan.fps)
        except OSError as error:
            self._drop_lines()
            raise _unwritable(place.folder, error) from None
        except BaseException:
            self._drop_lines()
            raise
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
        self._reader.close()
        self._lines.close()
        try:
            self._encoder.close()
            if self.drawn:
                self._beside.replace(self._place.path(ANNOTATED))
                self._beside_lines.replace(self._place.path("-frames.jsonl"))
        except OSError as error:
            raise _unwritable(self._place.folder, error) from None
        finally:
            self._beside.unlink(missing_ok=True)
            self._drop_lines()
        if not self.drawn:
            return VideoFiles()
        return VideoFiles(
            video=str(self._place.path(ANNOTATED).resolve()),
            frames=str(self._place.path("-frames.jsonl").resolve()),
        )

    def _drop_lines(self) -> None:
        self._lines.close()
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
    path = str(place.path("-tracks.json").resolve())
    named = result.model_copy(update={"files": result.files.model_copy(update={"answer": path})})
    _write(place, "-tracks.json", named.model_dump_json(indent=1, exclude_none=True).encode())
    return named


def _write(place: Place, ending: str, data: bytes) -> str:
    path = place.path(ending)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise _unwritable(place.folder, error) from None
    return str(path.resolve())


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
