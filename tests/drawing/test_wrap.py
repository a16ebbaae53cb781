import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dinox_mcp.drawing import text
from dinox_mcp.drawing.text import wrap

SIZE = 16
SENTENCE = "a man in a red shirt holding a wooden bat above his left shoulder"
CHINESE = "一个戴着蓝色安全帽的工人正在仓库里搬运纸箱，旁边停着一辆叉车。"  # noqa: RUF001 - as it is written


def width(line: str) -> int:
    ink = text.ink(line, SIZE)
    assert ink
    return ink.width


@pytest.mark.parametrize("room", [100, 150, 200, 300])
@pytest.mark.parametrize("written", [SENTENCE, CHINESE, f"person: {CHINESE}", "Straßenverkehrsordnungsbehörde " * 2])
def test_lines_fit_and_nothing_is_lost(written: str, room: int) -> None:
    lines = wrap(written, SIZE, room, 50)
    assert max(map(width, lines)) <= room
    assert "".join("".join(lines).split()) == "".join(written.split())


def test_a_line_is_as_full_as_can_be() -> None:
    first, second, *_ = wrap(SENTENCE, SIZE, 200, 50)
    assert width(f"{first} {second.split()[0]}") > 200


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        ("one two", ["one", "two"]),
        ("one-two", ["one-", "two"]),
        ("to/two", ["to/", "two"]),
        ("onetwo", ["onet", "wo"]),
        ("安全帽", ["安全", "帽"]),
        ("安全。", ["安", "全。"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_where_lines_end(written: str, lines: list[str]) -> None:
    assert wrap(written, SIZE, 37, 9) == lines


def test_what_is_too_much_becomes_an_ellipsis_within_the_width() -> None:
    lines = wrap(SENTENCE, SIZE, 150, 2)
    assert len(lines) == 2
    assert lines[1].endswith("…")
    assert width(lines[1]) <= 150


def test_what_fits_exactly_has_no_ellipsis() -> None:
    assert wrap("one two", SIZE, 35, 2) == ["one", "two"]


def test_marks_stay_with_their_letters() -> None:
    assert all(line[0] == "q" for line in wrap("q\u0308" * 9, SIZE, 30, 20) if line)


def test_what_no_font_can_write_has_no_lines() -> None:
    assert wrap("\U0010fffd", SIZE, 100, 3) == []


@given(st.text(max_size=60), st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_any_text_breaks_into_lines(written: str, room: int) -> None:
    lines = wrap(written, SIZE, room, 5)
    assert len(lines) <= 5
    assert all(lines)
