"""How long a video is, which part of it is processed, and which way up it is."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from dinox_mcp.errors import InputError
from dinox_mcp.video.scan import Limits, Orientation
from tests.video.conftest import Films
from tests.video.reading import grays, matrix, read, record, turned
from tests.video.scenes import Pixels

W, H = 120, 80


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
