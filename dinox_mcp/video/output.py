"""The files of one call: the annotated H.264 video, its objects frame by frame, the contact sheet and the result."""

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
from dinox_mcp.store.files import check_replaceable, move_into_place, write_atomically
from dinox_mcp.types.detection import DetectedObject, Mask
from dinox_mcp.types.video import VideoFiles, VideoResult
from dinox_mcp.video.drawing import FrameAnnotator, annotated_size, objects_at
from dinox_mcp.video.frames import HD_LINES, Pixels, Reader
from dinox_mcp.video.scan import Scan
from dinox_mcp.video.source import VideoFile
from dinox_mcp.video.track import TrackHistory

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

ANNOTATED = "-annotated.mp4"
_FRAMES = "-frames.jsonl"
_SHEET = "-sheet.jpg"
_RESULT = "-tracks.json"

ENCODERS = ("libopenh264", "h264_videotoolbox", "h264_mf", "libx264")
"""Encoders of H.264 as FFmpeg names them; the first that works is used: BSD's, the systems', then the GPL's."""
_CLOCK = 90_000
_BITS = 0.12  # for each pixel of each frame, where an encoder has no constant quality
_BT709, _BT601 = 1, 6


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
        try:
            paths.folder.mkdir(parents=True, exist_ok=True)
            for ending in (ANNOTATED, _FRAMES, _SHEET, _RESULT):  # before calls are paid for
                check_replaceable(paths.path(ending))
            self._lines: TextIO = self._new_lines.open("x", encoding="utf-8")
            try:
                self._encoder = Encoder(self._new_video, annotated_size(scan.size), scan.fps)
            except BaseException:
                self._lines.close()
                self._remove()
                raise
        except OSError as error:
            raise _unwritable(paths.folder, error) from None
        self._reader = Reader(video, scan)
        self._annotator = FrameAnnotator(scan.size)
        self.written = 0

    def write(
        self,
        time: float,
        tracks: Sequence[TrackHistory],
        check: Callable[[], None],
        masks: Mapping[int, Mapping[int, Mask]],
    ) -> None:
        """Write all frames until a time.

        Args:
            time: When the last of them is shown, in seconds.
            tracks: All tracks that are in the video until then.
            check: Called before each frame; what it raises stops the work.
            masks: Masks by the numbers of frames and of tracks.

        Raises:
            SettingsError: The disk is full.
        """
        try:
            for frame in self._reader.until(time, check):
                objects = objects_at(tracks, frame.time, self._scan.size, masks.get(frame.number))
                self._encoder.write(self._annotator.draw(frame, objects), frame.time - self._scan.times[0])
                self._lines.write(_line(frame.number, frame.time, frame.number in self._keys, objects))
                self.written += 1
        except OSError as error:
            raise _unwritable(self._paths.folder, error) from None

    def close(self) -> VideoFiles:
        """Complete the files, move them into place, and give their paths; without a frame there are no files.

        Raises:
            SettingsError: The disk is full.
        """
        try:
            self._close()
            if self.written:
                move_into_place(self._new_video, self._paths.path(ANNOTATED))
                move_into_place(self._new_lines, self._paths.path(_FRAMES))
        except OSError as error:
            raise _unwritable(self._paths.folder, error) from None
        finally:
            self._remove()
        if not self.written:
            return VideoFiles()
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


def write_sheet(paths: OutputPaths, data: bytes) -> str:
    """Write the contact sheet, and give its path.

    Raises:
        SettingsError: The folder cannot be written.
    """
    return _write(paths, _SHEET, data)


def write_result(paths: OutputPaths, result: VideoResult) -> VideoResult:
    """Write the result as JSON, and give it with the path of its file.

    Raises:
        SettingsError: The folder cannot be written.
    """
    files = result.files.model_copy(update={"answer": paths.absolute(_RESULT)})
    result = result.model_copy(update={"files": files})
    _write(paths, _RESULT, result.model_dump_json(indent=1, exclude_none=True).encode())
    return result


def _write(paths: OutputPaths, ending: str, data: bytes) -> str:
    try:
        write_atomically(paths.path(ending), data)
    except OSError as error:
        raise _unwritable(paths.folder, error) from None
    return paths.absolute(ending)


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


class Encoder:
    """Writes RGB frames into an MP4 file, which is complete and playable once closed, after any number of frames.

    Raises:
        UnsupportedError: This FFmpeg has no H.264 encoder that works.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        import av

        self._size = size[0] + size[0] % 2, size[1] + size[1] % 2
        self._colors = _BT709 if size[1] >= HD_LINES else _BT601
        name = _working_encoder(self._size)
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
        """Add a frame of shape (height, width, 3), shown at a time in seconds."""
        from av import VideoFrame

        padding = [(0, full - have) for full, have in zip(self._size[::-1], pixels.shape[:2], strict=True)]
        if any(more for _, more in padding):  # H.264 has even sizes only
            pixels = np.pad(pixels, [*padding, (0, 0)], mode="edge")
        frame = VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p", dst_colorspace=self._colors)
        self._last = frame.pts = max(self._last + 1, round(time * _CLOCK))
        frame.time_base = Fraction(1, _CLOCK)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Complete the file."""
        try:
            self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()


def _working_encoder(size: tuple[int, int]) -> str:
    """Name the first encoder that this FFmpeg has and that opens; one of the system may not."""
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
