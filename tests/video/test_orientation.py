"""Which way up frames are shown, which of a file's streams, and in which size."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dinox_mcp.video.frames import Fit
from dinox_mcp.video.scan import Orientation
from tests.video.conftest import Finder
from tests.video.reading import grays, joined, read, record, turned
from tests.video.scenes import Pixels, Scene, Thing, Witness, line

ONE = 1 << 16
W, H = 120, 80
Linear = tuple[int, int, int, int]


def matrix(linear: Linear) -> tuple[int, ...]:
    """Write a display matrix for (x, y) at (ax + cy, bx + dy)."""
    a, b, c, d = (ONE * one for one in linear)
    return a, b, 0, c, d, 0, 0, 0, 1 << 30


def corners() -> Pixels:
    """Paint a red corner above on the left, and a green one above on the right."""
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
        pytest.param((0, 1, -1, 0), Orientation(True, True, False), 90, (10, -10), (-10, -10), id="only turned"),
    ],
)
def test_frames_are_mirrored_and_turned_as_a_player_shows_them(
    linear: Linear,
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


@pytest.mark.anyio
async def test_boxes_and_the_film_are_mirrored_alike(finder: Finder, tmp_path: Path) -> None:
    scene = Scene([Thing("car", line(60, 100, 60), (60, 40))], size=(320, 200), seconds=1)
    mirrored = [np.ascontiguousarray(scene.draw(number / 10)[:, ::-1]) for number in range(10)]
    film = turned(record(tmp_path / "film.mp4", mirrored), matrix((-1, 0, 0, 1)))
    result = await finder(Witness(scene)).detect(str(film), ["car"], folder=tmp_path / "out")
    assert (result.video.rotation, result.video.mirrored) == (0, True)
    assert result.tracks[0].path.start == pytest.approx((30, 80, 90, 120))
    with av.open(result.files.video or "") as container:
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert np.abs(shown[10:60] - scene.draw(0.0)[10:60]).mean() < 25, "the background as the player shows it"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize(
    ("first", "notes"),
    [
        pytest.param(grays(1, size=(256, 192)), (), id="a large thumbnail"),
        pytest.param(
            grays(20, size=(32, 32)),
            ("the file has 2 moving pictures beside each other; the largest was looked at",),
            id="a small preview",
        ),
    ],
)
def test_the_main_stream_is_looked_at_wherever_it_stands(
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


def test_a_frame_of_another_shape_lies_in_the_middle() -> None:
    fit = Fit.of((90, 160), (320, 160))
    assert fit == (1.0, 1.0, 115, 0, 90, 160)
    assert fit.box((0, 0, 90, 160)) == (115, 0, 205, 160)
    assert Fit.of((640, 320), (320, 160)).box((0, 0, 640, 320)) == (0, 0, 320, 160)


@pytest.mark.anyio
@pytest.mark.parametrize("size", [(640, 360), (180, 320)])
async def test_things_are_found_after_the_size_changes(size: tuple[int, int], finder: Finder, tmp_path: Path) -> None:
    """The backend gets frames of their own size; what it finds is mapped into the video's."""
    small = Scene([Thing("car", line(160, 90, 0), (60, 40))], size=(320, 180), seconds=1)
    other = Scene([Thing("car", line(size[0] / 2, size[1] / 2, 0), (60, 40))], size=size, seconds=1)
    parts = [
        record(tmp_path / "a.ts", [small.draw(0)] * 10),
        record(tmp_path / "b.ts", [other.draw(0)] * 10, start_s=1),
    ]
    witness = Witness(other)
    result = await finder(witness).detect(str(joined(tmp_path / "film.ts", *parts)), ["car"], folder=tmp_path / "out")
    assert (witness.pictures[0].width, witness.pictures[0].height) == size
    width, height = 60 * min(320 / size[0], 180 / size[1]), 40 * min(320 / size[0], 180 / size[1])
    expected = (160 - width / 2, 90 - height / 2, 160 + width / 2, 90 + height / 2)
    assert result.tracks[-1].path.end == pytest.approx(expected, abs=1)
    assert f"the size of the frames changes on the way (320x180, {size[0]}x{size[1]})" in " ".join(result.notes)
    assert (result.video.width, result.video.height, result.video.frames) == (320, 180, 20)
