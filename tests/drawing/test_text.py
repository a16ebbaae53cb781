import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from PIL import Image, ImageChops, ImageFont, features

from dinox_mcp.drawing import fonts, text
from dinox_mcp.drawing import fonts as faces

DEJAVU = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
needs_dejavu = pytest.mark.skipif(
    not (DEJAVU.is_file() and features.check_feature("raqm")), reason="needs DejaVu Sans and Raqm"
)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What was drawn with other fonts is forgotten, before and after."""
    caches = (text.ink, fonts.installed_fonts)
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
    monkeypatch.setattr(faces, "installed_fonts", lambda: ())
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
    monkeypatch.setattr(faces, "installed_fonts", lambda: ())
    assert text.ink(label, 20) is None


@needs_dejavu
def test_arabic_is_shaped_and_runs_from_right_to_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "installed_fonts", lambda: (str(DEJAVU),))
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
    monkeypatch.setattr(faces, "installed_fonts", lambda: (str(DEJAVU),))
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


def test_a_question_mark_is_a_letter_like_any_other() -> None:
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


def test_with_opencv_4_pillow_draws_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "FontFace")
    monkeypatch.setattr(faces, "installed_fonts", lambda: ())
    assert amount(text.ink("person", 20)) > 0
    assert text.ink("é", 20) is None


def test_files_that_are_no_fonts_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"not a font")
    monkeypatch.setattr(faces, "installed_fonts", lambda: (str(broken), str(tmp_path / "gone.ttf")))
    assert text.ink("ชาย", 20) is None


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_installed_fonts_exist(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert all(Path(path).is_file() for path in fonts.installed_fonts())


@needs_dejavu
def test_installed_fonts_are_found() -> None:
    assert str(DEJAVU) in fonts.installed_fonts()
    assert isinstance(ImageFont.truetype(fonts.installed_fonts()[0]), ImageFont.FreeTypeFont)
