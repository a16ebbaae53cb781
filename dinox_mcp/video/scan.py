"""How long a video is and when each frame is shown: read from its packets, without decoding and without believing it.

A header may claim anything; the packets are what there is. Reading them all takes a second per gigabyte, and makes the
number of questions known before the first is asked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from dinox_mcp.errors import ForbiddenError, ImageError, InputError, UnsupportedError
from dinox_mcp.images.sources import shorten
from dinox_mcp.video.source import VideoFile

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

MAX_PIXELS = 8192 * 4352  # the largest frame of any common standard
_DECODERS = (
    "h264,hevc,av1,libdav1d,vp8,vp9,libvpx,libvpx-vp9,mpeg4,mpeg2video,mpeg1video,msmpeg4v3,msmpeg4v2,h263,mjpeg,"
    "gif,prores,dnxhd,vc1,wmv3,wmv2,wmv1,theora,flv,ffv1,png,rawvideo,dvvideo"
)
"""The common ones: FFmpeg has hundreds, and hostile bytes choose which one reads them."""
_TOLERANT_RELEASE = 19
_THREADS = 4
_MOST_PACKETS = 1_000_000  # nine hours at 30 frames a second


@dataclass(frozen=True, slots=True)
class Limits:
    """What is looked at of a video: `start_s` to `end_s`, at most so many seconds and frames."""

    max_s: float
    max_frames: int
    start_s: float = 0.0
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """What a video is.

    `times` are the seconds at which the frames to look at are shown, from the video's first frame, in order; `size` is
    (width, height) upright and in square pixels; `zero` is the first frame's time as FFmpeg counts.
    """

    size: tuple[int, int]
    rotation: int
    times: tuple[float, ...]
    zero: float
    step_s: float
    sound: bool
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """How long the part that is looked at is shown, its last frame as long as an average one."""
        return self.times[-1] - self.times[0] + self.step_s

    @property
    def fps(self) -> float:
        """The mean number of frames a second."""
        return len(self.times) / self.duration_s


def open_container(video: VideoFile) -> "InputContainer":
    """Open a video with its own reader, and no decoder but the common ones.

    Raises:
        UnsupportedError: PyAV is not installed.
        ImageError: it is damaged.
    """
    try:
        import av
    except ImportError:
        raise UnsupportedError("videos need one more package: pip install 'dinox-mcp[video]'") from None
    options = {"codec_whitelist": _DECODERS, "protocol_whitelist": ""}  # nothing that it names is opened
    # Titles in odd encodings are no reason to refuse a video; from some version on they never are.
    release = int(av.__version__.partition(".")[0])
    tolerant: dict[str, Any] = {"metadata_errors": "replace"} if release < _TOLERANT_RELEASE else {}
    try:
        container: InputContainer = av.open(video.stream(), "r", format=video.format, options=options, **tolerant)
    except (av.FFmpegError, ValueError, OSError) as error:
        raise ImageError(
            f"'{shorten(video.name)}' begins like a video but is damaged or cut off ({_reason(error)}); "
            "pass an intact file"
        ) from None
    return container


def video_stream(container: "InputContainer", name: str) -> "VideoStream":
    """Choose the stream of moving pictures, ready to be decoded.

    Raises:
        InputError: there is none.
        ForbiddenError: its frames are too large.
    """
    streams = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not streams:
        sound = " (it has sound only)" if container.streams.audio else ""
        raise InputError(f"'{shorten(name)}' has no pictures in it{sound}; pass a video")
    stream = streams[0]
    context = stream.codec_context
    if context is None or context.name not in _DECODERS.split(","):
        kind = f" ({context.name})" if context else ""
        raise ImageError(f"'{shorten(name)}' is in a codec that is not decoded here{kind}; convert it to H.264 in MP4")
    if context.width * context.height > MAX_PIXELS:
        raise ForbiddenError(
            f"'{shorten(name)}' has frames of {context.width}x{context.height} pixels, more than the {MAX_PIXELS:,} "
            "that are decoded; pass a smaller video"
        )
    context.options = {"max_pixels": str(MAX_PIXELS)}
    context.thread_type = "AUTO"
    context.thread_count = _THREADS
    return stream


def scan(video: VideoFile, limits: Limits, pause: Callable[[], None] = lambda: None) -> Scan:
    """Read a video's packets and its first frame. Blocks: call it in a thread; `pause` is called now and then.

    Raises:
        InputError: it has no pictures, or none between `start_s` and `end_s`.
        ImageError: it is damaged so that no frame can be read.
        ForbiddenError: its frames are too large.
    """
    container = open_container(video)
    with container:
        stream = video_stream(container, video.name)
        times, whole = _times(container, stream, pause)
        claimed_s = (container.duration or 0) / 1e6
        sound = bool(container.streams.audio)
    first, ratio = _first_frame(video, pause)
    if not times:
        times = [_seconds(first)]
    zero = min(times)
    shown = sorted({round(time - zero, 6) for time in times})
    step = (shown[-1] - shown[0]) / (len(shown) - 1) if len(shown) > 1 else 1.0
    end = limits.end_s if limits.end_s is not None else shown[-1] + step
    part = [time for time in shown if limits.start_s <= time <= end]
    if not part:
        raise InputError(
            f"'{shorten(video.name)}' is {shown[-1] + step:.1f} s long, and has no frame between {limits.start_s:g} s "
            f"and {end:g} s; choose start_s and end_s within it"
        )
    kept = [time for time in part if time - part[0] <= limits.max_s][: limits.max_frames]
    notes = []
    if not whole or claimed_s - (shown[-1] + step) > max(1.0, 0.1 * claimed_s):
        notes.append(
            f"the file ends early: {shown[-1] + step:.1f} s of it can be read, and {claimed_s:.1f} s are claimed"
        )
    if len(kept) < len(part):
        notes.append(
            f"only {kept[-1] - kept[0]:.1f} s from {kept[0]:.1f} s on were looked at of a video of {shown[-1]:.1f} s; "
            "ask again with a later start_s for more, or raise DINOX_MCP_VIDEO_MAX_S or DINOX_MCP_VIDEO_MAX_FRAMES"
        )
    return Scan(
        size=_display_size(first, ratio), rotation=turn_of(first), times=tuple(kept), zero=zero, step_s=step,
        sound=sound, notes=tuple(notes),
    )  # fmt: skip


def turn_of(frame: "VideoFrame") -> int:
    """Tell by how many degrees clockwise a frame has to be turned to be upright: 0, 90, 180 or 270."""
    return round(-frame.rotation / 90) % 4 * 90


def _times(container: "InputContainer", stream: "VideoStream", pause: Callable[[], None]) -> tuple[list[float], bool]:
    """Read when frames are shown, in seconds, and whether the file could be read to its end."""
    import av

    rate = float(stream.average_rate or stream.base_rate or 25)
    times: list[float] = []
    try:
        for packet in container.demux(stream):
            pause()
            if not packet.size or packet.is_discard:
                continue
            when = packet.pts if packet.pts is not None else packet.dts
            base = packet.time_base
            times.append(float(when * base) if when is not None and base else len(times) / rate)
            if len(times) >= _MOST_PACKETS:
                return times, False
    except (av.FFmpegError, OSError):
        return times, False
    return times, True


def _first_frame(video: VideoFile, pause: Callable[[], None]) -> "tuple[VideoFrame, Fraction]":
    """Decode one frame, and tell how much wider than high its pixels are."""
    import av

    container = open_container(video)
    with container:
        try:
            stream = video_stream(container, video.name)
            for packet in container.demux(stream):
                pause()
                try:
                    for frame in packet.decode():
                        return frame, stream.sample_aspect_ratio or Fraction(1)
                except av.FFmpegError:
                    continue
        except (av.FFmpegError, OSError):
            pass
    raise ImageError(f"'{shorten(video.name)}' has no frame that can be decoded; pass an intact file")


def _display_size(frame: "VideoFrame", ratio: Fraction) -> tuple[int, int]:
    """Tell the size of a frame as a person sees it: square pixels, upright."""
    believable = Fraction(1, 8) <= ratio <= Fraction(8)
    width = max(1, round(frame.width * ratio)) if believable else frame.width
    return (frame.height, width) if turn_of(frame) in {90, 270} else (width, frame.height)


def _seconds(frame: "VideoFrame") -> float:
    return float(frame.time or 0.0)


def _is_cover(stream: "VideoStream") -> bool:
    import av.stream

    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _reason(error: Exception) -> str:
    return shorten(getattr(error, "strerror", None) or type(error).__name__)
