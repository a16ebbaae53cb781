"""The files of a call: playable, never written through a link, and never in place of an earlier one when it fails."""

import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dinox_mcp.errors import SettingsError
from dinox_mcp.types.detection import Detection
from dinox_mcp.video.output import ContactSheet, annotated_size, objects_at
from dinox_mcp.video.tracking import TimedDetection, TrackHistory
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
@pytest.mark.parametrize("fails", ["dinox_mcp.video.frames.Encoder.write", "dinox_mcp.video.frames.Encoder.close"])
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


def test_the_contact_sheet_keeps_to_the_limits_of_a_reply() -> None:
    sheet = ContactSheet((320, 180))
    noise = np.random.default_rng(0).integers(0, 255, (180, 320, 3), np.uint8)
    for number in range(12):
        sheet.add(number / 2, Image.fromarray(noise))
    data = sheet.draw([], 500, 20_000, {})
    assert max(Image.open(io.BytesIO(data)).size) <= 500
    assert len(data) <= 20_000


def test_objects_are_clipped_and_have_the_score_of_their_latest_detection() -> None:
    early = Detection(label="car", bbox=(-10, 10, 20, 30), score=0.9)
    late = Detection(label="car", bbox=(10, 10, 40, 30), score=0.6)
    track = TrackHistory(TimedDetection(0.0, early, np.ones(1)), first_key=0, margin_s=0.5)
    track.extend(TimedDetection(1.0, late, np.ones(1)))
    assert objects_at([track], 0.0, (320, 180)) == [], "it has no number yet"
    track.id = 1
    (first,), (between,) = (objects_at([track], time, (320, 180)) for time in (0.0, 0.5))
    assert (first.bbox, first.score) == ((0, 10, 20, 30), 0.9)
    assert (between.bbox, between.score) == ((0, 10, 30, 30), 0.9)
    assert objects_at([track], 1.5, (320, 180)) == []


def test_annotated_videos_have_at_most_1920_pixels_along_the_long_side() -> None:
    assert annotated_size((3840, 2160)) == (1920, 1080)
    assert annotated_size((640, 360)) == (640, 360)
