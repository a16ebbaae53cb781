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
        ("gate 12 is closed", {"size": 14}, 0),
        ("EXIT", {"size": 60, "ink": 250, "paper": 60}, 4),
        ("Order No. 4711-B", {"size": 24, "ink": 120}, -25),
        ("THIS SIDE UP", {"size": 24}, 90),
        ("UPSIDE DOWN", {"size": 24}, 180),
        ("7", {"size": 60}, 0),
    ],
)
def test_a_line_of_text(backend: Backend, words: str, look: dict[str, int], turned: float) -> None:
    scene = wall(260, 220)
    paper = hang(scene, sign(words, **look), (130, 110), turned)
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


def test_a_word_in_other_letters_of_which_nothing_is_read_is_reported(backend: Backend) -> None:
    scene = np.dstack([wall(500, 220, 235)] * 3)
    cv2.putText(scene, "ВХОД", (60, 150), (20, 20, 20), cv2.FontFace("sans"), 120)  # which has Cyrillic
    found = find(backend, Image.fromarray(scene), "text")
    assert not found.objects
    assert "letters that cannot be read here" in " ".join(found.notes)


def test_the_box_of_letters_that_fill_a_picture_is_their_ink(backend: Backend) -> None:
    paper = np.ascontiguousarray(np.rot90(sign("EXIT", 120, ink=0, paper=255)))
    ink = np.argwhere(paper < 128)
    (line,) = find(backend, paper, "text").objects
    assert line.text == "EXIT"
    top, left, bottom, right = *ink.min(axis=0).tolist(), *(ink.max(axis=0) + 1).tolist()
    assert boxes.iou(line.bbox, (left, top, right, bottom)) > 0.9


def test_lines_past_the_limit_are_counted(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_LINES", 1)
    scene = wall(220, 160)
    hang(scene, sign("first", 24), (100, 40))
    hang(scene, sign("second", 24), (100, 110))
    found = find(backend, scene, "text")
    assert read(found) == [("text", "first")]
    assert found.notes == ("1 more lines of text were not read; zoom in for them",)


def test_letters_seen_into_a_code_are_not_text(backend: Backend) -> None:
    scene = wall(360, 420)
    hang(scene, qr_code("A QR code with much in it. " * 8, 5), (180, 180))
    hang(scene, sign("below", 24), (180, 390))
    (_, content), line = read(find(backend, scene, "QR code", "text"))
    assert str(content).startswith("A QR code")
    assert line == ("text", "below")


def test_boxes_stay_in_the_picture(backend: Backend) -> None:
    found = find(backend, np.ascontiguousarray(sign("EDGE TO EDGE", 30)[14:-14, 14:-14]), "text")
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
