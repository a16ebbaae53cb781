"""Decodes and encodes videos frame by frame: upright, each with the time at which it is shown."""

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self, cast

import numpy as np
import numpy.typing as npt

from dinox_mcp.errors import UnsupportedError
from dinox_mcp.types.boxes import Box, scale
from dinox_mcp.video.scan import Scan
from dinox_mcp.video.source import (
    VideoFile,
    has_frame,
    open_container,
    opened_stream,
    orientation_of,
    pixel_ratio,
    shown_size,
    stop_if_cancelled,
)

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Pixels = npt.NDArray[np.uint8]

_HD_HEIGHT = 720  # from which a video that does not name its colour space has that of HD television
_UNKNOWN_COLORSPACE = 2
TOLERANCE_S = 5e-4  # times that differ by less are the same time
_SAME_RATIO = 0.02  # ratios of the sides that differ by less are the same: sizes are rounded to macroblocks
ENCODERS = ("libopenh264", "h264_videotoolbox", "h264_mf", "libx264")
"""Encoders of H.264 as FFmpeg names them; the first that works is used: BSD's, the systems', then the GPL's."""
_CLOCK = 90_000
_BITS = 0.12  # for each pixel of each frame, where an encoder has no constant quality
_BT709, _BT601 = 1, 6


def fitted_size(size: tuple[int, int], most: int) -> tuple[int, int]:
    """Shrink a (width, height) so that the long side is at most `most`; no side gets less than 16 pixels."""
    factor = min(1.0, most / max(size))
    return max(16, round(size[0] * factor)), max(16, round(size[1] * factor))


class Fit(NamedTuple):
    """Where a frame of another size lies in the video: as large as fits, in the middle, with black borders.

    `scale_x` and `scale_y` are pixels of the video for each of the frame's own. The others are the frame's upper left
    corner and its size, in pixels of the video.
    """

    scale_x: float
    scale_y: float
    left: int
    top: int
    width: int
    height: int

    @classmethod
    def of(cls, own: tuple[int, int], size: tuple[int, int]) -> Self:
        """Fit a frame of its `own` (width, height) into a `size`."""
        ratio = own[0] / own[1] / (size[0] / size[1])
        width, height = size
        if ratio > 1 + _SAME_RATIO:
            height = max(1, round(size[0] * own[1] / own[0]))
        elif ratio < 1 - _SAME_RATIO:
            width = max(1, round(size[1] * own[0] / own[1]))
        left, top = (size[0] - width) // 2, (size[1] - height) // 2
        return cls(width / own[0], height / own[1], left, top, width, height)

    def box(self, box: Box) -> Box:
        """Map a box in the frame's own pixels to pixels of the video."""
        x1, y1, x2, y2 = scale(box, self.scale_x, self.scale_y)
        return x1 + self.left, y1 + self.top, x2 + self.left, y2 + self.top


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame.

    Attributes:
        number: Its number, from 0 in the part of the video that is processed.
        time: When it is shown, in seconds.
        decoded: The frame as PyAV decoded it.
        own: Its (width, height) as a person sees it, which may change in the middle of a video.
    """

    number: int
    time: float
    decoded: "VideoFrame"
    own: tuple[int, int]

    def rgb(self, size: tuple[int, int]) -> Pixels:
        """Convert to RGB, upright, at a size (width, height): an array of shape (height, width, 3)."""
        return self._pixels(size, "rgb24")

    def gray(self, size: tuple[int, int]) -> Pixels:
        """Convert to grey, upright, at a size (width, height): an array of shape (height, width)."""
        return self._pixels(size, "gray")

    def _pixels(self, size: tuple[int, int], kind: str) -> Pixels:
        orientation = orientation_of(self.decoded)
        fit = Fit.of(self.own, size)
        width, height = orientation.size(fit.width, fit.height)
        unknown = self.decoded.colorspace == _UNKNOWN_COLORSPACE and self.decoded.height >= _HD_HEIGHT
        decoded = self.decoded.reformat(
            width=width, height=height, format=kind, src_colorspace="itu709" if unknown else None
        )
        pixels = orientation.apply(np.asarray(decoded.to_ndarray(), np.uint8))
        if (fit.width, fit.height) == size:
            return pixels
        canvas = np.zeros((size[1], size[0], *pixels.shape[2:]), np.uint8)
        canvas[fit.top : fit.top + fit.height, fit.left : fit.left + fit.width] = pixels
        return canvas


class Reader:
    """Decodes the frames that a scan found, in order; few are in memory at a time.

    Attributes:
        damaged: How many packets could not be decoded so far; their frames are left out.
        sizes: The different sizes of the frames so far, in order.
    """

    def __init__(self, video: VideoFile, scan: Scan) -> None:
        self._video, self._scan = video, scan
        self._container = open_container(video)
        self._stream = opened_stream(self._container, scan.stream, video.name)
        self.damaged = 0
        self.sizes: dict[tuple[int, int], None] = {}
        self._frames = self._decode()

    def close(self) -> None:
        """Free the decoder."""
        self._frames.close()
        self._container.close()

    def until(self, time: float) -> Iterator[Frame]:
        """Decode on to the frame shown at a time in seconds, including that one. Blocks."""
        for frame in self._frames:
            yield frame
            if frame.time >= time - TOLERANCE_S:
                return
            stop_if_cancelled()

    def _decode(self) -> Generator[Frame, None, None]:
        times, last, number = self._scan.times, -1.0, 0
        for decoded in self._decoded():
            time = self._time(decoded, last)
            if time < times[0] - TOLERANCE_S or time <= last:
                continue
            if time > times[-1] + TOLERANCE_S:
                return
            own = shown_size(decoded, orientation_of(decoded), pixel_ratio(self._stream))
            self.sizes[own] = None
            yield Frame(number, time, decoded, own)
            last, number = time, number + 1

    def _time(self, decoded: "VideoFrame", last: float) -> float:
        """Give the time of a frame that follows one shown at `last`."""
        repaired = self._scan.repaired
        if repaired:  # its time stamp is then the number of its packet
            return repaired[decoded.pts] if decoded.pts is not None else last + self._scan.step_s
        return float(decoded.time) - self._scan.zero if decoded.time is not None else last + self._scan.step_s

    def _decoded(self) -> "Iterator[VideoFrame]":
        """Decode packets from where decoding begins; where the clock is repaired, time stamps become their numbers.

        Earlier packets are read and left out: seeking fails in files without an index or with wrong time stamps.
        """
        import av

        number = 0
        with suppress(av.FFmpegError, OSError):  # the file ends early, as the notes of the scan say
            for packet in self._container.demux(self._stream):
                stop_if_cancelled()
                if has_frame(packet):
                    if self._scan.repaired:
                        packet.pts, packet.dts = number, None
                    number += 1
                if number <= self._scan.begin and packet.size:
                    continue
                try:
                    yield from packet.decode()
                except av.FFmpegError:
                    self.damaged += 1


class Encoder:
    """Writes RGB frames into an MP4 file, which is complete and playable once closed, after any number of frames.

    Raises:
        UnsupportedError: This FFmpeg has no H.264 encoder that works.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        import av

        self._size = size[0] + size[0] % 2, size[1] + size[1] % 2
        self._colors = _BT709 if size[1] >= _HD_HEIGHT else _BT601
        name = _working_encoder(self._size)
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        rate = Fraction(fps).limit_denominator(1001)
        stream = cast("VideoStream", self._container.add_stream(name, rate=rate))
        _set_up(stream.codec_context, name, self._size, fps)
        stream.codec_context.colorspace = self._colors
        stream.codec_context.color_primaries = stream.codec_context.color_trc = self._colors
        self._stream = stream
        self._last = -1

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
        "this FFmpeg has no H.264 encoder that works; pip install --force-reinstall av, or leave the files out"
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
