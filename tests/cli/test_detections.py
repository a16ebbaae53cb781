"""`dinox-mcp detect` as a person or a program runs it."""

import io
import json
import os
import re
import sys
from pathlib import Path

import pytest
from PIL import Image

from dinox_mcp.cli.main import main
from tests.cli.conftest import run


def test_the_annotated_picture_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "detect", "one.png", "QR code", "--out", "new/annotated.png")
    assert status == 0
    assert "annotated: new/annotated.png" in out
    with Image.open("new/annotated.png") as image:
        assert image.size == (200, 200)


def test_several_annotated_pictures_go_into_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "detect", "one.png", "two.png", "QR code", "--out", "drawn")
    assert sorted(path.name for path in Path("drawn").iterdir()) == ["one-annotated.jpg", "two-annotated.jpg"]


def test_one_bad_picture_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "detect", "--json", "broken.png", "one.png", "QR code")
    bad, good = (json.loads(line) for line in out.splitlines())
    assert status == 1
    assert "broken.png is not a" in bad["error"]
    assert bad["code"] == "image_unreadable"
    assert bad["remedy"] in bad["error"]
    assert good["counts"] == {"QR code": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text there")
def test_a_file_name_that_is_not_utf_8_works(capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    Path("one.png").rename(name)
    for more in ([], ["--json"], ["--out", "drawn/", "--html", "page.html"]):
        status, out, err = run(capsys, "detect", name, "QR code", *more)
        assert (status, "parcel one" in out) == (0, True), err
    assert [path.name for path in Path("drawn").iterdir()] == ["caf-annotated.jpg"]


def test_a_page_replaces_a_link_and_not_what_it_points_to(capsys: pytest.CaptureFixture[str]) -> None:
    Path("precious.txt").write_text("mine")
    Path("page.html").symlink_to("precious.txt")
    status, _, _ = run(capsys, "detect", "one.png", "QR code", "--html", "page.html")
    assert status == 0
    assert Path("precious.txt").read_text() == "mine"
    assert not Path("page.html").is_symlink()
    assert Path("page.html").read_text(encoding="utf-8").startswith("<!")


def test_pictures_are_saved_in_the_folder_of_the_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGE_STORAGE_DIRECTORY", "saved")
    for picture in ("one.png", "one.png", "two.png"):
        status, out, _ = run(capsys, "detect", picture, "QR code")
        assert status == 0
        assert Path(re.search(r"annotated: (.+)", out)[1]).is_file()
    assert len(list(Path("saved").iterdir())) == 2, "the same drawing has the same name"


def test_serving_over_http_keeps_no_file_from_the_command_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DINOX_MCP_TRANSPORT", "http")
    assert run(capsys, "detect", "one.png", "QR code")[0] == 0


def test_the_progress_bar_and_the_results_share_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    main(["detect", "one.png", "blank.png", "QR code"])
    shown = [line.rpartition("\r")[2] for line in terminal.getvalue().split("\n")]
    assert "image/s" in terminal.getvalue()
    assert shown[0] == "one.png"
    assert "blank.png: nothing found" in shown


def test_text_is_read_on_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "detect", "one.png", "QR code", "--include", "text")
    assert status == 0
    assert "parcel one" in out


def test_more_like_a_part_of_the_picture_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    scene = Image.new("RGB", (400, 200), "white")
    with Image.open("one.png") as code:
        scene.paste(code.resize((80, 80)), (20, 60))
        scene.paste(code.resize((80, 80)), (250, 40))
    scene.save("scene.png")
    status, out, _ = run(capsys, "detect", "scene.png", "--like", "sticker=20,60,100,140", "--json")
    found = json.loads(out)["objects"]
    assert status == 0
    assert [thing["label"] for thing in found] == ["sticker", "sticker"]
    assert sorted(round(thing["bbox"][0], -1) for thing in found) == [20, 250]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--like", "1,2,3"], "'1,2,3' is not an example; write X1,Y1,X2,Y2"),
        (["--like", "a,b"], "is not an example"),
        (["--like", "1,1,9,9", "--describe", "the left one"], "--like and --describe are separate requests"),
        (["dog", "--describe", "the left one"], "the prompts 'dog' and --describe are separate"),
        (["--include", "mask"], "'mask' is not an output; choose from masks, pose, hands"),
        (["--tiles", "0"], "'0' is not a whole number from 1 to 8"),
    ],
)
def test_a_question_that_is_none_is_one_line(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    status, _, err = run(capsys, "detect", "one.png", *options)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


def test_a_page_of_a_pdf_is_detected_in(capsys: pytest.CaptureFixture[str]) -> None:
    pages = [Image.open(name).convert("RGB") for name in ("blank.png", "one.png")]
    pages[0].save("report.pdf", save_all=True, append_images=pages[1:], resolution=72)
    status, out, _ = run(capsys, "detect", "report.pdf#page=2&dpi=144", "QR code", "--json")
    result = json.loads(out)
    assert (status, result["counts"]) == (0, {"QR code": 1})
    assert result["image"]["pixels_per_point"] == 2
    assert result["notes"][0].startswith("page 2 of 2 of a PDF at 144 dpi")


def test_the_newest_image_of_a_folder_is_detected_in(capsys: pytest.CaptureFixture[str]) -> None:
    os.utime("two.png", (4e9, 4e9))
    status, out, _ = run(capsys, "detect", "latest:.", "QR code")
    assert status == 0
    assert "parcel two" in out
    assert "note: the newest image of the folder is" in out
