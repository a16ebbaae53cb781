"""The length of a video, the time of each frame and its orientation, read from its packets without decoding them."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dinox_mcp.errors import ImageError, InputError
from dinox_mcp.images.sources import shorten
from dinox_mcp.video import timeline
from dinox_mcp.video.source import VideoFile, main_stream, open_container, opened_stream, pixel_ratio

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame


_MATRIX = struct.Struct("=9i")
_TURNS = {(False, False): 0, (True, True): 180}
_TURNS_ON_SIDE = {(True, False): 90, (False, True): 270}


class Orientation(NamedTuple):
    """How a frame is turned: first rows become columns, then left and right, top and bottom are swapped."""

    on_side: bool = False
    left_right: bool = False
    up_down: bool = False

    @property
    def mirrored(self) -> bool:
        """Whether the frame is shown mirrored."""
        return self.on_side ^ self.left_right ^ self.up_down

    @property
    def rotation(self) -> int:
        """Degrees clockwise by which the frame is turned, after left and right were swapped if it is mirrored."""
        # Left and right of a frame are top and bottom of one on its side.
        flips = (
            self.left_right ^ (self.mirrored and not self.on_side),
            self.up_down ^ (self.mirrored and self.on_side),
        )
        return (_TURNS_ON_SIDE if self.on_side else _TURNS)[flips]

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Convert a stored size to the shown (width, height), or back."""
        return (height, width) if self.on_side else (width, height)

    def apply(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Turn the pixels of a frame, of shape (height, width, ...), as they are shown."""
        if self.on_side:
            pixels = pixels.swapaxes(0, 1)
        if self.left_right:
            pixels = pixels[:, ::-1]
        if self.up_down:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)


def orientation_of(frame: "VideoFrame") -> Orientation:
    """Read the display matrix of a frame, by which its pixel (x, y) is shown at (ax + cy, bx + dy)."""
    side_data: Any = frame.side_data  # its stubs say wrongly that it contains strings
    matrix = next((bytes(data) for data in side_data if data.type.name == "DISPLAYMATRIX"), b"")
    if len(matrix) != _MATRIX.size:
        return Orientation()
    a, b, _, c, d, *_ = _MATRIX.unpack(matrix)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(on_side=False, left_right=a < 0, up_down=d < 0)
    return Orientation(on_side=True, left_right=c < 0, up_down=b < 0)


_MOST_PACKETS = 1_000_000  # nine hours at 30 frames a second


@dataclass(frozen=True, slots=True)
class Limits:
    """The part of a video to process: from `start_s` to `end_s`, at most `max_s` seconds and `max_frames` frames."""

    max_s: float
    max_frames: int
    start_s: float = 0.0
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """What is known of a video without decoding it.

    Attributes:
        size: The (width, height) of the first frame, upright and in square pixels.
        orientation: How the first frame is turned.
        times: When the frames to process are shown, in seconds after the first frame of the video, in order.
        stream: The number of the stream.
        zero: The time of the first frame as FFmpeg counts, in seconds.
        step_s: The mean time from one frame to the next.
        sound: Whether the file has sound.
        notes: What to say of the file in the result.
        repaired: Where the clock of the file was repaired, the times of all packets with a frame, in the file's order.
        begin: The number of the packet with which decoding begins, counted over those with a frame.
    """

    size: tuple[int, int]
    orientation: Orientation
    times: tuple[float, ...]
    stream: int
    zero: float
    step_s: float
    sound: bool
    notes: tuple[str, ...] = ()
    repaired: tuple[float, ...] = ()
    begin: int = 0

    @property
    def duration_s(self) -> float:
        """The length of the part to process in seconds; its last frame is shown as long as an average one."""
        return self.times[-1] - self.times[0] + self.step_s

    @property
    def fps(self) -> float:
        """The mean number of frames a second."""
        return len(self.times) / self.duration_s


class _Packets(NamedTuple):
    """The packets of a video in the order of the file.

    Attributes:
        stamps: Their time stamps.
        keys: The numbers of those with which decoding can begin.
        ends_s: When the last packet of any stream ends, as the file counts.
        complete: Whether the file was read to its end.
    """

    stamps: list[timeline.Stamp]
    keys: list[int]
    ends_s: float
    complete: bool


def scan(video: VideoFile, limits: Limits, check: Callable[[], None] = lambda: None) -> Scan:
    """Read a video's packets and its first frame. Blocks: call it in a thread.

    Args:
        video: The open file.
        limits: The part to process.
        check: Called before each packet; what it raises stops the work.

    Raises:
        InputError: It has no frames, or none between `start_s` and `end_s`.
        ImageError: It is damaged so that no frame can be decoded.
        ForbiddenError: Its frames are too large.
    """
    index, streams = main_stream(video, check)
    container = open_container(video)
    with container:
        packets = _read(container, index, video.name, check)
        claimed_s = (container.duration or 0) / 1e6
        sound = bool(container.streams.audio)
    first, ratio = _first_frame(video, index, check)
    repair = timeline.repair(packets.stamps, video.format)
    times = repair.times if repair else [stamp.shown for stamp in packets.stamps] or [float(first.time or 0.0)]
    zero = min(times)
    shown = sorted({round(time - zero, 6) for time in times})
    step = (shown[-1] - shown[0]) / (len(shown) - 1) if len(shown) > 1 else 1.0
    kept, notes = _part(shown, step, limits, video.name)
    if repair:
        notes.insert(0, _repaired(repair.moved))
    elif missing := _missing(packets, claimed_s, shown[-1] + step):
        notes.insert(0, missing)
    if streams > 1:
        notes.append(f"the file has {streams} video streams; the largest was processed")
    orientation = orientation_of(first)
    repaired = tuple(round(time - zero, 6) for time in times) if repair else ()
    return Scan(
        size=shown_size(first, orientation, ratio),
        orientation=orientation,
        times=tuple(kept),
        stream=index,
        zero=zero,
        step_s=step,
        sound=sound,
        notes=tuple(notes),
        repaired=repaired,
        begin=_begin(packets.keys, [time - zero for time in times], kept[0]),
    )


def has_frame(packet: "Packet[Any]") -> bool:
    """Say whether a packet has a frame that is shown."""
    return bool(packet.size) and not packet.is_discard


def shown_size(frame: "VideoFrame", orientation: Orientation, ratio: Fraction) -> tuple[int, int]:
    """Give the (width, height) of a frame upright and in square pixels."""
    return orientation.size(max(1, round(frame.width * ratio)), frame.height)


def _read(container: "InputContainer", index: int, name: str, check: Callable[[], None]) -> _Packets:
    """Read the time stamps of all packets, as far as the file can be read."""
    import av

    stream = opened_stream(container, index, name)
    rate = float(stream.average_rate or stream.base_rate or 25)
    found = _Packets([], [], 0.0, complete=True)
    ends_s = 0.0
    try:
        for packet in container.demux(stream, *container.streams.audio):
            check()
            when = packet.pts if packet.pts is not None else packet.dts
            base = float(packet.time_base or 0)
            if when is not None:
                ends_s = max(ends_s, (when + (packet.duration or 0)) * base)
            if packet.stream_index != index or not has_frame(packet):
                continue
            stamps = found.stamps
            time = when * base if when is not None and base else len(stamps) / rate
            before = stamps[-1].decoded if stamps else time
            if packet.is_keyframe:
                found.keys.append(len(stamps))
            stamps.append(timeline.Stamp(time, before if packet.dts is None else packet.dts * base))
            if len(stamps) >= _MOST_PACKETS:
                return found._replace(ends_s=ends_s, complete=False)
    except (av.FFmpegError, OSError):
        return found._replace(ends_s=ends_s, complete=False)
    return found._replace(ends_s=ends_s)


def _part(shown: Sequence[float], step: float, limits: Limits, name: str) -> tuple[list[float], list[str]]:
    """Choose the frames to process, and note what is left out."""
    end = limits.end_s if limits.end_s is not None else shown[-1] + step
    part = [time for time in shown if limits.start_s <= time <= end]
    if not part:
        raise InputError(
            f"'{shorten(name)}' is {shown[-1] + step:.1f} s long, and has no frame between {limits.start_s:g} s "
            f"and {end:g} s; choose start_s and end_s within it"
        )
    kept = [time for time in part if time - part[0] <= limits.max_s][: limits.max_frames]
    if len(kept) == len(part):
        return kept, []
    left_out = (
        f"only {kept[-1] - kept[0]:.1f} s from {kept[0]:.1f} s on were processed of a video of {shown[-1]:.1f} s; "
        "ask again with a later start_s for more, or raise DINOX_MCP_VIDEO_MAX_S or DINOX_MCP_VIDEO_MAX_FRAMES"
    )
    return kept, [left_out]


def _begin(keys: Sequence[int], times: Sequence[float], start: float) -> int:
    """Choose the packet to begin decoding with: the last one that can be, and is not shown after the start."""
    return max((key for key in keys if times[key] <= start), default=0)


def _repaired(stretches: int) -> str:
    places = "in one place" if stretches == 1 else f"in {stretches} places"
    return f"the clock of the file jumps {places}; times are counted on from the frame before"


def _missing(packets: _Packets, claimed_s: float, length_s: float) -> str:
    """Note that a file ends early, if it does.

    Some files say how long they are, others when they end; a file that agrees with either is complete. Sound may be
    longer than the frames.
    """
    missing_s = claimed_s - packets.ends_s
    if packets.complete and missing_s <= max(1.0, 0.1 * (length_s + missing_s)):
        return ""
    claim = f", and {length_s + missing_s:.1f} s are claimed" if missing_s > 0 else ""
    return f"the file ends early: {length_s:.1f} s of it can be read{claim}"


def _first_frame(video: VideoFile, index: int, check: Callable[[], None]) -> "tuple[VideoFrame, Fraction]":
    """Decode one frame; also give the width of its pixels by their height."""
    import av

    container = open_container(video)
    with container:
        try:
            stream = opened_stream(container, index, video.name)
            for packet in container.demux(stream):
                check()
                try:
                    for frame in packet.decode():
                        return frame, pixel_ratio(stream)
                except av.FFmpegError:
                    continue
        except (av.FFmpegError, OSError):
            pass
    raise ImageError(f"'{shorten(video.name)}' has no frame that can be decoded; pass an intact file")
