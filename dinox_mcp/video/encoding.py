"""H.264 files in MP4 that browsers play: 4:2:0, even sizes, the index in front, each frame at its own time."""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import numpy as np

from dinox_mcp.errors import UnsupportedError
from dinox_mcp.video.frames import HD_LINES, Pixels

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

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
