"""The files of answers about videos: never through a link, never instead of a whole one, and apart for each caller."""

import errno
import os
from pathlib import Path

import pytest

from dinox_mcp.errors import ForbiddenError, NotFoundError, SettingsError
from dinox_mcp.settings import Settings
from dinox_mcp.store import videos
from dinox_mcp.store.videos import KEPT, Shelf, Videos
from dinox_mcp.types.caller import Caller
from dinox_mcp.video.source import open_video
from tests.video.conftest import Finder
from tests.video.scenes import Scene, Thing, Witness, line

pytestmark = pytest.mark.anyio
ENDINGS = ("annotated.mp4", "frames.jsonl", "sheet.jpg", "tracks.json")
# ruff: noqa: ASYNC240 - a test may wait for its disk


@pytest.fixture
def scene() -> Scene:
    return Scene([Thing("car", line(60, 50, 30), (40, 30))], size=(160, 100), seconds=0.4)


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


async def test_files_replace_links_and_are_not_written_through_them(
    film: Path, scene: Scene, finder: Finder, out: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep")
    for ending in ENDINGS:
        (out / f"film-{ending}").symlink_to(precious)
    result = await finder(Witness(scene)).detect(str(film), ["car"], folder=out, stem="film")
    assert precious.read_text() == "keep"
    assert [(out / f"film-{ending}").is_symlink() for ending in ENDINGS] == [False] * 4
    assert Path(result.files.answer or "").parent == out


@pytest.mark.parametrize("fails", ["dinox_mcp.video.output.Encoder.write", "dinox_mcp.video.output.Encoder.close"])
async def test_a_full_disk_leaves_the_files_of_an_earlier_call(
    fails: str,
    film: Path,
    scene: Scene,
    finder: Finder,
    out: Path,
    earlier: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fails, full)
    with pytest.raises(SettingsError, match="No space left on device"):
        await finder(Witness(scene)).detect(str(film), ["car"], folder=out, stem="film")
    assert [path.read_text() for path in earlier] == ["earlier"] * 4
    assert len(list(out.iterdir())) == 4


@pytest.mark.parametrize("written", [0, 1], ids=["sheet.jpg", "tracks.json"])
async def test_a_disk_that_is_full_at_the_end_leaves_the_earlier_file(
    written: int,
    film: Path,
    scene: Scene,
    finder: Finder,
    out: Path,
    earlier: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter([None] * written)

    def full(_: int) -> None:
        if next(answers, "no more") is not None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingsError, match="No space left on device"):
        await finder(Witness(scene)).detect(str(film), ["car"], folder=out, stem="film")
    assert earlier[2 + written].read_text() == "earlier"


async def test_a_callers_videos_delete_no_other_callers_files(film: Path, scene: Scene, finder: Finder) -> None:
    video = finder(Witness(scene))
    quiet, busy = Caller(tenant="quiet"), Caller(tenant="busy")
    kept = await video.detect(str(film), ["car"], caller=quiet, max_calls=1)
    many = [await video.detect(str(film), ["car"], caller=busy, max_calls=1) for _ in range(KEPT + 1)]
    assert Path(kept.files.video or "").is_file()
    assert [Path(one.files.video or "").is_file() for one in many] == [False, *[True] * KEPT]


def test_all_callers_together_have_so_much_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "KEPT_OF_ALL", 3)
    shelf: Shelf[str] = Shelf(max_bytes=100)
    assert shelf.put("a", "1", "a1", 10) == []
    assert shelf.put("b", "1", "b1", 20) == []
    assert shelf.put("b", "2", "b2", 20) == []
    assert shelf.put("c", "1", "c1", 10) == ["b1"], "too many things: the oldest of who holds most"
    assert shelf.put("c", "2", "c2", 90) == ["c1", "b2"], "too many bytes: of who holds most, who has more than one"
    assert (shelf.get("a", "1"), shelf.get("b", "2"), shelf.get("c", "2")) == ("a1", None, "c2")


async def test_answers_of_many_callers_are_bounded(
    film: Path, scene: Scene, finder: Finder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(videos, "KEPT_OF_ALL", 2)
    result = await finder(Witness(scene)).detect(str(film), ["car"], save=False, max_calls=1)
    kept = Videos()
    for tenant in ("a", "b", "c"):
        kept.put(result, tenant)
    assert kept.get(result.result_id, "c") == result
    with pytest.raises(NotFoundError):
        kept.get(result.result_id, "a")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
async def test_a_pipe_in_place_of_a_file_is_no_file(film: Path, scene: Scene, finder: Finder, out: Path) -> None:
    result = await finder(Witness(scene)).detect(str(film), ["car"], folder=out, max_calls=1)
    kept = Videos()
    kept.put(result)
    assert kept.file(result.result_id, "video")[4:8] == b"ftyp"
    sheet = Path(result.files.sheet or "")
    sheet.unlink()
    os.mkfifo(sheet)
    with pytest.raises(NotFoundError, match="the sheet file is gone"):
        kept.file(result.result_id, "sheet")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_pipe_is_no_video_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "clip.mp4")
    with pytest.raises(ForbiddenError, match="a pipe, a device or a socket, not a video file"):
        open_video(str(tmp_path / "clip.mp4"), Settings())
