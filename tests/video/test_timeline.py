"""Repair of time stamps that jump, go back, or are wrong."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from dinox_mcp.video.scan import Limits
from dinox_mcp.video.timeline import Stamp, repair
from tests.video.reading import LIMITS, grays, joined, read, record

EVEN = [number / 10 for number in range(40)]
LATER = [4 + time for time in EVEN]
BFRAMES = {"bf": "2"}


def repaired(times: Sequence[float], file_format: str = "mpegts") -> list[float] | None:
    result = repair([Stamp(time, time) for time in times], file_format)
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
