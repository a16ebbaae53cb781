"""Decoding, frame by frame: upright, with the time at which each is shown."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from dinox_mcp.types.boxes import Box
from dinox_mcp.video.scan import Scan, counts, orientation_of, shown_size
from dinox_mcp.video.source import VideoFile, open_container, opened_stream, pixel_ratio

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame

Pixels = npt.NDArray[np.uint8]

HD_LINES = 720
_BT709 = "itu709"
_UNKNOWN = 2
_TOO_SOON = 5e-4
_ALIKE = 0.02  # of the ratio of the sides, which rounding to whole pixels and to macroblocks changes


class Fit(NamedTuple):
    """Where a frame of another shape lies in the video: as large as fits, in the middle, with black beside it."""

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
        if ratio > 1 + _ALIKE:
            height = max(1, round(size[0] * own[1] / own[0]))
        elif ratio < 1 - _ALIKE:
            width = max(1, round(size[1] * own[0] / own[1]))
        left, top = (size[0] - width) // 2, (size[1] - height) // 2
        return cls(width / own[0], height / own[1], left, top, width, height)

    def box(self, box: Box) -> Box:
        """Map a box in the frame's own pixels to pixels of the video."""
        x1, y1, x2, y2 = box
        return (
            x1 * self.scale_x + self.left,
            y1 * self.scale_y + self.top,
            x2 * self.scale_x + self.left,
            y2 * self.scale_y + self.top,
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame: its number from 0 in the part that is looked at, and when it is shown, in seconds.

    `own` is its size as a person sees it, which may change in the middle of a video.
    """

    number: int
    time: float
    decoded: "VideoFrame"
    own: tuple[int, int]

    def rgb(self, size: tuple[int, int]) -> Pixels:
        """Give its pixels upright in a size (width, height), as an array of shape (height, width, 3)."""
        return self._pixels(size, "rgb24")

    def gray(self, size: tuple[int, int]) -> Pixels:
        """Give its brightness upright in a size (width, height), as an array of shape (height, width)."""
        return self._pixels(size, "gray")

    def _pixels(self, size: tuple[int, int], kind: str) -> Pixels:
        orientation = orientation_of(self.decoded)
        fit = Fit.of(self.own, size)
        width, height = orientation.size(fit.width, fit.height)
        # What does not say its colours has those of television: of HD from 720 lines on.
        unsaid = self.decoded.colorspace == _UNKNOWN and self.decoded.height >= HD_LINES
        decoded = self.decoded.reformat(
            width=width, height=height, format=kind, src_colorspace=_BT709 if unsaid else None
        )
        pixels = orientation.apply(np.asarray(decoded.to_ndarray(), np.uint8))
        if (fit.width, fit.height) == size:
            return pixels
        canvas = np.zeros((size[1], size[0], *pixels.shape[2:]), np.uint8)
        canvas[fit.top : fit.top + fit.height, fit.left : fit.left + fit.width] = pixels
        return canvas


class Reader:
    """Reads the frames that a scan found, one after the other, never holding more than a few.

    Frames that are damaged are left out and counted. `sizes` are those of the frames so far, in order.
    """

    def __init__(self, video: VideoFile, scan: Scan) -> None:
        self._video, self._scan = video, scan
        self._container = open_container(video)
        self._stream = opened_stream(self._container, scan.stream, video.name)
        self.damaged = 0
        self.sizes: dict[tuple[int, int], None] = {}
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
            time = self._time(decoded, last)
            if time < times[0] - _TOO_SOON or time <= last:
                continue
            if time > times[-1] + _TOO_SOON:
                return
            own = shown_size(decoded, orientation_of(decoded), pixel_ratio(self._stream))
            self.sizes[own] = None
            yield Frame(number, time, decoded, own)
            last, number = time, number + 1

    def _time(self, decoded: "VideoFrame", last: float) -> float:
        """Tell when a frame is shown, which came after one shown at `last`."""
        repaired = self._scan.repaired
        if repaired:  # its stamp is then the number of its packet
            return repaired[decoded.pts] if decoded.pts is not None else last + self._scan.step_s
        return float(decoded.time) - self._scan.zero if decoded.time is not None else last + self._scan.step_s

    def _decoded(self) -> "Iterator[VideoFrame]":
        import av

        packets = self._packets()
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

    def _packets(self) -> "Iterator[Packet[Any]]":
        """Read packets from where decoding begins; their stamps are their numbers where the clock is corrected.

        Packets before are read and left out: seeking misses in files without an index, and by wrong stamps.
        """
        number = 0
        for packet in self._container.demux(self._stream):
            if counts(packet):
                if self._scan.repaired:
                    packet.pts, packet.dts = number, None
                number += 1
            if number > self._scan.begin or not packet.size:
                yield packet
            else:
                self._pause()
