"""What may be asked of a video, and where its files go."""

import math
import os
from pathlib import Path
from typing import Any

import pytest

from dinox_mcp.detect.options import Caller
from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError, NotFoundError, SettingsError, UnsupportedError
from dinox_mcp.settings import Settings
from dinox_mcp.store import kept as module
from dinox_mcp.store.videos import Videos
from tests.emulator import Emulator
from tests.video.conftest import Finder, video_detector
from tests.video.scenes import Scene, Witness

pytestmark = pytest.mark.anyio
# ruff: noqa: ASYNC240 - a test may wait for its disk


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_calls": 61}, "max_calls is 61; choose 1 to 60, or raise DINOX_MCP_VIDEO_MAX_CALLS"),
        ({"max_calls": 0}, "max_calls is 0"),
        (
            {"max_calls": 8, "tiles": 4},
            "tiles is 4, which takes [0-9]+ calls for each key frame, more than the 8 allowed",
        ),
        ({"every_s": 0}, "every_s is 0"),
        ({"every_s": math.nan}, "every_s is nan"),
        ({"min_score": 2}, "min_score"),
        ({"include": ["pose"]}, "include is pose"),
        ({"start_s": 9}, "has no frame between"),
        ({"prompts": " "}, "prompts is empty"),
    ],
)
async def test_wrong_arguments_are_refused_before_any_call(
    options: dict[str, Any], message: str, film: Path, scene: Scene, finder: Finder
) -> None:
    witness = Witness(scene)
    with pytest.raises(InputError, match=message):
        await finder(witness).detect(str(film), **{"prompts": ["car"], **options})
    assert witness.asked == []


async def test_outputs_that_take_a_second_call_are_refused(
    short_film: Path, short_scene: Scene, finder: Finder
) -> None:
    with pytest.raises(UnsupportedError, match="does not give caption"):
        await finder(Witness(short_scene)).detect(str(short_film), ["car"], save=False, include=["caption"])


async def test_results_of_images_are_not_crowded_out(short_film: Path, short_scene: Scene) -> None:
    async with Detector(Settings(backend="witness"), backends=[Witness(short_scene)]) as detector:
        await video_detector(detector).detect(str(short_film), ["car"], save=False)
        assert detector.store.recent() == []


@pytest.mark.slow
async def test_as_many_calls_are_paid_as_were_planned_and_none_twice(emulator: Emulator, short_film: Path) -> None:
    settings = Settings.load(api_key=emulator.key, api_base_url=emulator.url, video_max_calls=4)
    async with Detector(settings) as detector:
        result = await detector.detect_video(str(short_film), ["car"], every_s=0.05, save=False)
        assert (result.backend, result.calls.planned, result.calls.made) == ("dinox", 4, 4)
        assert emulator.stats().paid == 4
        again = await detector.detect_video(str(short_film), ["car"], every_s=0.05, save=False)
        assert (again.calls.made, again.calls.memory) == (0, 4)
        assert emulator.stats().paid == 4


@pytest.mark.slow
async def test_without_a_folder_files_are_temporary(short_film: Path, short_scene: Scene, finder: Finder) -> None:
    video = finder(Witness(short_scene))
    result = await video.detect(str(short_film), ["car"])
    sheet = Path(result.files.sheet or "")
    assert sheet.exists()
    video.close()
    assert not sheet.parent.exists()


@pytest.mark.slow
async def test_the_output_folder_of_the_settings_is_used(
    short_film: Path, short_scene: Scene, finder: Finder, tmp_path: Path
) -> None:
    result = await finder(Witness(short_scene), output_folder=tmp_path / "out").detect(str(short_film), ["car"])
    assert Path(result.files.video or "").parent == tmp_path / "out"
    assert Path(result.files.video or "").name == f"film-{result.result_id}-annotated.mp4"


@pytest.mark.slow
async def test_a_folder_that_cannot_be_written_is_named(short_film: Path, short_scene: Scene, finder: Finder) -> None:
    witness = Witness(short_scene)
    with pytest.raises(SettingsError, match="cannot write into"):
        await finder(witness).detect(str(short_film), ["car"], folder=short_film / "below")
    assert witness.asked == []


@pytest.mark.slow
async def test_a_callers_videos_delete_no_other_callers_files(
    short_film: Path, short_scene: Scene, finder: Finder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    video = finder(Witness(short_scene))
    quiet, busy = Caller(tenant="quiet"), Caller(tenant="busy")
    kept = await video.detect(str(short_film), ["car"], caller=quiet, max_calls=1)
    many = [await video.detect(str(short_film), ["car"], caller=busy, max_calls=1) for _ in range(3)]
    assert Path(kept.files.video or "").is_file()
    assert [Path(one.files.video or "").is_file() for one in many] == [False, True, True]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
async def test_a_pipe_that_took_the_name_of_a_file_is_not_read(
    short_film: Path, short_scene: Scene, finder: Finder, tmp_path: Path
) -> None:
    result = await finder(Witness(short_scene)).detect(str(short_film), ["car"], folder=tmp_path, max_calls=1)
    kept = Videos()
    await kept.put(result)
    assert kept.file(result.result_id, "video")[4:8] == b"ftyp"
    sheet = Path(result.files.sheet or "")
    sheet.unlink()
    os.mkfifo(sheet)
    with pytest.raises(NotFoundError, match="the sheet file is gone"):
        kept.file(result.result_id, "sheet")
