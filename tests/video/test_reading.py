"""What is read as a video, and what is said of what is not."""

import os
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from dinox_mcp.errors import DinoxError, ForbiddenError, ImageError, InputError
from dinox_mcp.settings import Settings
from dinox_mcp.video.frames import Reader
from dinox_mcp.video.scan import Limits, scan
from dinox_mcp.video.source import open_video
from tests.video.reading import LIMITS, grays, read, record, turned
from tests.video.scenes import Scene, write_film

EVEN = [number / 25 for number in range(50)]


def corner(path: Path) -> Path:
    """Film a red square in the upper left corner of a black frame."""
    frame = np.zeros((120, 200, 3), np.uint8)
    frame[:40, :40] = (220, 20, 20)
    return write_film(path, [frame] * 10, EVEN[:10])


def test_a_call_that_is_cancelled_stops_on_the_way_to_its_first_frame(scene: Scene, tmp_path: Path) -> None:
    path = scene.film(tmp_path / "film.mp4", times=EVEN)  # which can only be decoded from its beginning
    pauses: list[None] = []
    with open_video(str(path), Settings()) as video:
        found = scan(video, Limits(max_s=600, max_frames=100, start_s=1.8))
        with Reader(video, found) as reader:
            first = next(reader.until(found.times[-1], lambda: pauses.append(None)))
    assert first.time == pytest.approx(1.8)
    assert len(pauses) >= 45, "it was asked before each of the 45 frames that lead there"


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("film.mp4", "libx264"),
        ("film.mov", "libx264"),
        ("film.mkv", "libx264"),
        ("film.webm", "libvpx-vp9"),
        ("film.ts", "libx264"),
        ("film.gif", "gif"),
    ],
)
def test_common_kinds_of_video_are_read_to_their_last_frame(
    name: str, codec: str, scene: Scene, tmp_path: Path
) -> None:
    path = scene.film(tmp_path / name, codec=codec, times=EVEN)
    found, frames = read(path)
    assert found.size == (640, 360)
    assert len(frames) == len(found.times) == 50
    assert [frame.number for frame in frames] == list(range(50))
    assert [frame.time for frame in frames] == pytest.approx(EVEN, abs=0.011)


def test_frames_are_shown_when_the_file_says_at_a_rate_that_varies(scene: Scene, tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.5, 0.52, 1.7, 1.74, 3.0]
    found, frames = read(scene.film(tmp_path / "film.mp4", times=times))
    assert found.times == pytest.approx(times, abs=0.002)
    assert [frame.time for frame in frames] == pytest.approx(times, abs=0.002)
    assert found.fps == pytest.approx(7 / 3.5, abs=0.01)


@pytest.mark.parametrize(
    ("matrix", "degrees", "size", "place"),
    [
        ((0, 1 << 16, 0, -(1 << 16), 0, 0, 120 << 16, 0, 1 << 30), 90, (120, 200), (5, -5)),
        ((0, -(1 << 16), 0, 1 << 16, 0, 0, 0, 200 << 16, 1 << 30), 270, (120, 200), (-5, 5)),
        ((-(1 << 16), 0, 0, 0, -(1 << 16), 0, 200 << 16, 120 << 16, 1 << 30), 180, (200, 120), (-5, -5)),
    ],
)
def test_frames_are_turned_as_the_file_says(
    matrix: tuple[int, ...], degrees: int, size: tuple[int, int], place: tuple[int, int], tmp_path: Path
) -> None:
    found, frames = read(turned(corner(tmp_path / "film.mp4"), matrix))
    assert (found.orientation.rotation, found.size) == (degrees, size)
    red = frames[0].rgb(found.size)[place]
    assert red[0] > 180
    assert max(red[1:]) < 60
    assert frames[0].gray((60, 100) if degrees != 180 else (100, 60)).shape == (
        (100, 60) if degrees != 180 else (60, 100)
    )


def test_a_part_is_read_from_where_it_starts(film: Path) -> None:
    found, frames = read(film, Limits(600, 10_000, start_s=2.0, end_s=3.0))
    assert (found.times[0], found.times[-1]) == (2.0, 3.0)
    assert [frame.time for frame in frames] == pytest.approx(list(found.times))
    assert frames[0].number == 0


def test_a_part_is_read_from_a_file_without_an_index(tmp_path: Path) -> None:
    film = record(tmp_path / "film.ts", grays(20), options={"g": "10"})
    found, frames = read(film, Limits(600, 10_000, start_s=1.5))
    assert found.begin == 10
    assert [frame.time for frame in frames] == pytest.approx([1.5, 1.6, 1.7, 1.8, 1.9])


@pytest.mark.parametrize("limits", [Limits(max_s=1.0, max_frames=10_000), Limits(max_s=600, max_frames=26)])
def test_a_long_video_is_read_as_far_as_is_allowed_and_that_is_said(limits: Limits, film: Path) -> None:
    found, frames = read(film, limits)
    assert len(frames) == 26
    assert "only 1.0 s from 0.0 s on were looked at of a video of 4.0 s" in found.notes[0]


def test_a_part_outside_the_video_is_refused_with_its_length(film: Path) -> None:
    with pytest.raises(InputError, match=r"is 4.0 s long, and has no frame between 9 s and 10 s"):
        read(film, Limits(600, 10_000, start_s=9, end_s=10))


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_of_a_file_that_ends_early_what_is_there_is_read(suffix: str, scene: Scene, tmp_path: Path) -> None:
    path = scene.film(tmp_path / f"film{suffix}", times=EVEN)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found, frames = read(path)
    assert 10 < len(frames) < 45
    assert len(frames) <= len(found.times)
    if suffix == ".mkv":
        assert "the file ends early" in found.notes[0]


def test_damage_in_the_middle_costs_frames_not_the_video(scene: Scene, tmp_path: Path) -> None:
    path = scene.film(tmp_path / "film.ts", times=EVEN)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(range(250)) * 12
    path.write_bytes(data)
    _, frames = read(path)
    assert len(frames) > 20
    assert [frame.time for frame in frames] == sorted(frame.time for frame in frames)


def test_frames_that_cannot_be_decoded_are_left_out_and_counted(scene: Scene, tmp_path: Path) -> None:
    path = scene.film(tmp_path / "film.mp4", times=EVEN)
    with av.open(str(path)) as container:
        spoilt = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][20]
    data = bytearray(path.read_bytes())
    data[spoilt[0] : sum(spoilt)] = bytes(spoilt[1])
    path.write_bytes(data)
    with open_video(str(path), Settings()) as video:
        found = scan(video, LIMITS)
        with Reader(video, found) as reader:
            frames = list(reader.until(found.times[-1]))
            assert (len(frames), reader.damaged) == (49, 1)


def test_a_file_that_grows_is_read_as_long_as_it_was(film: Path) -> None:
    with open_video(str(film), Settings()) as video:
        before = film.stat().st_size
        with film.open("ab") as file:
            file.write(bytes(100_000))
        stream = video.stream()
        assert len(stream.read(10**9)) == before
        assert stream.read(1) == b""
        assert stream.seek(-10, os.SEEK_END) == before - 10


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
    return _cut(corner(path), 200)


def index_lost(path: Path) -> Path:
    return _cut(corner(path), corner(path).stat().st_size // 2)


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
    return write_film(path.with_suffix(".avi"), [np.zeros((64, 64, 3), np.uint8)] * 5, EVEN[:5], "zmbv")


def huge(path: Path) -> Path:
    """Claim frames of 60000 x 60000 pixels, in the index and in the stream's own description."""
    data = bytearray(corner(path).read_bytes())
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
def test_what_is_no_video_is_refused_in_one_line(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        read(make(tmp_path / "film.mp4"))
    assert "\n" not in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_a_huge_claim_takes_no_memory(tmp_path: Path) -> None:
    try:
        found, frames = read(huge(tmp_path / "film.mp4"))
    except DinoxError:
        return
    assert found.size == (200, 120)  # as the stream itself says
    assert len(frames) == 10


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
        ("/dev/zero", "a pipe, a device or a socket, not a video file"),
    ],
)
def test_only_files_are_read(address: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_video(address, Settings())


def test_a_name_that_is_nearly_right_is_proposed(film: Path) -> None:
    with pytest.raises(ImageError, match=r"did you mean .*film\.mp4"):
        open_video(str(film.with_name("filn.mp4")), Settings())


def test_a_video_of_too_many_bytes_is_refused(film: Path) -> None:
    with pytest.raises(ForbiddenError, match="DINOX_MCP_VIDEO_MAX_BYTES"):
        open_video(str(film), Settings(video_max_bytes=1000))


def test_without_pyav_the_remedy_is_said(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(DinoxError, match=r"pip install 'dinox-mcp\[video\]'"):
        read(film)
