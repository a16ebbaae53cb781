import numpy as np
import pytest
from PIL import Image

from dinox_mcp.drawing.sheet import PAPER, contact_sheet

RED, BLUE = (250, 10, 10), (10, 10, 250)


def frames(count: int, size: tuple[int, int] = (640, 360), caption: str = "0:01.5") -> list[tuple[Image.Image, str]]:
    return [(Image.new("RGB", size, RED), caption) for _ in range(count)]


def is_red(sheet: Image.Image) -> np.ndarray:
    return (np.asarray(sheet) == RED).all(axis=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "size"),
    [
        (1, (640, 360)),
        (2, (640, 360)),
        (7, (640, 360)),
        (50, (320, 180)),
        (3, (360, 640)),
        (12, (2000, 150)),
        (7, (30, 30)),
    ],
)
def test_every_frame_is_shown_in_its_own_shape(count: int, size: tuple[int, int]) -> None:
    sheet = contact_sheet(frames(count, size), 1200)
    assert max(sheet.size) <= 1200
    red = is_red(sheet)
    columns = np.flatnonzero(np.diff(red.any(axis=0).astype(int), prepend=0, append=0)).reshape(-1, 2)
    rows = np.flatnonzero(np.diff(red.any(axis=1).astype(int), prepend=0, append=0)).reshape(-1, 2)
    assert len(columns) * (len(rows) - 1) < count <= len(columns) * len(rows)
    width, height = columns[0][1] - columns[0][0], rows[0][1] - rows[0][0]
    assert red.sum() == count * width * height
    assert width / height == pytest.approx(size[0] / size[1], rel=0.1)
    assert width <= size[0]


def test_frames_stand_row_by_row() -> None:
    pictures = frames(4)
    pictures[1] = (Image.new("RGB", (640, 360), BLUE), "0:02")
    sheet = contact_sheet(pictures, 1200)
    ys, xs = np.nonzero((np.asarray(sheet) == BLUE).all(axis=2))
    assert ys.max() < sheet.height / 2
    assert xs.min() > sheet.width / 2


def test_the_caption_stands_below_its_frame() -> None:
    named, bare = contact_sheet(frames(1)), contact_sheet(frames(1, caption=""))
    assert named.size == bare.size
    rows, columns = np.nonzero((np.asarray(named) != np.asarray(bare)).any(axis=2))
    assert rows.min() > np.flatnonzero(is_red(named).any(axis=1)).max()
    assert columns.max() < named.width / 2


def test_a_long_caption_is_cut_at_its_frame() -> None:
    sheet = contact_sheet(frames(2, (200, 100), caption="A very long caption " * 20), 460)
    red = is_red(sheet).any(axis=0)
    written = (np.asarray(sheet) != PAPER).any(axis=(0, 2))
    assert (written == red).all()


def test_other_frames_are_fitted_in() -> None:
    tall = (Image.new("L", (100, 400), 128), "")
    sheet = contact_sheet([*frames(1, (400, 100), ""), tall], 820)
    ys, xs = np.nonzero((np.asarray(sheet) == 128).all(axis=2))
    assert (np.ptp(xs) + 1, np.ptp(ys) + 1) == (25, 100)


@pytest.mark.parametrize(("pictures", "message"), [([], "at least one"), (frames(60), "do not fit")])
def test_what_makes_no_sheet_is_refused(pictures: list[tuple[Image.Image, str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        contact_sheet(pictures, 60)
