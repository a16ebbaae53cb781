import numpy as np
import pytest
from PIL import Image

from dinox_mcp.drawing.annotate import annotate
from dinox_mcp.drawing.lines import draw_trails
from dinox_mcp.drawing.style import Style, color_of_number
from dinox_mcp.types.detection import DetectedObject, Point

GREY = (90, 90, 90)
TRAIL = [(20.0 + 40 * step, 100.0) for step in range(10)]  # from x = 20 to x = 380


def plain() -> Image.Image:
    return Image.new("RGB", (400, 300), GREY)


def difference(image: Image.Image) -> np.ndarray:
    return np.abs(np.asarray(image).astype(int) - GREY).sum(axis=2)


def test_the_newest_end_of_a_trail_has_the_color_of_its_track() -> None:
    assert draw_trails(plain(), {7: TRAIL}, line=4).getpixel((375, 99)) == color_of_number(7)


def test_a_trail_fades_towards_its_past() -> None:
    along = difference(draw_trails(plain(), {7: TRAIL}, line=4))[99, [30, 110, 190, 270, 350]]
    assert 0 < along[0] < along[1] < along[2] < along[3] < along[4]


def test_a_trail_gets_thinner_towards_its_past() -> None:
    drawn = difference(draw_trails(plain(), {7: TRAIL}, line=8)) > 0
    assert drawn[:, 40].sum() < drawn[:, 360].sum()


def test_away_from_the_trails_the_picture_stays_as_it_is() -> None:
    drawn = difference(draw_trails(plain(), {7: TRAIL}, line=4))
    assert not drawn[:94].any()
    assert not drawn[106:].any()


def test_the_given_image_stays_as_it_is() -> None:
    image = plain()
    draw_trails(image, {7: TRAIL})
    assert image == plain()


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(100.0, 100.0)],
        [(-50.0, -50.0), (-20.0, -10.0)],
        [(1e300, 10.0), (50.0, -1e300), (50.0, 50.0)],
    ],
    ids=["none", "one", "outside", "absurd"],
)
def test_a_trail_with_no_line_in_the_picture_draws_nothing(points: list[Point]) -> None:
    assert draw_trails(plain(), {1: points}) == plain()


def test_a_trail_may_leave_the_picture() -> None:
    drawn = draw_trails(plain(), {1: [(350.0, 100.0), (450.0, 100.0)]}, line=4)
    assert drawn.getpixel((399, 99)) == color_of_number(1)


def test_tracks_have_their_own_colors_and_boxes_may_share_them() -> None:
    assert len({color_of_number(number) for number in range(36)}) == 36
    found = DetectedObject(id=7, label="person", bbox=(100, 80, 200, 180))
    style = Style(labels=False, numbers=False, color_by="number")
    assert annotate(plain(), [found], original_size=(400, 300), style=style).getpixel((100, 80)) == color_of_number(7)
