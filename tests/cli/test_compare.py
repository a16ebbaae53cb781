"""`dinox-mcp compare` as a person or a program runs it."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import run
from tests.compare.scenes import Pixels, picture, room

pytestmark = pytest.mark.slow


def with_code(text: str, corner: tuple[int, int]) -> Pixels:
    code = cv2.copyMakeBorder(cv2.QRCodeEncoder.create().encode(text), 3, 3, 3, 3, cv2.BORDER_CONSTANT, value=255)
    x, y = corner
    scene = room()
    scene[y : y + 100, x : x + 100] = cv2.resize(np.asarray(code), (100, 100), interpolation=cv2.INTER_NEAREST)[
        ..., None
    ]
    return scene


@pytest.fixture(autouse=True)
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save a scene, the same with a code in it, and another scene."""
    monkeypatch.chdir(tmp_path)
    for name, scene in (("empty", room()), ("full", with_code("parcel 7", (300, 200))), ("other", room(1))):
        Path(f"{name}.png").write_bytes(picture(scene).data)


def test_the_changes_are_a_table_and_an_image(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "compare", "empty.png", "full.png", "QR code", "--out", "side.png")
    assert status == 0
    assert "appeared  QR code" in out
    assert "parcel 7" in out
    assert "1 appeared" in out.splitlines()
    assert "side by side: side.png" in out
    with Image.open("side.png") as image:
        assert image.width > 2 * 480


def test_a_page_shows_the_changes_and_has_both_images(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "compare", "empty.png", "full.png", "QR code", "--html", "page.html")
    assert (status, err) == (0, "page: page.html\n")
    assert "appeared  QR code" in out
    found = re.search(r'id="dinox-data">(.*?)</script>', Path("page.html").read_text(encoding="utf-8"))
    assert found
    data = json.loads(found[1])
    assert [change["text_after"] for change in data["comparison"]["changes"]] == ["parcel 7"]
    assert [one["result"]["image"]["source"] for one in data["results"]] == ["empty.png", "full.png"]


def test_a_program_reads_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "compare", "full.png", "empty.png", "QR code", "--json")
    (line,) = out.splitlines()
    (change,) = json.loads(line)["changes"]
    assert (status, change["kind"], change["text_before"]) == (0, "disappeared", "parcel 7")


def test_no_change_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "compare", "full.png", "full.png", "QR code")
    assert out.startswith("no change\n")
    assert "unchanged: 1 QR code" in out


def test_different_scenes_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "compare", "empty.png", "other.png")
    assert (status, out) == (1, "")
    assert err.startswith("dinox-mcp: the two images cannot be registered")


def test_a_page_is_named_html(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "compare", "empty.png", "full.png", "--html", "page.jpg")
    assert (status, "--html 'page.jpg' is not a page; name it .html" in err) == (2, True), err


@pytest.mark.parametrize(
    ("out", "problem"),
    [
        ("empty.png", "is the image itself"),
        ("full.png", "is the image itself"),
        ("side.gif", "neither .jpg nor .png"),
        ("folder", "is not a file"),
    ],
)
def test_nothing_but_a_new_image_is_written(capsys: pytest.CaptureFixture[str], out: str, problem: str) -> None:
    before = Path("empty.png").read_bytes()
    status, _, err = run(capsys, "compare", "empty.png", "full.png", "--out", out)
    assert (status, problem in err) == (2, True), err
    assert Path("empty.png").read_bytes() == before
