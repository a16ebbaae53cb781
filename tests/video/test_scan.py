"""How long a video is, which part of it is processed, and which way up it is."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread
import numpy as np
import pytest

from dinox_mcp.errors import InputError
from dinox_mcp.settings import Settings
from dinox_mcp.video.scan import Limits, Stamp, repair_clock, scan
from dinox_mcp.video.source import Orientation, open_video
from tests.video.conftest import Films
from tests.video.reading import LIMITS, grays, joined, matrix, read, record, turned
from tests.video.scenes import Pixels

W, H = 120, 80


@pytest.mark.anyio
async def test_a_scan_stops_when_its_call_is_cancelled(films: Films) -> None:
    scanned = []
    with open_video(str(films(".mp4")), Settings()) as video, anyio.CancelScope() as call:

        def work() -> None:
            anyio.from_thread.run_sync(call.cancel)
            scanned.append(scan(video, LIMITS))

        await anyio.to_thread.run_sync(work)
    assert call.cancelled_caught
    assert not scanned


@pytest.mark.slow
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


@pytest.mark.parametrize("limits", [Limits(max_s=1.0, max_frames=10_000), Limits(max_s=600, max_frames=11)])
def test_a_long_video_is_read_up_to_the_limits_and_a_note_says_so(limits: Limits, film: Path) -> None:
    found, frames = read(film, limits)
    assert len(frames) == 11
    assert "only 1.0 s from 0.0 s on were processed of a video of 3.9 s" in found.notes[0]


@pytest.mark.slow
def test_a_part_outside_the_video_is_refused_with_its_length(film: Path) -> None:
    with pytest.raises(InputError, match=r"is 4.0 s long, and has no frame between 9 s and 10 s"):
        read(film, Limits(600, 10_000, start_s=9, end_s=10))


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_of_a_file_that_ends_early_the_rest_is_read(suffix: str, films: Films, tmp_path: Path) -> None:
    path = Path(shutil.copy(films(suffix, g="5"), tmp_path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found, frames = read(path)
    assert 5 <= len(frames) < 18
    assert len(frames) <= len(found.times)
    if suffix == ".mkv":
        assert "the file ends early" in found.notes[0]


def corners() -> Pixels:
    """Paint a red corner at the top left, and a green one at the top right."""
    frame = np.zeros((H, W, 3), np.uint8)
    frame[:30, :30] = (220, 20, 20)
    frame[:30, -30:] = (20, 220, 20)
    return frame


@pytest.mark.parametrize(
    ("linear", "orientation", "rotation", "red", "green"),
    [
        pytest.param((-1, 0, 0, 1), Orientation(False, True, False), 0, (10, -10), (10, 10), id="left and right"),
        pytest.param((1, 0, 0, -1), Orientation(False, False, True), 180, (-10, 10), (-10, -10), id="upside down"),
        pytest.param((0, 1, 1, 0), Orientation(True, False, False), 270, (10, 10), (-10, 10), id="transposed"),
        pytest.param((0, -1, -1, 0), Orientation(True, True, True), 90, (-10, -10), (10, -10), id="the other diagonal"),
        pytest.param((0, 1, -1, 0), Orientation(True, True, False), 90, (10, -10), (-10, -10), id="turned by 90"),
        pytest.param((-1, 0, 0, -1), Orientation(False, True, True), 180, (-10, -10), (-10, 10), id="turned by 180"),
        pytest.param((0, -1, 1, 0), Orientation(True, False, True), 270, (-10, 10), (10, 10), id="turned by 270"),
    ],
)
def test_frames_are_mirrored_and_turned_as_a_player_shows_them(
    linear: tuple[int, int, int, int],
    orientation: Orientation,
    rotation: int,
    red: tuple[int, int],
    green: tuple[int, int],
    tmp_path: Path,
) -> None:
    found, frames = read(turned(record(tmp_path / "film.mp4", [corners()] * 3), matrix(linear)))
    assert (found.orientation, found.orientation.rotation) == (orientation, rotation)
    assert found.size == orientation.size(W, H)
    shown = frames[0].rgb(found.size).astype(int)
    assert shown[red][0] > 150 > shown[red][1]
    assert shown[green][1] > 150 > shown[green][0]
    width, height = orientation.size(W // 2, H // 2)
    assert frames[0].gray((width, height)).shape == (height, width)


EVEN = [number / 10 for number in range(40)]
LATER = [4 + time for time in EVEN]
BFRAMES = {"bf": "2"}


def repaired(times: Sequence[float], file_format: str = "mpegts") -> list[float] | None:
    result = repair_clock([Stamp(time, time) for time in times], file_format)
    return None if result is None else list(result.times)


@pytest.mark.parametrize(
    "times",
    [EVEN, [0.0, 0.04, 0.5, 0.52, 1.7, 1.74, 3.0], [0.0, 9.0, 12.0, 21.0], [3600 + time for time in EVEN], [0.0], []],
)
def test_a_clock_that_goes_on_is_left_alone(times: list[float]) -> None:
    assert repaired(times) is None


def test_a_slide_of_five_minutes_is_not_a_jump() -> None:
    assert repaired([0.0, 30.0, 70.0, 370.0, 380.0], "mov") is None


@pytest.mark.parametrize(
    "times",
    [
        pytest.param(EVEN + EVEN, id="begins anew"),
        pytest.param(EVEN + [time + 2 for time in EVEN], id="goes back a little"),
        pytest.param(EVEN + [time + 3604 for time in EVEN], id="jumps an hour"),
        pytest.param([*EVEN[:20], 1002.0, *EVEN[21:], *LATER], id="one in the future"),
        pytest.param([*EVEN[:20], 0.0, *EVEN[21:], *LATER], id="one at zero"),
        pytest.param([*EVEN[:20], 7.0, *EVEN[21:], *LATER], id="one a little ahead"),
        pytest.param([*EVEN[:20], 1002.0, 50.0, 7000.0, *EVEN[23:], *LATER], id="three wild ones"),
        pytest.param([*EVEN, *LATER[:-1], 5000.0], id="the last"),
    ],
)
def test_frames_follow_each_other_whatever_their_stamps_say(times: list[float]) -> None:
    assert repaired(times) == pytest.approx(EVEN + LATER)


def test_a_wild_first_stamp_is_where_the_clock_begins() -> None:
    assert repaired([1000.0, *EVEN[1:]]) == pytest.approx([1000 + time for time in EVEN])


@pytest.mark.parametrize("options", [{"bf": "0"}, BFRAMES])
def test_files_that_were_joined_are_read_to_their_end(options: dict[str, str], tmp_path: Path) -> None:
    first = record(tmp_path / "a.ts", grays(20), options=options)
    second = record(tmp_path / "b.ts", grays(20, 20), options=options)
    found, frames = read(joined(tmp_path / "film.ts", first, second))
    assert (len(found.times), found.duration_s, found.fps) == (40, pytest.approx(4.0), pytest.approx(10.0))
    assert [frame.time for frame in frames] == pytest.approx(EVEN)
    shades = [int(frame.gray((8, 8)).mean()) for frame in frames]
    assert shades == sorted(shades), "in the order of the film"
    assert found.notes == ("the clock of the file jumps in one place; times are counted on from the frame before",)


def test_program_streams_that_were_joined_are_read_to_their_end(tmp_path: Path) -> None:
    part = record(tmp_path / "a.mpg", grays(20), codec="mpeg2video", fps=25)
    found, frames = read(joined(tmp_path / "film.mpg", part, part))
    assert (len(frames), found.duration_s) == (40, pytest.approx(1.6))


def test_a_wild_stamp_costs_no_frame(tmp_path: Path) -> None:
    before = record(tmp_path / "a.ts", grays(20))
    wild = record(tmp_path / "b.ts", grays(1, 20), start_s=1002)
    after = record(tmp_path / "c.ts", grays(19, 21), start_s=2.1)
    found, frames = read(joined(tmp_path / "film.ts", before, wild, after))
    assert [frame.time for frame in frames] == pytest.approx(EVEN)
    assert (found.duration_s, found.fps) == (pytest.approx(4.0), pytest.approx(10.0))


def test_a_part_of_a_film_whose_clock_jumps_is_read_from_its_key_frame(tmp_path: Path) -> None:
    part = record(tmp_path / "a.ts", grays(20), options={"g": "10"})
    film = joined(tmp_path / "film.ts", part, part)
    found, frames = read(film, Limits(LIMITS.max_s, LIMITS.max_frames, start_s=3.5))
    assert found.begin == 30
    assert [frame.time for frame in frames] == pytest.approx(EVEN[35:])
    _, every = read(film)
    assert (frames[0].gray((8, 8)) == every[35].gray((8, 8))).all()


@pytest.mark.parametrize(("name", "codec"), [("film.mkv", "libx264"), ("film.webm", "libvpx-vp9")])
def test_a_film_that_starts_late_does_not_end_early(name: str, codec: str, tmp_path: Path) -> None:
    found, frames = read(record(tmp_path / name, grays(20), start_s=3600, codec=codec))
    assert (found.notes, len(frames), found.duration_s) == ((), 20, pytest.approx(2.0))


def test_a_film_that_starts_late_and_is_cut_off_ends_early(tmp_path: Path) -> None:
    path = record(tmp_path / "film.mkv", grays(40), start_s=3600, options={"g": "5"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    found, _ = read(path)
    assert "the file ends early" in found.notes[0]
    assert "4.0 s are claimed" in found.notes[0]
