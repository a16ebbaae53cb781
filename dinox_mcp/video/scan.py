"""The length of a video and the time of each frame, read from its packets without decoding them.

Time stamps that jump or go back are repaired, so that a video has one clock. Recorders restart their clock, files are
joined end to end, and single stamps are wrong by hours. A player shows all these frames one after the other, and so
does this. Gaps of a plausible length are kept.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from dinox_mcp.errors import ImageError, InputError
from dinox_mcp.images.sources import shorten
from dinox_mcp.video.source import (
    MOST_PACKETS,
    Orientation,
    VideoFile,
    has_frame,
    main_stream,
    open_container,
    opened_stream,
    orientation_of,
    pixel_ratio,
    shown_size,
    stop_if_cancelled,
)

if TYPE_CHECKING:
    from fractions import Fraction

    from av.container import InputContainer
    from av.video.frame import VideoFrame

_JUMP_S = 1.0  # a longer step forward may begin a wrong stretch
_JUMP_STEPS = 10  # likewise, in usual steps from frame to frame
_STILL_STEPS = 20  # in usual steps: for as long as this, a frame may be shown in any file
_MAX_WRONG = 8  # stretches in a row that may be wrong
_MIN_STEP = 0.5  # of a usual step: the least time for each frame of a wrong stretch
_STILL_S = {"mpegts": 10.0, "mpeg": 10.0}
"""The longest that one frame is shown, by formats that are broadcast or recorded live; FFmpeg's own limit."""
_OTHER_STILL_S = 600.0


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
        begin: The number of the packet with which decoding begins, the last key frame that is not after the first time.
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


class Stamp(NamedTuple):
    """When a packet is shown and when it is decoded, in seconds, as the file says; decoding times should increase."""

    shown: float
    decoded: float


@dataclass(slots=True)
class _Packets:
    """The time stamps of a video's packets in the order of the file, and the numbers of those that are key frames.

    `ends_s` is when the last packet of any stream ends, and `complete` whether the file was read to its end.
    """

    stamps: list[Stamp] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    ends_s: float = 0.0
    complete: bool = False


def scan(video: VideoFile, limits: Limits) -> Scan:
    """Read a video's packets and its first frame. Blocks: call it in a thread.

    Raises:
        InputError: It has no frames, or none between `start_s` and `end_s`.
        ImageError: It is damaged so that no frame can be decoded.
        ForbiddenError: Its frames are too large.
    """
    index, streams = main_stream(video)
    with open_container(video) as container:
        packets = _read(container, index, video.name)
        claimed_s = (container.duration or 0) / 1e6
        sound = bool(container.streams.audio)
    first, ratio = _first_frame(video, index)
    repair = repair_clock(packets.stamps, video.format)
    times = repair.times if repair else [stamp.shown for stamp in packets.stamps] or [float(first.time or 0.0)]
    zero = min(times)
    shown = sorted({round(time - zero, 6) for time in times})
    step = (shown[-1] - shown[0]) / (len(shown) - 1) if len(shown) > 1 else 1.0
    kept, left_out = _part(shown, step, limits, video.name)
    if repair:
        where = "in one place" if repair.moved == 1 else f"in {repair.moved} places"
        damage = f"the clock of the file jumps {where}; times are counted on from the frame before"
    else:
        damage = _missing(packets, claimed_s, shown[-1] + step)
    several = f"the file has {streams} video streams; the largest was processed" if streams > 1 else ""
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
        notes=tuple(filter(None, (damage, left_out, several))),
        repaired=repaired,
        begin=max((key for key in packets.keys if times[key] - zero <= kept[0]), default=0),
    )


def _read(container: "InputContainer", index: int, name: str) -> _Packets:
    """Read the time stamps of all packets, as far as the file can be read."""
    import av

    stream = opened_stream(container, index, name)
    rate = float(stream.average_rate or stream.base_rate or 25)
    found = _Packets()
    stamps = found.stamps
    with suppress(av.FFmpegError, OSError):
        for packet in container.demux(stream, *container.streams.audio):
            stop_if_cancelled()
            when = packet.pts if packet.pts is not None else packet.dts
            base = float(packet.time_base or 0)
            if when is not None:
                found.ends_s = max(found.ends_s, (when + (packet.duration or 0)) * base)
            if packet.stream_index != index or not has_frame(packet):
                continue
            time = when * base if when is not None and base else len(stamps) / rate
            before = stamps[-1].decoded if stamps else time
            if packet.is_keyframe:
                found.keys.append(len(stamps))
            stamps.append(Stamp(time, before if packet.dts is None else packet.dts * base))
            if len(stamps) >= MOST_PACKETS:
                return found
        found.complete = True
    return found


def _part(shown: Sequence[float], step: float, limits: Limits, name: str) -> tuple[list[float], str]:
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
        return kept, ""
    return kept, (
        f"only {kept[-1] - kept[0]:.1f} s from {kept[0]:.1f} s on were processed of a video of {shown[-1]:.1f} s; "
        "call again with a later start_s for more, or raise DINOX_MCP_VIDEO_MAX_S or DINOX_MCP_VIDEO_MAX_FRAMES"
    )


def _missing(packets: _Packets, claimed_s: float, length_s: float) -> str:
    """Note that a file ends before both the length and the end that it claims; sound may be longer than frames."""
    missing_s = claimed_s - packets.ends_s
    if packets.complete and missing_s <= max(1.0, 0.1 * (length_s + missing_s)):
        return ""
    claim = f", and {length_s + missing_s:.1f} s are claimed" if missing_s > 0 else ""
    return f"the file ends early: {length_s:.1f} s of it can be read{claim}"


def _first_frame(video: VideoFile, index: int) -> "tuple[VideoFrame, Fraction]":
    """Decode one frame; also give the width of its pixels by their height."""
    import av

    with open_container(video) as container, suppress(av.FFmpegError, OSError):
        stream = opened_stream(container, index, video.name)
        for packet in container.demux(stream):
            stop_if_cancelled()
            with suppress(av.FFmpegError):
                for frame in packet.decode():
                    return frame, pixel_ratio(stream)
    raise ImageError(f"'{shorten(video.name)}' has no frame that can be decoded; pass an intact file")


class Repair(NamedTuple):
    """When packets are shown, in the order of the file, and how many stretches of them were moved."""

    times: list[float]
    moved: int


class _Stretch(NamedTuple):
    """Packets from `first` to before `last` whose clock never jumps."""

    first: int
    last: int
    start: float
    end: float


def repair_clock(stamps: Sequence[Stamp], file_format: str) -> Repair | None:
    """Put the time stamps of a video's packets, in the order of the file, on one clock; None where they already are.

    The format, as FFmpeg names it, decides how long a frame may be shown.
    """
    step = _usual_step(stamps)
    if not step:
        return None
    still = max(_STILL_S.get(file_format, _OTHER_STILL_S), _STILL_STEPS * step)
    stamps = _believed(stamps, still)
    stretches = _stretches(stamps, max(_JUMP_S, _JUMP_STEPS * step))
    times = [stamp.shown for stamp in stamps]
    offset, end, latest = 0.0, stretches[0].start - step, -math.inf
    moved = at = 0
    while at < len(stretches):
        now = stretches[at]
        wrong = _wrong(stretches[at : at + _MAX_WRONG + 1], offset, end, step, still)
        if wrong:
            _spread(times, stamps, stretches[at : at + wrong], end, stretches[at + wrong].start + offset)
            moved += wrong
            at += wrong
            continue
        shown = times[now.first : now.last]
        if not 0 < now.start + offset - end <= still:
            offset = latest + step - min(shown)
            moved += 1
        times[now.first : now.last] = [time + offset for time in shown]
        end, latest = now.end + offset, max(latest, max(shown) + offset)
        at += 1
    return Repair(times, moved) if moved else None


def _usual_step(stamps: Sequence[Stamp]) -> float:
    """Give the usual time from one packet to the next, 0 where there is none."""
    steps = [after.decoded - before.decoded for before, after in pairwise(stamps)]
    return median([step for step in steps if step > 0] or [0.0])


def _believed(stamps: Sequence[Stamp], still: float) -> list[Stamp]:
    """Correct the times of packets that are shown long before or after they are decoded."""
    delay = median(stamp.shown - stamp.decoded for stamp in stamps)
    return [
        stamp if abs(stamp.shown - stamp.decoded - delay) <= still else Stamp(stamp.decoded + delay, stamp.decoded)
        for stamp in stamps
    ]


def _stretches(stamps: Sequence[Stamp], jump: float) -> list[_Stretch]:
    """Cut where the clock goes back, or forward by more than `jump` seconds."""
    steps = (after.decoded - before.decoded for before, after in pairwise(stamps))
    cuts = [at for at, step in enumerate(steps, 1) if not 0 <= step <= jump]
    return [
        _Stretch(first, last, stamps[first].decoded, stamps[last - 1].decoded)
        for first, last in pairwise([0, *cuts, len(stamps)])
    ]


def _wrong(stretches: Sequence[_Stretch], offset: float, end: float, step: float, still: float) -> int:
    """Count the stretches from here on that are wrong: after them the clock continues from its `end`."""
    frames = 0
    for number, stretch in enumerate(stretches):
        start = stretch.start + offset
        needed = _MIN_STEP * step * (frames + 1)
        outside = all(not end < one.start + offset < start for one in stretches[:number])
        if number and outside and needed < start - end <= still:
            return number
        frames += stretch.last - stretch.first
    return 0


def _spread(times: list[float], stamps: Sequence[Stamp], wrong: Sequence[_Stretch], end: float, start: float) -> None:
    """Show the packets of wrong stretches evenly between the clock's `end` before them and its `start` after them."""
    first, last = wrong[0].first, wrong[-1].last
    for number, packet in enumerate(range(first, last), 1):
        decoded = end + (start - end) * number / (last - first + 1)
        times[packet] = decoded + stamps[packet].shown - stamps[packet].decoded
