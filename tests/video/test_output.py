"""The files of a call: playable, never written through a link, and never in place of an earlier one when it fails."""

import errno
import os
from pathlib import Path

import av
import numpy as np
import pytest

from dinox_mcp.errors import SettingsError, UnsupportedError
from dinox_mcp.video import output
from dinox_mcp.video.output import Encoder
from tests.video.conftest import Finder
from tests.video.scenes import Scene, Witness

ENDINGS = ("annotated.mp4", "frames.jsonl", "sheet.jpg", "tracks.json")
# ruff: noqa: ASYNC240 - a test may wait for its disk


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def earlier(out: Path) -> list[Path]:
    """Write the files of an earlier call."""
    paths = [out / f"film-{ending}" for ending in ENDINGS]
    for path in paths:
        path.write_text("earlier")
    return paths


@pytest.mark.anyio
async def test_files_replace_links_and_are_not_written_through_them(
    short_film: Path, short_scene: Scene, finder: Finder, out: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep")
    for ending in ENDINGS:
        (out / f"film-{ending}").symlink_to(precious)
    result = await finder(Witness(short_scene)).detect(str(short_film), ["car"], folder=out, stem="film")
    assert precious.read_text() == "keep"
    assert [(out / f"film-{ending}").is_symlink() for ending in ENDINGS] == [False] * 4
    assert Path(result.files.answer or "").parent == out


@pytest.mark.anyio
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_pipe_is_not_replaced_and_is_refused_before_any_call(
    ending: str, short_film: Path, short_scene: Scene, finder: Finder, out: Path
) -> None:
    os.mkfifo(out / f"film-{ending}")
    witness = Witness(short_scene)
    with pytest.raises(SettingsError, match="a folder, a device or a pipe has this name"):
        await finder(witness).detect(str(short_film), ["car"], folder=out, stem="film")
    assert [path.is_fifo() for path in out.iterdir()] == [True]
    assert witness.asked == []


@pytest.mark.anyio
@pytest.mark.parametrize("fails", ["dinox_mcp.video.output.Encoder.write", "dinox_mcp.video.output.Encoder.close"])
async def test_a_full_disk_leaves_the_files_of_an_earlier_call(
    fails: str,
    short_film: Path,
    short_scene: Scene,
    finder: Finder,
    out: Path,
    earlier: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fails, full)
    with pytest.raises(SettingsError, match="No space left on device"):
        await finder(Witness(short_scene)).detect(str(short_film), ["car"], folder=out, stem="film")
    assert [path.read_text() for path in earlier] == ["earlier"] * 4
    assert len(list(out.iterdir())) == 4


@pytest.mark.anyio
@pytest.mark.parametrize("written", [0, 1], ids=["sheet.jpg", "tracks.json"])
async def test_a_disk_that_is_full_at_the_end_leaves_the_earlier_file(
    written: int,
    short_film: Path,
    short_scene: Scene,
    finder: Finder,
    out: Path,
    earlier: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = iter([None] * written)

    def full(_: int) -> None:
        if next(calls, "no more") is not None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingsError, match="No space left on device"):
        await finder(Witness(short_scene)).detect(str(short_film), ["car"], folder=out, stem="film")
    assert earlier[2 + written].read_text() == "earlier"


@pytest.mark.slow
@pytest.mark.anyio
async def test_the_video_itself_is_not_overwritten(short_scene: Scene, finder: Finder, tmp_path: Path) -> None:
    film = short_scene.film(tmp_path / "film-annotated.mp4")
    with pytest.raises(SettingsError, match="is the video itself, which is not overwritten"):
        await finder(Witness(short_scene)).detect(str(film), ["car"], folder=tmp_path, stem="film")


def encode(path: Path, height: int, width: int) -> list[av.VideoFrame]:
    frame = np.full((height, width, 3), (200, 40, 40), np.uint8)
    with Encoder(path, (width, height), 25) as encoder:
        for time in (0.0, 0.04, 0.04, 1.0):
            encoder.write(frame, time)
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


@pytest.mark.parametrize(("height", "width"), [(120, 200), (121, 201), (720, 1280)])
def test_frames_keep_their_colours_and_times(height: int, width: int, tmp_path: Path) -> None:
    frames = encode(tmp_path / "film.mp4", height, width)
    assert [frame.time for frame in frames] == pytest.approx([0.0, 0.04, 0.04, 1.0], abs=1e-3)
    assert (frames[0].height % 2, frames[0].width % 2) == (0, 0)
    assert frames[0].colorspace == (1 if height >= 720 else 6)
    assert frames[2].to_ndarray(format="rgb24")[height // 2, width // 2] == pytest.approx((200, 40, 40), abs=6)


def test_the_first_encoder_that_works_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(output, "ENCODERS", ("libnothing", "h264_qsv", "libvpx-vp9"))  # no such thing, no such chip
    assert len(encode(tmp_path / "film.mp4", 120, 200)) == 4


def test_without_an_encoder_that_works_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(output, "ENCODERS", ("libnothing",))
    with pytest.raises(UnsupportedError, match=r"no H\.264 encoder that works"):
        encode(tmp_path / "film.mp4", 120, 200)
