"""Readings: the best of overlapping ones, their order, and the text in a box."""

import numpy as np
import pytest

from dinox_mcp.backends.embedded.readings import Reading, quad, reading_order, share_inside, text_in, unique
from dinox_mcp.backends.embedded.vocabulary import Kind


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


def test_columns_are_read_one_after_the_other() -> None:
    columns = [line(f"{side} {row}", x, 15 * row) for row in range(4) for side, x in (("left", 0), ("right", 120))]
    assert [one.text for one in reading_order(columns)] == [
        f"{side} {row}" for side in ("left", "right") for row in range(4)
    ]


def test_the_text_in_a_box_is_what_lies_inside() -> None:
    lines = [line("second", 10, 30), line("first", 10, 10), line("outside", 90, 50)]
    assert text_in((0, 0, 120, 100), lines) == "first\nsecond"
    assert text_in((200, 200, 300, 300), lines) is None
