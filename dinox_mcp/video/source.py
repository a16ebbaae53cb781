"""Which files are accepted as videos, how FFmpeg opens them, and how their frames are turned."""

import io
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from anyio.from_thread import check_cancelled

from dinox_mcp.errors import ForbiddenError, ImageError, InputError, UnsupportedError
from dinox_mcp.images.files import open_file
from dinox_mcp.images.sources import parse_source, shorten
from dinox_mcp.settings import Settings

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".flv", ".ogv"}
    | {".wmv", ".asf"}
)
READABLE = "MP4, MOV, MKV, WebM, AVI, MPEG, FLV, Ogg, WMV or animated GIF"
_BEGINNING = 1024  # bytes by which a video is recognized
_TS_PACKET = 188
_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_PICTURE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")
# FFmpeg's readers for files that begin with these bytes.
_BEGINNINGS = {
    b"\x1a\x45\xdf\xa3": "matroska",
    b"GIF8": "gif",
    b"FLV\x01": "flv",
    b"OggS": "ogg",
    bytes.fromhex("3026b2758e66cf11"): "asf",
    b"\0\0\x01\xba": "mpeg",
}
MAX_PIXELS = 8192 * 4352  # the largest frame of any common standard
_DECODERS = (
    "h264,hevc,av1,libdav1d,vp8,vp9,libvpx,libvpx-vp9,mpeg4,mpeg2video,mpeg1video,msmpeg4v3,msmpeg4v2,h263,mjpeg,"
    "gif,prores,dnxhd,vc1,wmv3,wmv2,wmv1,theora,flv,ffv1,png,rawvideo,dvvideo"
)
"""The common decoders: FFmpeg has hundreds, and a hostile file chooses which one reads it."""
_TOLERANT_RELEASE = 19
_THREADS = 4
_FEW = 0.05  # of the frames of the longest stream: a stream with fewer is a thumbnail or a preview
MOST_PACKETS = 1_000_000  # nine hours at 30 frames a second
_WIDEST = 8  # the highest ratio of the sides of a pixel that is believed
_MATRIX = struct.Struct("=9i")


@dataclass(slots=True)
class VideoFile:
    """An open video file: the name of FFmpeg's reader (`format`), its path as results show it, and its size in bytes.

    What is appended to the file later is not read.
    """

    file: BinaryIO
    format: str
    name: str
    size: int
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def stream(self) -> "_Window":
        """Open a stream of its bytes with a position of its own; several threads may have one each."""
        return _Window(self.file, self.size, self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def open_video(source: str, settings: Settings) -> VideoFile:
    """Open the file that a `video` argument points to. Blocks: call it in a thread.

    Raises:
        ImageError: There is no such file, it cannot be read, or it is not a video.
        ForbiddenError: It is outside the allowed folders, too large, or not a regular file.
        InputError: It is a URL.
    """
    if not source.strip():
        raise InputError(f"the video argument is empty; pass the path of an {READABLE} file")
    if settings.transport != "stdio" and settings.allowed_folders is None:
        raise ForbiddenError(
            "videos are read from files only, and files are not readable over HTTP; whoever runs this server can allow "
            "folders with DINOX_MCP_ALLOWED_FOLDERS"
        )
    found = parse_source(source)
    if found.kind != "file":
        what = {"web": "a web address", "data": "a data: URI"}.get(found.kind, "an image")
        raise InputError(
            f"'{shorten(source)}' is {what}, and videos are read from files only; download it and pass its full path"
        )
    file, name = open_file(found.address, settings, "video", SUFFIXES)
    try:
        return _checked(file, name, settings.video_max_bytes)
    except BaseException:
        file.close()
        raise


def sniff(data: bytes) -> str | None:
    """Name FFmpeg's reader for a file by its first bytes; None where it is not a video."""
    if data[4:8] in _BOXES and data[8:12] not in _PICTURE_BRANDS:
        return "mov"
    if data.startswith(b"RIFF"):
        return "avi" if data[8:11] == b"AVI" else None
    for start, packet in ((0, _TS_PACKET), (4, _TS_PACKET + 4)):  # cameras write a time stamp before each packet
        if len(data) > start + packet and data[start] == data[start + packet] == ord("G"):
            return "mpegts"
    return next((name for beginning, name in _BEGINNINGS.items() if data.startswith(beginning)), None)


def _checked(file: BinaryIO, name: str, max_bytes: int) -> VideoFile:
    try:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        beginning = file.read(_BEGINNING)
    except OSError as error:
        raise ImageError(f"'{shorten(name)}' cannot be read ({error.strerror}); pass another video") from None
    if size > max_bytes:
        raise ForbiddenError(
            f"'{shorten(name)}' has {size:,} bytes, more than the {max_bytes:,} allowed; "
            "pass a shorter video or raise DINOX_MCP_VIDEO_MAX_BYTES"
        )
    if kind := sniff(beginning):
        return VideoFile(file, kind, name, size)
    raise ImageError(f"'{shorten(name)}' is not a video; pass an {READABLE} file (for an image, call detect_objects)")


class _Window:
    """The first `size` bytes of a shared file, with a position of its own, as FFmpeg reads it."""

    def __init__(self, file: BinaryIO, size: int, lock: threading.Lock) -> None:
        self._file, self._size, self._lock, self._at = file, size, lock, 0

    def read(self, size: int) -> bytes:
        left = max(0, self._size - self._at)
        with self._lock:
            self._file.seek(self._at)
            data = self._file.read(min(size, left)) or b""
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at


def open_container(video: VideoFile) -> "InputContainer":
    """Open a video with its own reader, and only the common decoders.

    Raises:
        UnsupportedError: The extra `video` is not installed.
        ImageError: The file is damaged.
    """
    try:
        import av
        import lap  # noqa: F401 - checked here, as it is used only after paid calls
    except ImportError:
        raise UnsupportedError(
            "videos need more packages; install the extra 'video' with the command that dinox-mcp doctor prints"
        ) from None
    options = {"codec_whitelist": _DECODERS, "protocol_whitelist": ""}  # other files that it names are not opened
    # Titles in wrong encodings must not make the video fail; newer versions never fail.
    release = int(av.__version__.partition(".")[0])
    tolerant: dict[str, Any] = {"metadata_errors": "replace"} if release < _TOLERANT_RELEASE else {}
    try:
        container: InputContainer = av.open(video.stream(), "r", format=video.format, options=options, **tolerant)
    except (av.FFmpegError, ValueError, OSError) as error:
        reason = shorten(getattr(error, "strerror", None) or type(error).__name__)
        raise ImageError(
            f"'{shorten(video.name)}' begins like a video but is damaged or cut off ({reason}); pass an intact file"
        ) from None
    return container


def stop_if_cancelled() -> None:
    """Stop the work of a thread whose call was cancelled; does nothing in a thread that no call waits for."""
    with suppress(RuntimeError):
        check_cancelled()


def main_stream(video: VideoFile) -> tuple[int, int]:
    """Choose the stream that a player shows, and count those with many frames, of which it is the largest. Blocks.

    Files also contain covers, thumbnails and small previews, often first.

    Raises:
        InputError: There is none.
    """
    with open_container(video) as container:
        streams = [stream for stream in container.streams.video if not _is_still(stream)]
        if not streams:
            sound = " (it has sound only)" if container.streams.audio else ""
            raise InputError(f"'{shorten(video.name)}' has no images in it{sound}; pass a video")
        if len(streams) == 1:
            return streams[0].index, 1
        packets = _count(container, streams)
        enough = _FEW * max(packets.values())
        moving = [stream for stream in streams if packets[stream.index] > enough]
        largest = max(moving, key=lambda stream: (_is_decoded(stream), stream.width * stream.height))
        return largest.index, len(moving)


def opened_stream(container: "InputContainer", index: int, name: str) -> "VideoStream":
    """Prepare a stream for decoding.

    Raises:
        ImageError: Its codec is not among the allowed ones.
        ForbiddenError: Its frames are too large.
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
    """Give the width of a pixel by its height; 1 where the file gives no plausible ratio."""
    ratio = stream.sample_aspect_ratio or Fraction(1)
    return ratio if Fraction(1, _WIDEST) <= ratio <= _WIDEST else Fraction(1)


def _count(container: "InputContainer", streams: "list[VideoStream]") -> dict[int, int]:
    """Count the packets of streams, as far as the file can be read."""
    import av

    packets = {stream.index: 0 for stream in streams}
    with suppress(av.FFmpegError, OSError):  # the notes of the scan say that the file ends early
        for packet in container.demux(*streams):
            stop_if_cancelled()
            packets[packet.stream_index] += packet.size > 0
            if packets[packet.stream_index] >= MOST_PACKETS:
                break
    return packets


def _is_decoded(stream: "VideoStream") -> bool:
    context = stream.codec_context
    return context is not None and context.name in _DECODERS.split(",")


def _is_still(stream: "VideoStream") -> bool:
    from av.stream import Disposition

    still = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    return bool(stream.disposition & still)


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
        left_right = self.left_right ^ (self.mirrored and not self.on_side)
        if self.on_side:
            return 90 if left_right else 270
        return 180 if left_right else 0

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


def has_frame(packet: "Packet[Any]") -> bool:
    """Return whether a packet has a frame that is shown."""
    return bool(packet.size) and not packet.is_discard


def shown_size(frame: "VideoFrame", orientation: Orientation, ratio: Fraction) -> tuple[int, int]:
    """Give the (width, height) of a frame upright and in square pixels."""
    return orientation.size(max(1, round(frame.width * ratio)), frame.height)
