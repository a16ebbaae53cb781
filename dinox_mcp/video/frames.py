"""Decoding, frame by frame: upright, with the time at which each is shown."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from dinox_mcp.video.scan import Scan, open_container, turn_of, video_stream
from dinox_mcp.video.source import VideoFile

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

Pixels = npt.NDArray[np.uint8]

HD_LINES = 720
_BT709 = "itu709"
_UNKNOWN = 2
_TOO_SOON = 5e-4


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame: its number from 0 in the part that is looked at, and when it is shown, in seconds."""

    number: int
    time: float
    decoded: "VideoFrame"

    def rgb(self, size: tuple[int, int]) -> Pixels:
        """Give its pixels upright at a size (width, height), as an array of shape (height, width, 3)."""
        return self._pixels(size, "rgb24")

    def gray(self, size: tuple[int, int]) -> Pixels:
        """Give its brightness upright at a size (width, height), as an array of shape (height, width)."""
        return self._pixels(size, "gray")

    def _pixels(self, size: tuple[int, int], kind: str) -> Pixels:
        turn = turn_of(self.decoded)
        width, height = size[::-1] if turn in {90, 270} else size
        # What does not say its colours has those of television: of HD from 720 lines on.
        unsaid = self.decoded.colorspace == _UNKNOWN and self.decoded.height >= HD_LINES
        decoded = self.decoded.reformat(
            width=width, height=height, format=kind, src_colorspace=_BT709 if unsaid else None
        )
        pixels = np.asarray(decoded.to_ndarray(), np.uint8)
        return np.ascontiguousarray(np.rot90(pixels, -turn // 90)) if turn else pixels


class Reader:
    """Reads the frames that a scan found, one after the other, never holding more than a few.

    Frames that are damaged are left out and counted.
    """

    def __init__(self, video: VideoFile, scan: Scan) -> None:
        self._video, self._scan = video, scan
        self._container = open_container(video)
        self.damaged = 0
        self._pause: Callable[[], None] = lambda: None
        self._frames = self._decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the decoder."""
        self._frames.close()
        self._container.close()

    def until(self, time: float, pause: Callable[[], None] = lambda: None) -> Iterator[Frame]:
        """Decode on to the frame shown at a time, that one too. Blocks.

        `pause` is called before anything is decoded, also on the way to the first frame, which may be far from where a
        decoder can begin.
        """
        self._pause = pause
        for frame in self._frames:
            yield frame
            if frame.time >= time - _TOO_SOON:
                return
            pause()

    def _decode(self) -> Generator[Frame, None, None]:
        times, last, number = self._scan.times, -1.0, 0
        for decoded in self._decoded():
            time = float(decoded.time) - self._scan.zero if decoded.time is not None else last + self._scan.step_s
            if time < times[0] - _TOO_SOON or time <= last:
                continue
            if time > times[-1] + _TOO_SOON:
                return
            yield Frame(number, time, decoded)
            last, number = time, number + 1

    def _decoded(self) -> "Iterator[VideoFrame]":
        import av

        stream = video_stream(self._container, self._video.name)
        start = self._scan.times[0]
        if start > 1 and stream.time_base:
            self._container.seek(int((self._scan.zero + start) / stream.time_base), stream=stream)
        packets = self._container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError):
                return  # the file ends early, which the scan has noted
            if packet is None:
                return
            self._pause()
            try:
                yield from packet.decode()
            except av.FFmpegError:
                self.damaged += 1
