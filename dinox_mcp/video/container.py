"""Opening a video with FFmpeg: its own reader, common decoders only, and the stream that people watch."""

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from dinox_mcp.errors import ForbiddenError, ImageError, InputError, UnsupportedError
from dinox_mcp.images.sources import shorten
from dinox_mcp.video.source import VideoFile

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

MAX_PIXELS = 8192 * 4352  # the largest frame of any common standard
_DECODERS = (
    "h264,hevc,av1,libdav1d,vp8,vp9,libvpx,libvpx-vp9,mpeg4,mpeg2video,mpeg1video,msmpeg4v3,msmpeg4v2,h263,mjpeg,"
    "gif,prores,dnxhd,vc1,wmv3,wmv2,wmv1,theora,flv,ffv1,png,rawvideo,dvvideo"
)
"""The common ones: FFmpeg has hundreds, and hostile bytes choose which one reads them."""
_TOLERANT_RELEASE = 19
_THREADS = 4
_FEW = 0.05  # of the frames of the longest stream: what has fewer is a thumbnail or a preview
_MOST_PACKETS = 1_000_000  # nine hours at 30 frames a second
_WIDEST = 8  # times wider than high, or the other way round, that a pixel is believed to be


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


def main_stream(video: VideoFile, pause: Callable[[], None]) -> tuple[int, int]:
    """Choose the stream that people watch; give its number, and how many moving streams there are. Blocks.

    It is the largest of those with many frames: files also carry covers, thumbnails and small previews, often first.

    Raises:
        InputError: there is none.
    """
    container = open_container(video)
    with container:
        streams = [stream for stream in container.streams.video if not _is_still(stream)]
        if not streams:
            sound = " (it has sound only)" if container.streams.audio else ""
            raise InputError(f"'{shorten(video.name)}' has no pictures in it{sound}; pass a video")
        if len(streams) == 1:
            return streams[0].index, 1
        packets = _count(container, streams, pause)
        enough = _FEW * max(packets.values())
        moving = [stream for stream in streams if packets[stream.index] > enough]
        largest = max(moving, key=lambda stream: (_is_decoded(stream), stream.width * stream.height))
        return largest.index, len(moving)


def opened_stream(container: "InputContainer", index: int, name: str) -> "VideoStream":
    """Get a stream ready to be decoded.

    Raises:
        ImageError: its codec is not decoded here.
        ForbiddenError: its frames are too large.
    """
    stream = next(stream for stream in container.streams.video if stream.index == index)
    context = stream.codec_context
    if not _is_decoded(stream):
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


def pixel_ratio(stream: "VideoStream") -> Fraction:
    """Tell how much wider than high the pixels are now; 1 where the file says nothing believable."""
    ratio = stream.sample_aspect_ratio or Fraction(1)
    return ratio if Fraction(1, _WIDEST) <= ratio <= _WIDEST else Fraction(1)


def _count(container: "InputContainer", streams: "list[VideoStream]", pause: Callable[[], None]) -> dict[int, int]:
    """Count the packets of streams, as far as the file can be read."""
    import av

    packets = {stream.index: 0 for stream in streams}
    try:
        for packet in container.demux(*streams):
            pause()
            packets[packet.stream_index] += packet.size > 0
            if packets[packet.stream_index] >= _MOST_PACKETS:
                break
    except (av.FFmpegError, OSError):
        pass  # the scan says that the file ends early
    return packets


def _is_decoded(stream: "VideoStream") -> bool:
    context = stream.codec_context
    return context is not None and context.name in _DECODERS.split(",")


def _is_still(stream: "VideoStream") -> bool:
    from av.stream import Disposition

    still = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    return bool(stream.disposition & still)


def _reason(error: Exception) -> str:
    return shorten(getattr(error, "strerror", None) or type(error).__name__)
