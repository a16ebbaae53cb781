"""Views of a picture: which parts they show, and how their points map back."""

import numpy as np
import pytest

from dinox_mcp.backends.embedded.pixels import View, around, resized, tiles, views
from dinox_mcp.backends.embedded.readings import quad

SQUARE = quad([[10, 10], [20, 10], [20, 20], [10, 20]])


def test_points_of_a_view_map_to_the_picture() -> None:
    view = View(np.zeros((50, 50), np.uint8), x=100, y=30, factor=2)
    assert view.to_picture(SQUARE).tolist() == [[105, 35], [110, 35], [110, 40], [105, 40]]


def test_the_surroundings_of_a_shape_have_the_height_that_is_asked_for() -> None:
    view = around(np.zeros((300, 300), np.uint8), SQUARE * 5, 0.2, 140)
    assert view.pixels.shape == (140, 140)
    assert view.to_picture((SQUARE * 5 - (view.x, view.y)) * view.factor) == pytest.approx(SQUARE * 5)


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
