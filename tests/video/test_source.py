"""Which files are read as videos, and what is refused."""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dinox_mcp.errors import DinoxError, ForbiddenError, ImageError, InputError
from dinox_mcp.settings import Settings
from dinox_mcp.video.source import open_video
from tests.video.reading import grays, read
from tests.video.scenes import Pixels, write_film

TIMES = [number / 25 for number in range(10)]


def plain(path: Path) -> Path:
    return write_film(path, [np.zeros((120, 200, 3), np.uint8)] * 10, TIMES)


def secret(path: Path) -> Path:
    path.write_text("password=hunter2\n" * 100)
    return path


def playlist(path: Path) -> Path:
    path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    return path


def empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def header_only(path: Path) -> Path:
    return _cut(plain(path), 200)


def index_lost(path: Path) -> Path:
    return _cut(plain(path), path.stat().st_size // 2)


def sound_only(path: Path) -> Path:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        for number in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, 1024 * number
            container.mux(stream.encode(frame))  # type: ignore[union-attr, arg-type]
        container.mux(stream.encode(None))  # type: ignore[union-attr]
    return path


def strange(path: Path) -> Path:
    """Film in a codec that hardly anything uses, and whose decoder hardly anybody tests."""
    return write_film(path.with_suffix(".avi"), [np.zeros((64, 64, 3), np.uint8)] * 5, TIMES[:5], "zmbv")


def huge(path: Path) -> Path:
    """Claim frames of 60000 x 60000 pixels, in the index and in the stream's own description."""
    data = bytearray(plain(path).read_bytes())
    at = data.index(b"avc1") + 28
    data[at : at + 4] = (60000).to_bytes(2) * 2
    path.write_bytes(data)
    return path


def _cut(path: Path, size: int) -> Path:
    path.write_bytes(path.read_bytes()[:size])
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (secret, "is not a video; pass an MP4, MOV"),
        (playlist, "is not a video"),
        (empty, "is not a video"),
        (header_only, "damaged or cut off"),
        (index_lost, "damaged or cut off"),
        (sound_only, "has sound only"),
        (strange, "not decoded here"),
    ],
)
def test_a_file_that_is_not_a_video_is_refused_in_one_line(
    make: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        read(make(tmp_path / "film.mp4"))
    assert "\n" not in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_a_huge_claim_takes_no_memory(tmp_path: Path) -> None:
    try:
        found, frames = read(huge(tmp_path / "film.mp4"))
    except DinoxError:
        return
    assert found.size == (200, 120), "as the stream itself says"
    assert len(frames) == 10


@pytest.mark.slow
def test_a_video_outside_the_allowed_folders_is_not_opened(film: Path, tmp_path: Path) -> None:
    folder = tmp_path / "allowed"
    folder.mkdir()
    with pytest.raises(ForbiddenError, match="outside the folders"):
        read(film, settings=Settings(allowed_folders=(folder,)))
    for address in (film, "https://example.com/film.mp4"):
        with pytest.raises(ForbiddenError, match=r"not readable over HTTP; .* DINOX_MCP_ALLOWED_FOLDERS") as caught:
            read(address, settings=Settings(transport="http"))
        assert "data: URI" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "the video argument is empty"),
        ("https://example.com/film.mp4", "is a web address, and videos are read from files only; download it"),
        ("data:video/mp4;base64,AAAA", "is a data: URI, and videos are read from files only"),
        ("clipboard", "'clipboard' is an image, and videos are read from files only"),
        ("/dev/zero", "a pipe, a device or a socket, not a file"),
    ],
)
def test_only_files_are_read(address: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_video(address, Settings())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "clip.mp4")
    with pytest.raises(ForbiddenError, match="a pipe, a device or a socket, not a file"):
        open_video(str(tmp_path / "clip.mp4"), Settings())


@pytest.mark.slow
def test_a_name_that_is_nearly_right_is_proposed(film: Path) -> None:
    with pytest.raises(ImageError, match=r"did you mean .*film\.mp4"):
        open_video(str(film.with_name("filn.mp4")), Settings())


@pytest.mark.slow
def test_a_video_of_too_many_bytes_is_refused(film: Path) -> None:
    with pytest.raises(ForbiddenError, match="DINOX_MCP_VIDEO_MAX_BYTES"):
        open_video(str(film), Settings(video_max_bytes=1000))


@pytest.mark.parametrize("missing", ["av", "lap"])
def test_without_the_extra_the_error_names_it(missing: str, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    with pytest.raises(DinoxError, match="install the extra 'video'"):
        read(film)


@pytest.mark.slow
def test_a_file_that_grows_is_read_as_long_as_it_was(tmp_path: Path) -> None:
    film = plain(tmp_path / "film.mp4")
    with open_video(str(film), Settings()) as video:
        before = film.stat().st_size
        with film.open("ab") as file:
            file.write(bytes(100_000))
        stream = video.stream()
        assert len(stream.read(10**9)) == before
        assert stream.read(1) == b""
        assert stream.seek(-10, os.SEEK_END) == before - 10


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize(
    ("first", "notes"),
    [
        pytest.param(grays(1, size=(256, 192)), (), id="a large thumbnail"),
        pytest.param(
            grays(20, size=(32, 32)),
            ("the file has 2 video streams; the largest was processed",),
            id="a small preview",
        ),
    ],
)
def test_the_main_stream_is_read_wherever_it_stands(
    first: list[Pixels], notes: tuple[str, ...], suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"film{suffix}"
    with av.open(str(path), "w") as container:
        streams = []
        for frames in (first, grays(20, size=(128, 96))):
            stream = container.add_stream("libx264", rate=10)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            streams.append((stream, frames))
        for stream, frames in streams:
            for number, pixels in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 10)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    found, frames_read = read(path)
    assert (found.size, len(frames_read), found.duration_s) == ((128, 96), 20, pytest.approx(2.0))
    assert found.notes == notes
