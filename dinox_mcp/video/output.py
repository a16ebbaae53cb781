"""The files of one call: H.264 film, frames and sheet, each complete up to where it was stopped."""

import json
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO, cast

import numpy as np

from dinox_mcp.errors import SettingsError, UnsupportedError
from dinox_mcp.store.files import write_whole
from dinox_mcp.types.detection import DetectedObject, Mask
from dinox_mcp.types.video import VideoFiles, VideoResult
from dinox_mcp.video.drawing import Painter, drawn_size, objects_at
from dinox_mcp.video.frames import HD_LINES, Pixels, Reader
from dinox_mcp.video.scan import Scan
from dinox_mcp.video.source import VideoFile
from dinox_mcp.video.track import Trail

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream


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


ENCODERS = ("libopenh264", "h264_videotoolbox", "h264_mf", "libx264")
"""Encoders of H.264 as FFmpeg names them, the first that works is used: BSD's, the systems', then the GPL's."""
_CLOCK = 90_000
_BITS = 0.12  # for each pixel of each frame, where an encoder has no constant quality
_BT709, _BT601 = 1, 6


class Encoder:
    """Writes RGB frames into a file, which is whole and playable once closed, however many there were.

    Raises:
        UnsupportedError: this FFmpeg has no H.264 encoder that works.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        import av

        self._size = size[0] + size[0] % 2, size[1] + size[1] % 2
        self._colors = _BT709 if size[1] >= HD_LINES else _BT601
        name = _working(self._size)
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        rate = Fraction(fps).limit_denominator(1001)
        stream = cast("VideoStream", self._container.add_stream(name, rate=rate))
        _set_up(stream.codec_context, name, self._size, fps)
        stream.codec_context.colorspace = self._colors
        stream.codec_context.color_primaries = stream.codec_context.color_trc = self._colors
        self._stream = stream
        self._last = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, pixels: Pixels, time: float) -> None:
        """Add a frame of shape (height, width, 3), shown at a time in seconds after the frame before."""
        from av import VideoFrame

        odd = [(0, full - have) for full, have in zip(self._size[::-1], pixels.shape[:2], strict=True)]
        if any(more for _, more in odd):
            pixels = np.pad(pixels, [*odd, (0, 0)], mode="edge")
        frame = VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p", dst_colorspace=self._colors)
        self._last = frame.pts = max(self._last + 1, round(time * _CLOCK))
        frame.time_base = Fraction(1, _CLOCK)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file."""
        try:
            self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()


def _working(size: tuple[int, int]) -> str:
    """Name the first encoder that this FFmpeg has and that opens, as those of a system need not."""
    import av
    from av.codec.codec import UnknownCodecError

    for name in ENCODERS:
        try:
            context = cast("VideoCodecContext", av.CodecContext.create(name, "w"))
            _set_up(context, name, size, 25)
            context.open()
        except (UnknownCodecError, av.FFmpegError, ValueError):
            continue
        return name
    raise UnsupportedError(
        "this FFmpeg has no H.264 encoder that works; pip install --force-reinstall av, or ask without files"
    )


def _set_up(context: "VideoCodecContext", name: str, size: tuple[int, int], fps: float) -> None:
    context.width, context.height = size
    context.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, _CLOCK)
    context.gop_size = max(1, round(2 * fps))  # players seek to the nearest two seconds
    if name == "libx264":
        context.options = {"preset": "veryfast", "crf": "23"}
    else:
        context.bit_rate = round(_BITS * size[0] * size[1] * max(1.0, fps))
