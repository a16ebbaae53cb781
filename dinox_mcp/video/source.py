"""Which files are read as videos: by the guards of pictures, and by what they begin like, never by a name or a guess.

FFmpeg would open playlists, scripts and lists that name further files and addresses. It is given the bytes of one open
file, the one format that they begin like, and none that leads elsewhere.
"""

import io
import threading
from dataclasses import dataclass, field
from typing import BinaryIO, Self

from dinox_mcp.errors import ForbiddenError, ImageError, InputError
from dinox_mcp.images.files import open_file
from dinox_mcp.images.sources import parse_source, shorten
from dinox_mcp.settings import Settings

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".flv", ".ogv"}
    | {".wmv", ".asf"}
)
READABLE = "MP4, MOV, MKV, WebM, AVI, MPEG, FLV, Ogg, WMV or animated GIF"
_BEGINNING = 1024
_MATROSKA = b"\x1a\x45\xdf\xa3"
_ASF = bytes.fromhex("3026b2758e66cf11")
_TS_PACKET = 188
_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_PICTURE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")


@dataclass(slots=True)
class VideoFile:
    """An open file with the name of FFmpeg's reader for it; what is appended to the file meanwhile is not seen."""

    file: BinaryIO
    format: str
    name: str
    size: int
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def stream(self) -> io.RawIOBase:
        """Give the bytes to one reader, from the start; several readers, in threads of their own, do not meet."""
        return _Window(self.file, self.size, self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def open_video(source: str, settings: Settings) -> VideoFile:
    """Open the file that a `video` argument points to. Blocks: call it in a thread.

    Raises:
        ImageError: there is no such file, it cannot be read, or it is no video.
        ForbiddenError: it lies outside the allowed folders, is too large, or is no regular file.
        InputError: it is a URL.
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
        what = "a web address" if found.kind == "web" else "a data: URI"
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
    """Name FFmpeg's reader for what the bytes begin like; None where they are no video."""
    if data[4:8] in _BOXES and data[8:12] not in _PICTURE_BRANDS:
        return "mov"
    if data.startswith(b"RIFF"):
        return "avi" if data[8:11] == b"AVI" else None
    if len(data) > _TS_PACKET and data[0] == data[_TS_PACKET] == ord("G"):
        return "mpegts"
    if len(data) > _TS_PACKET + 8 and data[4] == data[_TS_PACKET + 8] == ord("G"):
        return "mpegts"  # with a time stamp before each packet, as cameras write it
    beginnings = {
        _MATROSKA: "matroska",
        b"GIF8": "gif",
        b"FLV\x01": "flv",
        b"OggS": "ogg",
        _ASF: "asf",
        b"\0\0\x01\xba": "mpeg",
    }
    return next((name for beginning, name in beginnings.items() if data.startswith(beginning)), None)


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
    kind = sniff(beginning)
    if kind is None:
        remedy = f"pass an {READABLE} file (of a picture, ask detect_objects)"
        raise ImageError(f"'{shorten(name)}' is not a video; {remedy}")
    return VideoFile(file, kind, name, size)


class _Window(io.RawIOBase):
    """The first bytes of a file that several share, read at a place of its own."""

    def __init__(self, file: BinaryIO, size: int, lock: threading.Lock) -> None:
        super().__init__()
        self._file, self._size, self._lock, self._at = file, size, lock, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        left = max(0, self._size - self._at)
        with self._lock:
            self._file.seek(self._at)
            data = self._file.read(left if size < 0 else min(size, left)) or b""
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at
