"""Views of an image and how their points map back; readings, their order, and the text in a box."""

import numpy as np
import pytest

from dinox_mcp.backends.embedded.prompts import Kind
from dinox_mcp.backends.embedded.readings import (
    Reading,
    View,
    around,
    quad,
    reading_order,
    resized,
    share_inside,
    text_in,
    tiles,
    unique,
    views,
)

SQUARE = quad([[10, 10], [20, 10], [20, 20], [10, 20]])


def test_points_of_a_view_map_to_the_picture() -> None:
    view = View(np.zeros((50, 50), np.uint8), x=100, y=30, factor=2)
    assert view.to_image(SQUARE).tolist() == [[105, 35], [110, 35], [110, 40], [105, 40]]


def test_the_surroundings_of_a_shape_have_the_height_that_is_asked_for() -> None:
    view = around(np.zeros((300, 300), np.uint8), SQUARE * 5, 0.2, 140)
    assert view.pixels.shape == (140, 140)
    assert view.to_image((SQUARE * 5 - (view.x, view.y)) * view.factor) == pytest.approx(SQUARE * 5)


def test_a_shape_is_cut_only_at_edges_inside_the_picture() -> None:
    picture = np.zeros((100, 100), np.uint8)
    left, right = View(picture[:, :60]), View(picture[:, 40:], x=40)
    at_the_left = SQUARE - (10, 0)
    assert not left.cuts(at_the_left, picture)
    assert right.cuts(at_the_left, picture)


@pytest.mark.parametrize(("size", "count"), [((800, 600), 1), ((1500, 1500), 1), ((4000, 3000), 10)])
def test_large_pictures_are_shown_reduced_and_in_tiles(size: tuple[int, int], count: int) -> None:
    assert len(views(np.zeros(size[::-1], np.uint8))) == count


def test_tiles_cover_a_picture() -> None:
    shown = np.zeros((300, 500), np.uint8)
    for tile in tiles(shown, 200, 50):
        tile.pixels[:] = 1  # a view of the same memory
    assert shown.all()


def test_a_resized_view_shows_the_full_picture() -> None:
    view = resized(np.zeros((100, 200), np.uint8), 0.5)
    assert (view.pixels.shape, view.factor) == ((50, 100), 0.5)


def line(text: str, x: float, y: float, width: float = 100, height: float = 10, score: float = 0.9) -> Reading:
    corners = quad([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
    return Reading(Kind.TEXT, corners, text, score)


def test_the_best_of_overlapping_readings_is_kept() -> None:
    worse, better, apart = line("HELL", 0, 0, score=0.8), line("HELLO", 5, 1), line("OTHER", 0, 50)
    assert unique([worse, better, apart]) == [better, apart]


def test_a_share_is_of_the_inner_shape() -> None:
    large, half_outside = line("", 0, 0).quad, line("", 80, 2, 40, 5).quad
    assert share_inside(half_outside, large) == pytest.approx(0.5)
    assert share_inside(np.zeros((4, 2), np.float32), large) == 0


def test_rows_are_read_from_left_to_right() -> None:
    lines = [line("right", 300, 3), line("left", 0, 0), line("below", 0, 40)]
    assert [one.text for one in reading_order(lines)] == ["left", "right", "below"]


def test_rows_stay_together_on_a_slanted_page() -> None:
    page = [line(f"{x} {y}", x, 40 * y + 3 * x / 50, 50) for y in range(3) for x in (300, 0, 150)]
    assert [one.text for one in reading_order(page)] == [f"{x} {y}" for y in range(3) for x in (0, 150, 300)]


def test_columns_are_read_one_after_the_other_below_their_title() -> None:
    columns = [line(f"{side} {row}", x, 15 * row) for row in range(4) for side, x in (("left", 0), ("right", 120))]
    assert [one.text for one in reading_order([*columns, line("title", 0, -20, width=220)])] == [
        "title",
        *(f"{side} {row}" for side in ("left", "right") for row in range(4)),
    ]


def test_a_table_is_read_row_by_row() -> None:
    table = [line(f"{x} {row}", x, 15 * row) for x in (0, 300) for row in range(4)]
    assert [one.text for one in reading_order(table)] == [f"{x} {row}" for row in range(4) for x in (0, 300)]


def test_the_text_in_a_box_is_what_lies_inside() -> None:
    lines = [line("second", 10, 30), line("first", 10, 10), line("outside", 90, 50)]
    assert text_in((0, 0, 120, 100), lines) == "first\nsecond"
    assert text_in((200, 200, 300, 300), lines) is None
