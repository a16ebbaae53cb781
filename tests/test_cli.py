import json
import re
from pathlib import Path

import cv2
import pytest
from PIL import Image

from dinox_mcp.cli import main
from dinox_mcp.terminal import output_paths, split_words
from tests.fakes import png


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command line with the backend that needs nothing; give status, stdout and stderr."""
    status = 0
    try:
        main(arguments)
    except SystemExit as stop:
        status = int(stop.code or 0)
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.fixture(autouse=True)
def qr_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with two pictures of a QR code, one blank picture and one file that is no picture."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("DINOX_MCP_BACKEND", "embedded")
    for name in ("one", "two"):
        code = cv2.copyMakeBorder(cv2.QRCodeEncoder.create().encode(f"parcel {name}"), 4, 4, 4, 4, 0, value=255)
        Image.fromarray(code).resize((200, 200), Image.Resampling.NEAREST).save(f"{name}.png")
    Path("blank.png").write_bytes(png())
    Path("broken.png").write_text("no picture")


def test_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "detect", "one.png", "QR code")
    assert status == 0
    assert "QR code" in out
    assert "parcel one" in out
    assert "200x200 pixels, backend embedded" in out


def test_json_lines_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "detect", "--json", "*e.png", "two.png", "QR code")
    first, second = (json.loads(line) for line in out.splitlines())
    assert (status, err) == (0, "")
    assert [first["objects"][0]["text"], second["objects"][0]["text"]] == ["parcel one", "parcel two"]


def test_the_annotated_picture_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "detect", "one.png", "QR code", "--out", "new/annotated.png")
    assert status == 0
    assert "annotated: new/annotated.png" in out
    assert Image.open("new/annotated.png").size == (200, 200)


def test_several_annotated_pictures_go_into_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "detect", "one.png", "two.png", "QR code", "--out", "drawn")
    assert sorted(path.name for path in Path("drawn").iterdir()) == ["one-annotated.jpg", "two-annotated.jpg"]


def test_nothing_found_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "detect", "blank.png", "QR code")
    assert status == 0
    assert "blank.png: nothing found" in out


def test_one_bad_picture_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "detect", "--json", "broken.png", "one.png", "QR code")
    bad, good = (json.loads(line) for line in out.splitlines())
    assert status == 1
    assert "not a picture" in bad["error"]
    assert good["counts"] == {"QR code": 1}


def test_an_error_for_people_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "detect", "missing.png", "QR code")
    assert (status, out) == (1, "")
    assert err.startswith("missing.png: ")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["detect", "person"], "'person' is a picture"),
        (["detect", "one.png", "two.png", "--out", "one.jpg"], "one file for 2 pictures"),
        (["detect", "one.png", "--backend", "imaginary"], "no backend 'imaginary'"),
        (["serve", "--port", "many"], "DINOX_MCP_PORT: .*'many'"),
        (["serve", "--transport", "http", "--host", "0.0.0.0"], "DINOX_MCP_TOKEN"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert re.search(message, err)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "pictures", "prompts"),
    [
        (["one.png", "person", "red car"], ["one.png"], ["person", "red car"]),
        (["*.png"], ["blank.png", "broken.png", "one.png", "two.png"], []),
        (["https://example.com/x?y=1", "dog"], ["https://example.com/x?y=1"], ["dog"]),
        (["missing.jpg", "dog"], ["missing.jpg"], ["dog"]),
        (["red/blue car"], [], ["red/blue car"]),
        (["what?"], [], ["what?"]),
    ],
)
def test_words_are_pictures_or_prompts(words: list[str], pictures: list[str], prompts: list[str]) -> None:
    assert split_words(words) == (pictures, prompts)


def test_pictures_of_one_name_do_not_overwrite_each_other() -> None:
    paths = output_paths("out", ["a/photo.jpg", "b/photo.jpg"])
    assert paths == [Path("out/photo-annotated.jpg"), Path("out/photo-2-annotated.jpg")]


def test_help_shows_how_to_use_it(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert "DINOX_API_KEY" in out
    assert "dinox-mcp detect photo.jpg" in out
