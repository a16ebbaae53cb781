"""Frames are decoded to the last one, at their times, also from damaged files."""

import shutil
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest

from dinox_mcp.errors import UnsupportedError
from dinox_mcp.settings import Settings
from dinox_mcp.video import frames as video_frames
from dinox_mcp.video.frames import Encoder, Fit, Reader
from dinox_mcp.video.scan import Limits, scan
from dinox_mcp.video.source import open_video
from tests.video.conftest import Films
from tests.video.reading import LIMITS, read
from tests.video.scenes import Scene

TIMES = [number / 10 for number in range(20)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".mp4", "libx264"),
        (".mov", "libx264"),
        (".mkv", "libx264"),
        (".webm", "libvpx-vp9"),
        (".ts", "libx264"),
        (".gif", "gif"),
    ],
)
def test_common_kinds_of_video_are_read_to_their_last_frame(suffix: str, codec: str, films: Films) -> None:
    found, frames = read(films(suffix, codec))
    assert found.size == (160, 100)
    assert len(frames) == len(found.times) == 20
    assert [frame.number for frame in frames] == list(range(20))
    assert [frame.time for frame in frames] == pytest.approx(TIMES, abs=0.011)


def test_frames_have_the_times_of_the_file_at_a_rate_that_varies(short_scene: Scene, tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.5, 0.52, 1.7, 1.74, 3.0]
    found, frames = read(short_scene.film(tmp_path / "film.mp4", times=times))
    assert found.times == pytest.approx(times, abs=0.002)
    assert [frame.time for frame in frames] == pytest.approx(times, abs=0.002)
    assert found.fps == pytest.approx(7 / 3.5, abs=0.01)


def test_a_cancelled_call_stops_on_the_way_to_its_first_frame(films: Films, monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[None] = []
    with open_video(str(films(".mp4")), Settings()) as video:  # which can only be decoded from its beginning
        found = scan(video, Limits(max_s=600, max_frames=100, start_s=1.8))
        monkeypatch.setattr(video_frames, "stop_if_cancelled", lambda: checks.append(None))
        with closing(Reader(video, found)) as reader:
            first = next(reader.until(found.times[-1]))
    assert first.time == pytest.approx(1.8)
    assert len(checks) >= 18, "it was checked before each of the 18 frames that lead there"


def test_damage_in_the_middle_costs_frames_but_not_the_video(films: Films, tmp_path: Path) -> None:
    path = Path(shutil.copy(films(".ts", g="5"), tmp_path))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 1000] = bytes(range(250)) * 4
    path.write_bytes(data)
    _, frames = read(path)
    assert len(frames) > 10
    assert [frame.time for frame in frames] == sorted(frame.time for frame in frames)


@pytest.mark.slow
def test_frames_that_cannot_be_decoded_are_left_out_and_counted(films: Films, tmp_path: Path) -> None:
    path = Path(shutil.copy(films(".mp4"), tmp_path))
    with av.open(str(path)) as container:
        start, size = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][8]
    data = bytearray(path.read_bytes())
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    with open_video(str(path), Settings()) as video:
        found = scan(video, LIMITS)
        with closing(Reader(video, found)) as reader:
            frames = list(reader.until(found.times[-1]))
            assert (len(frames), reader.damaged) == (19, 1)


def test_a_frame_of_another_size_lies_in_the_middle() -> None:
    fit = Fit.of((90, 160), (320, 160))
    assert fit == (1.0, 1.0, 115, 0, 90, 160)
    assert fit.box((0, 0, 90, 160)) == (115, 0, 205, 160)
    assert Fit.of((640, 320), (320, 160)).box((0, 0, 640, 320)) == (0, 0, 320, 160)


def encode(path: Path, height: int, width: int) -> list[av.VideoFrame]:
    frame = np.full((height, width, 3), (200, 40, 40), np.uint8)
    with closing(Encoder(path, (width, height), 25)) as encoder:
        for time in (0.0, 0.04, 0.04, 1.0):
            encoder.write(frame, time)
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


@pytest.mark.parametrize(("height", "width"), [(120, 200), (121, 201), (720, 1280)])
def test_frames_keep_their_colours_and_times(height: int, width: int, tmp_path: Path) -> None:
    decoded = encode(tmp_path / "film.mp4", height, width)
    assert [frame.time for frame in decoded] == pytest.approx([0.0, 0.04, 0.04, 1.0], abs=1e-3)
    assert (decoded[0].height % 2, decoded[0].width % 2) == (0, 0)
    assert decoded[0].colorspace == (1 if height >= 720 else 6)
    assert decoded[2].to_ndarray(format="rgb24")[height // 2, width // 2] == pytest.approx((200, 40, 40), abs=6)


def test_the_first_encoder_that_works_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        video_frames, "ENCODERS", ("libnothing", "h264_qsv", "libvpx-vp9")
    )  # no such thing, no such chip
    assert len(encode(tmp_path / "film.mp4", 120, 200)) == 4


def test_without_an_encoder_that_works_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(video_frames, "ENCODERS", ("libnothing",))
    with pytest.raises(UnsupportedError, match=r"no H\.264 encoder that works"):
        encode(tmp_path / "film.mp4", 120, 200)
