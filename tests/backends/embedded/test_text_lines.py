"""The size at which lines are searched, and the parts of a picture for given boxes."""

import pytest

from dinox_mcp.backends.embedded.text_lines import MAX_PIXELS_OF_PARTS, parts_to_search, search_size
from dinox_mcp.types.boxes import Box


@pytest.mark.parametrize("size", [(32_000, 1), (1, 32_000), (5000, 300)])
def test_lines_are_searched_in_a_bounded_number_of_pixels(size: tuple[int, int]) -> None:
    width, height = search_size(*size)
    assert width * height < 2 * 3_200_000


def test_a_long_page_stays_legible_where_a_photograph_is_reduced() -> None:
    assert search_size(600, 5000) == (608, 4992)
    assert search_size(2000, 1500) == (1632, 1216)


@pytest.mark.parametrize(
    "boxes",
    [
        [(0.0, 0.0, 4000.0, 3000.0)] * 100,
        [(i * 20.0, 0.0, 1500.0 + i * 20, 900.0) for i in range(100)],
        [(0.0, i * 30.0, 4000.0, i * 30.0 + 25) for i in range(100)],
        [(i * 40.0, 0.0, i * 40.0 + 3, 3000.0) for i in range(100)],
        [(i * 3.0, i * 2.0, i * 3.0 + 0.5, i * 2.0 + 0.5) for i in range(1000)],
    ],
)
def test_the_parts_of_boxes_are_bounded_and_no_box_is_left_out(boxes: list[Box]) -> None:
    chosen = parts_to_search(4000, 3000, boxes)
    parts = [part for part, _ in chosen]
    for x1, y1, x2, y2 in boxes:
        assert any(p[0] <= x1 and p[1] <= y1 and x2 <= p[2] and y2 <= p[3] for p in parts)
    assert all(0 <= p[0] < p[2] <= 4000 and 0 <= p[1] < p[3] <= 3000 for p in parts)
    pixels = [(p[2] - p[0]) * (p[3] - p[1]) * factor**2 for p, factor in chosen if factor is not None]
    assert sum(pixels) <= MAX_PIXELS_OF_PARTS
