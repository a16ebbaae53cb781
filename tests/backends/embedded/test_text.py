"""Lines of text: found at any angle, read, and in reading order; and words in them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dinox_mcp.backends.base import Backend
from dinox_mcp.backends.embedded import text, text_lines
from dinox_mcp.backends.embedded.prompts import Kind
from dinox_mcp.backends.embedded.readings import Reading
from dinox_mcp.backends.embedded.text import TextReader, find_words
from dinox_mcp.errors import BackendError
from dinox_mcp.types import boxes
from tests.backends.embedded.walls import find, hang, qr_code, read, sign, wall

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("words", "look", "turned"),
    [
        ("LOADING BAY 3", {"size": 40}, 0),
        ("gate 12 is closed", {"size": 14}, 0),
        ("EXIT", {"size": 60, "ink": 250, "paper": 60}, 4),
        ("Order No. 4711-B", {"size": 30, "ink": 120}, -25),
        ("THIS SIDE UP", {"size": 36}, 90),
        ("UPSIDE DOWN", {"size": 36}, 180),
        ("7", {"size": 60}, 0),
    ],
)
def test_a_line_of_text(backend: Backend, words: str, look: dict[str, int], turned: float) -> None:
    scene = wall()
    paper = hang(scene, sign(words, **look), (500, 350), turned)
    (line,) = find(backend, scene, "text").objects
    assert (line.label, line.text) == ("text", words)
    assert line.score is not None
    assert line.score > 0.8
    assert boxes.intersection(line.bbox, paper) > 0.8 * boxes.area(line.bbox)


@pytest.mark.parametrize(
    ("words", "other"),
    [
        ("", True),
        ("Aπκη", True),
        ("E三OΔOΣ", True),
        ("Lagerhalle Süd", False),
        ("第3倉庫のネジ", False),
        ("ø 5 μm, 2 kΩ", False),
        ("A区 12", False),
    ],
)
def test_a_line_in_other_letters_is_known_by_what_is_read_into_it(words: str, *, other: bool) -> None:
    strip = np.zeros((40, 400, 3), np.uint8)
    assert text._has_unknown_letters(strip, text._Transcript(words, 0.9)) is other


@pytest.mark.parametrize("words", ["ВХОД", "вход"])
def test_a_word_in_other_letters_of_which_nothing_is_read_is_reported(backend: Backend, words: str) -> None:
    scene = np.dstack([wall(shade=235)] * 3)
    cv2.putText(scene, words, (250, 400), (20, 20, 20), cv2.FontFace("sans"), 120)  # which has Cyrillic
    found = find(backend, Image.fromarray(scene), "text")
    assert not found.objects
    assert "letters that cannot be read here" in " ".join(found.notes)


@pytest.mark.parametrize("turned", [0, 90])
def test_the_box_of_letters_that_fill_a_picture_is_their_ink(backend: Backend, turned: int) -> None:
    paper = sign("EXIT", 300, ink=0, paper=255)
    ink = np.argwhere(np.rot90(paper, turned // 90) < 128)
    (line,) = find(backend, np.ascontiguousarray(np.rot90(paper, turned // 90)), "text").objects
    assert line.text == "EXIT"
    top, left, bottom, right = *ink.min(axis=0).tolist(), *(ink.max(axis=0) + 1).tolist()
    assert boxes.iou(line.bbox, (left, top, right, bottom)) > 0.9


def test_lines_come_in_reading_order_also_on_a_slanted_page(backend: Backend) -> None:
    scene = wall()
    for row in range(3):
        for column, word in enumerate(("left", "middle", "right")):
            at = 200 + 300 * column, 200 + 130 * row + 24 * column
            hang(scene, sign(f"{word} {row + 1}"), at, turned=4.6)
    assert [item.text for item in find(backend, scene, "text").objects] == [
        f"{word} {row}" for row in (1, 2, 3) for word in ("left", "middle", "right")
    ]


def test_a_long_page_stays_legible(backend: Backend) -> None:
    page = wall(500, 4000, 235)
    for row in range(5):
        hang(page, sign(f"chapter {row} begins here", 15), (150 + 40 * row, 300 + 850 * row))
    assert [item.text for item in find(backend, page, "text").objects] == [
        f"chapter {row} begins here" for row in range(5)
    ]


def test_lines_past_the_limit_are_counted(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_LINES", 1)
    scene = wall()
    hang(scene, sign("first"), (300, 200))
    hang(scene, sign("second"), (300, 400))
    found = find(backend, scene, "text")
    assert read(found) == [("text", "first")]
    assert found.notes == ("1 more lines of text were not read; zoom in for them",)


def test_letters_seen_into_a_code_are_not_text(backend: Backend) -> None:
    scene = wall()
    hang(scene, qr_code("A QR code with much in it. " * 8, 8), (500, 350))
    hang(scene, sign("below"), (500, 660))
    (_, content), line = read(find(backend, scene))
    assert str(content).startswith("A QR code")
    assert line == ("text", "below")


def test_boxes_stay_in_the_picture(backend: Backend) -> None:
    found = find(backend, np.ascontiguousarray(sign("EDGE TO EDGE", 60)[28:-28, 28:-28]), "text")
    (line,) = found.objects
    assert line.text == "EDGE TO EDGE"
    assert line.bbox[0] >= 0
    assert line.bbox[1] >= 0


@pytest.mark.parametrize(("line", "words"), [("请保存更改", "保存"), ("Save, changes", "save")])
def test_words_are_whole_where_their_script_has_spaces(line: str, words: str) -> None:
    line_read = Reading(Kind.TEXT, np.array([[0, 0], [100, 0], [100, 10], [0, 10]], np.float32), line)
    assert len(list(find_words(line_read, words))) == 1
    assert not list(find_words(line_read, "ave"))


def test_a_missing_model_is_named_and_never_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "_folder", lambda: tmp_path)
    with pytest.raises(BackendError, match=r"PP-OCRv6_det_small.onnx is missing; reinstall it: pip install"):
        TextReader()
    (tmp_path / text_lines.LINES).write_bytes(b"no model")
    with pytest.raises(BackendError, match=r"PP-OCRv6_det_small.onnx does not load .*; reinstall it"):
        TextReader()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(BackendError, match="the package rapidocr with the text models is missing"):
        TextReader()
