"""Lines of text: their ink in any script, and their breaks."""

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageFont, features

from dinox_mcp.drawing import text

DEJAVU = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
needs_dejavu = pytest.mark.skipif(
    not (DEJAVU.is_file() and features.check_feature("raqm")), reason="needs DejaVu Sans and Raqm"
)
SIZE = 16
SENTENCE = "a man in a red shirt holding a wooden bat above his left shoulder"
CHINESE = "一个戴着蓝色安全帽的工人正在仓库里搬运纸箱，旁边停着一辆叉车。"  # noqa: RUF001 - as it is written


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What was drawn with other fonts is forgotten, before and after."""
    caches = (text.ink, text.installed_fonts)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def amount(ink: Image.Image | None) -> int:
    assert ink
    return sum(value * count for value, count in enumerate(ink.histogram()))


@pytest.mark.parametrize(
    "label",
    ["person", "Führerschein", "Tiếng Việt", "Человек в каске", "κράνος", "戴安全帽的人", "ヘルメット", "안전모"],
)
def test_these_scripts_are_drawn_on_any_machine(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "installed_fonts", lambda: ())
    drawn = text.ink(label, 20)
    assert drawn
    assert drawn.mode == "L"
    assert drawn.height == text.line_height(20)
    assert drawn.width > 20
    assert len({text.ink(char, 20).tobytes() for char in set(label) - {" "}}) == len(set(label) - {" "})


def test_ink_starts_and_ends_with_the_letters() -> None:
    drawn = text.ink("person", 20)
    assert drawn
    box = drawn.getbbox()
    assert box
    assert (box[0], box[2]) == (0, drawn.width)


def test_letters_stay_inside_the_line() -> None:
    drawn = text.ink("ÅÉgjpqy戴", 40)
    assert drawn
    box = drawn.getbbox()
    assert box
    assert 0 < box[1] < box[3] < drawn.height


@pytest.mark.parametrize("label", ["मानव", "ชาย", "人 मानव"])
def test_without_a_font_there_is_no_ink_rather_than_squares(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "installed_fonts", lambda: ())
    assert text.ink(label, 20) is None


@needs_dejavu
def test_arabic_is_shaped_and_runs_from_right_to_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "installed_fonts", lambda: (str(DEJAVU),))
    word, first = text.ink("رجل", 40), text.ink("ر", 40)
    assert word
    assert first
    right_end = word.crop((word.width - first.width, 0, word.width, word.height))
    assert amount(ImageChops.difference(right_end, first)) < 0.05 * amount(first)
    joined, alone = text.ink("ببب", 40), text.ink("ب", 40)
    assert joined
    assert alone
    assert joined.width < 2.5 * alone.width


@needs_dejavu
def test_a_line_of_two_scripts_is_set_word_by_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "installed_fonts", lambda: (str(DEJAVU),))
    words, then_arabic, after_arabic = (text.ink(line, 40) for line in ("红 helmet", "红 helmet رجل", "رجل 红 helmet"))
    assert words
    assert then_arabic
    assert after_arabic
    assert then_arabic.crop((0, 0, words.width, words.height)) == words
    assert after_arabic.crop((0, 0, words.width, words.height)) == words  # this line reads from the right
    assert text.ink("红 helmet मानव", 40) is None


def test_without_raqm_arabic_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check_feature", lambda _name: False)
    assert text.ink("رجل", 20) is None


def test_symbols_without_a_glyph_are_left_out() -> None:
    assert text.ink("dog 🐕", 20) == text.ink("dog", 20)
    assert text.ink("🐕", 20) is None


def test_a_request_mark_is_a_letter_like_any_other() -> None:
    assert amount(text.ink("why?", 20)) > amount(text.ink("why", 20))


@pytest.mark.parametrize(
    ("untidy", "tidied"),
    [
        ("  a \n\t b ", "a b"),
        ("e\u0301", "é"),
        ("a\x00\x1b[31mb", "a[31mb"),
        ("a\ud800b", "ab"),
        ("a\u202eb", "ab"),
        ("\ufffe", ""),
    ],
)
def test_tidy_drops_what_does_not_print(untidy: str, tidied: str) -> None:
    assert text.tidy(untidy) == tidied


@pytest.mark.parametrize("label", ["", " ", "\ud800", "\u200d", "\x00"])
def test_nothing_to_print_is_no_ink(label: str) -> None:
    assert text.ink(label, 20) is None


def test_shorten_marks_what_is_missing() -> None:
    assert text.shorten("loading dock", 12) == "loading dock"
    assert text.shorten("loading dock 24", 9) == "loading…"


# Line breaks


def width(line: str) -> int:
    ink = text.ink(line, SIZE)
    assert ink
    return ink.width


@pytest.mark.parametrize("limit", [100, 300])
@pytest.mark.parametrize("written", [SENTENCE, f"person: {CHINESE}", "Straßenverkehrsordnungsbehörde " * 2])
def test_lines_fit_and_nothing_is_lost(written: str, limit: int) -> None:
    lines = text.wrap(written, SIZE, limit, 50)
    assert max(map(width, lines)) <= limit
    assert "".join("".join(lines).split()) == "".join(written.split())


def test_a_line_is_as_full_as_can_be() -> None:
    first, second, *_ = text.wrap(SENTENCE, SIZE, 200, 50)
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
    assert text.wrap(written, SIZE, 37, 9) == lines


def test_what_is_too_much_becomes_an_ellipsis_within_the_width() -> None:
    lines = text.wrap(SENTENCE, SIZE, 150, 2)
    assert len(lines) == 2
    assert lines[1].endswith("…")
    assert width(lines[1]) <= 150


def test_what_fits_exactly_has_no_ellipsis() -> None:
    assert text.wrap("one two", SIZE, 35, 2) == ["one", "two"]


def test_marks_stay_with_their_letters() -> None:
    assert all(line[0] == "q" for line in text.wrap("q\u0308" * 9, SIZE, 30, 20) if line)


def test_what_no_font_can_write_has_no_lines() -> None:
    assert text.wrap("\U0010fffd", SIZE, 100, 3) == []


@pytest.mark.slow
@settings(max_examples=30)
@given(st.text(max_size=20), st.integers(1, 200))
def test_any_text_breaks_into_lines(written: str, limit: int) -> None:
    lines = text.wrap(written, SIZE, limit, 5)
    assert len(lines) <= 5
    assert all(lines)


def test_with_opencv_4_pillow_draws_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "FontFace")
    monkeypatch.setattr(text, "installed_fonts", lambda: ())
    face = text.face_for("person")
    assert face
    assert face.draw("person", 20).getbbox()
    assert text.face_for("é") is None


def test_files_that_are_not_fonts_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"not a font")
    monkeypatch.setattr(text, "installed_fonts", lambda: (str(broken), str(tmp_path / "gone.ttf")))
    assert text.face_for("ชาย") is None


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_installed_fonts_exist(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert all(Path(path).is_file() for path in text.installed_fonts())


@pytest.mark.skipif(not DEJAVU.is_file(), reason="needs DejaVu Sans")
def test_installed_fonts_are_found() -> None:
    assert str(DEJAVU) in text.installed_fonts()
    assert isinstance(ImageFont.truetype(text.installed_fonts()[0]), ImageFont.FreeTypeFont)
