"""`dinox-mcp search` as a person or a program runs it, in a folder with two QR codes, a blank and a broken image."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from dinox_mcp.cli import search
from tests.cli.conftest import run


@pytest.fixture(autouse=True)
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / ".jobs"
    monkeypatch.setenv("DINOX_MCP_JOBS_FOLDER", str(folder))
    return folder


def test_a_folder_is_searched_and_the_best_images_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "search", ".", "QR code", "barcode")
    lines = out.splitlines()
    assert status == 1, "one image is broken"
    assert lines[0] == "4 of 4 images searched for QR code, barcode"
    assert [line.split()[:2] for line in lines[3:5]] == [["1", "one.png"], ["2", "two.png"]]
    assert lines[3].endswith("1 QR code  parcel one")
    assert lines[5] == "2 QR code, 0 barcode in 2 images"
    assert "4 of 4 images to search: free, by embedded" in err
    assert re.search("broken.png.* is not a.*; pass a JPEG", err)
    assert "(blank.png)" in err


def test_json_has_a_line_for_each_image_with_objects_or_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "search", "*.png", "QR code", "--json")
    one, two, broken = (json.loads(line) for line in out.splitlines())
    assert [Path(found["image"]).name for found in (one, two, broken)] == ["one.png", "two.png", "broken.png"]
    assert one["objects"][0]["text"] == "parcel one"
    assert broken["code"] == "image_unreadable"


def test_further_images_may_follow_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "search", "one.png", "two.png", "blank.png", "QR code")
    assert (status, out.splitlines()[0]) == (0, "3 of 3 images searched for QR code")


def test_a_sheet_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "search", "[ot]*.png", "QR code", "--out", "new/sheet.jpg")
    assert status == 0
    assert err.splitlines()[-1] == "sheet: new/sheet.jpg"
    with Image.open("new/sheet.jpg") as image:
        assert image.width > 2 * 400


def test_where_nothing_is_found_there_is_no_sheet(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "search", "blank.png", "QR code", "--out", "sheet.jpg")
    assert status == 0
    assert out.splitlines()[1] == "0 QR code in 0 images"
    assert "sheet.jpg is not written, as nothing was found" in err
    assert not Path("sheet.jpg").exists()


def test_the_second_time_nothing_is_searched(capsys: pytest.CaptureFixture[str]) -> None:
    first = run(capsys, "search", "one.png", "QR code")
    second = run(capsys, "search", "one.png", "QR code")
    assert first[1] == second[1]
    assert "to search" in first[2]
    assert second[2] == ""


def test_ctrl_c_says_how_to_go_on(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(search, "_search", interrupted)
    status, out, err = run(capsys, "search", ".", "QR code")
    assert (status, out) == (130, "")
    assert "what is done is kept: the same command again continues" in err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere/", "dog"], 1, "nowhere'; check the spelling"),
        (["*.gif", "dog"], 1, "there is no image in "),
        ([".", "dog", "--out", "sheet.png"], 2, "--out 'sheet.png' is not a .jpg; name one"),
        ([".", "--like", "1,2,3@x.png"], 2, "is not an example"),
        ([".", "--top", "0"], 2, "is not a whole number from 1"),
    ],
)
def test_a_mistake_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, message: str
) -> None:
    got, out, err = run(capsys, "search", *arguments)
    assert (got, out) == (status, "")
    assert message in err
    assert len(err.splitlines()) == 1
