import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from PIL import Image

from dinox_mcp.cli.arguments import address_of, output_paths, pointer_of, split_words
from dinox_mcp.cli.main import main, parser
from dinox_mcp.detect.visual_prompts import Pointer
from dinox_mcp.errors import SettingsError
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


def save_code(text: str, name: str) -> None:
    code = cv2.copyMakeBorder(cv2.QRCodeEncoder.create().encode(text), 4, 4, 4, 4, 0, value=255)
    Image.fromarray(code).resize((200, 200), Image.Resampling.NEAREST).save(name)


@pytest.fixture(autouse=True)
def qr_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with two pictures of a QR code, one blank picture and one file that is no picture."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("DINOX_MCP_BACKEND", "embedded")
    for name in ("one", "two"):
        save_code(f"parcel {name}", f"{name}.png")
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
    with Image.open("new/annotated.png") as image:
        assert image.size == (200, 200)


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
    assert err.startswith("missing.png: there is no file ")
    assert "chat" not in err, "that is for a model"
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["detect", "person"], "'person' is a picture"),
        (["detect", "one.png", "two.png", "--out", "one.jpg"], "one file for 2 pictures"),
        (["detect", "one.png", "--backend", "imaginary"], "no backend 'imaginary'"),
        (["detect", "one.png", "--out", "one.png"], "--out one.png is the picture itself"),
        (["detect", "one.png", "--out", "../{folder}/one.png"], "is the picture itself"),
        (["detect", "file://{path}/one.png", "--out", "one.png"], "is the picture itself"),
        (["detect", "one.png", "--out", "drawn.gif"], "drawn.gif is neither .jpg nor .png"),
        (["detect", "one.png", "--out", "drawn.webp"], "drawn.webp is neither .jpg nor .png"),
        (["detect", "one.png", "--out", ""], "--out is empty"),
        (["detect", "one.png", "--out", "file"], "--out file is a file"),
        (["detect", "one.png", "two.png", "--out", "file"], "--out file is a file"),
        (["detect", "one.png", ""], "a word is empty"),
        (["detect", "one.png", "x" * 301], "more than 300"),
        (["detect", "one.png", "."], "prompts is empty"),
        (["detect", "one.png", "--min-score", "7"], "--min-score: '7' is not a number from 0 to 1"),
        (["detect", "one.png", "--iou-threshold", "nan"], "--iou-threshold: 'nan' is not a number"),
        (["detect", "one.png", "--max-objects", "99999999999"], "--max-objects: '99999999999' .* from 1 to 1000"),
        (["detect", "one.png", "--max-objects", "2.5"], "--max-objects: '2.5' is not a whole number"),
        (["detect"], "required: PICTURE_OR_PROMPT"),
        (["detect", "one.png", "--no\x1b[31msuch"], r"unrecognized arguments: --no\?\[31msuch"),
        (["--transport", "http", "detect", "one.png"], "--transport is no option of detect"),
        (["--backend", "local", "pull", "fast"], "--backend is no option of pull"),
        (["--backend", "imaginary", "detect", "one.png"], "no backend 'imaginary'"),
        (["serve", "--port", "many"], "--port: 'many' is not a whole number from 0 to 65535"),
        (["serve", "--port", "65536"], "--port: '65536'"),
        (["serve", "--transport", "http", "--host", "0.0.0.0"], "DINOX_MCP_TOKEN"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    Path("file").touch()
    places = {"{folder}": tmp_path.name, "{path}": str(tmp_path)}
    for mark, place in places.items():
        arguments = [argument.replace(mark, place) for argument in arguments]
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
        (["~nobody/x", "x" * 5000], [], ["~nobody/x", "x" * 5000]),
        (["photo[1].jpg", "photo[2].jpg"], ["photo[1].jpg", "photo[2].jpg"], []),
        (["photo", "person"], [], ["photo", "person"]),
        (["./photo", "./person"], ["./photo"], ["./person"]),
        (["shelf [2024]/*.png", "box"], ["shelf [2024]/a.png", "shelf [2024]/b.png"], ["box"]),
        (["shelf*/[ab].png"], ["shelf [2024]/a.png", "shelf [2024]/b.png"], []),
        (["C:\\Users\\me\\photo", "d:/me/cat.jpg", "dog"], ["C:\\Users\\me\\photo", "d:/me/cat.jpg"], ["dog"]),
        (["\\\\wsl.localhost\\Ubuntu\\me\\cat"], ["\\\\wsl.localhost\\Ubuntu\\me\\cat"], []),
    ],
)
def test_words_are_pictures_or_prompts(words: list[str], pictures: list[str], prompts: list[str]) -> None:
    for name in ("photo[1].jpg", "photo1.jpg", "photo"):
        Path(name).touch()
    Path("shelf [2024]").mkdir()
    for name in "ab":
        Path(f"shelf [2024]/{name}.png").touch()
    assert split_words(words) == (pictures, prompts)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--transport", "http", "--port", "0", "serve"], {"transport": "http", "port": 0, "no_auth": None}),
        (["--port", "1", "serve", "--port", "2", "--no-auth"], {"port": 2, "no_auth": True}),
        (["--host", "::1"], {"host": "::1", "transport": None, "backend": None}),
        (["--log-level", "info", "detect", "a.png"], {"log_level": "info", "backend": None}),
        (["detect", "a.png", "--backend", "dinox"], {"backend": "dinox", "log_level": None}),
    ],
)
def test_options_count_before_and_after_the_command(arguments: list[str], expected: dict[str, object]) -> None:
    options = vars(parser().parse_args(arguments))
    assert {name: options[name] for name in expected} == expected


def test_origins_without_hosts_would_let_nobody_in(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DINOX_MCP_ALLOWED_ORIGINS", "https://example.com")
    status, _, err = run(capsys, "serve", "--transport", "http", "--host", "0.0.0.0", "--no-auth")
    assert status == 2
    assert "DINOX_MCP_ALLOWED_HOSTS" in err


@pytest.mark.parametrize(
    ("pictures", "names"),
    [
        (["a/photo.jpg", "b/photo.jpg"], ["photo-annotated.jpg", "photo-2-annotated.jpg"]),
        (["a/photo.jpg", "b/PHOTO.jpg"], ["photo-annotated.jpg", "PHOTO-2-annotated.jpg"]),
        (["b-2.jpg", "b.jpg", "d/b.jpg"], ["b-2-annotated.jpg", "b-annotated.jpg", "b-3-annotated.jpg"]),
        (["a.jpg", "out/a-annotated.jpg"], ["a-2-annotated.jpg", "a-annotated-annotated.jpg"]),
    ],
)
def test_annotated_pictures_overwrite_neither_each_other_nor_a_source(pictures: list[str], names: list[str]) -> None:
    Path("out").mkdir()
    Path("out/a-annotated.jpg").touch()
    assert output_paths("out", pictures) == [Path("out", name) for name in names]


def test_a_path_of_windows_is_left_as_it_is() -> None:
    assert address_of("C:\\Users\\me\\cat.jpg") == "C:\\Users\\me\\cat.jpg"
    assert address_of("one.png") == str(Path("one.png").resolve())


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


@pytest.mark.parametrize(
    ("arguments", "transport"),
    [
        (["--http"], "http"),
        (["--http", "--port=8080"], "http"),
        (["serve", "--http"], "http"),
        (["--stdio"], "stdio"),
        (["--transport", "HTTP"], "http"),
    ],
)
def test_the_transport_may_be_named_as_for_the_vendors_server(arguments: list[str], transport: str) -> None:
    assert parser().parse_args(arguments).transport == transport


@pytest.mark.parametrize("arguments", [["--http"], ["serve"]])
@pytest.mark.parametrize(
    ("flag", "remedy"),
    [
        ("--dinox-api-key=sesame", "set DINOX_API_KEY instead"),
        ("--enable-client-key", "X-DINOX-API-Key"),
        ("--enable-client-key=true", "leave it out"),
    ],
)
def test_flags_of_the_vendors_server_are_refused_by_name(
    capsys: pytest.CaptureFixture[str], arguments: list[str], flag: str, remedy: str
) -> None:
    status, _, err = run(capsys, *arguments, flag)
    assert status == 2
    assert err.startswith(f"dinox-mcp: {flag.partition('=')[0]}: ")
    assert remedy in err
    assert "sesame" not in err
    assert err.count("\n") == 1


def test_a_link_to_a_source_is_not_overwritten() -> None:
    Path("link.png").symlink_to("one.png")
    with pytest.raises(SettingsError, match="the picture itself"):
        output_paths("link.png", ["one.png"])


def test_a_folder_with_a_dot_ends_with_a_slash() -> None:
    assert output_paths("run.2/", ["a.png"]) == [Path("run.2/a-annotated.jpg")]


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


def test_a_terminal_obeys_nothing_that_a_picture_holds(capsys: pytest.CaptureFixture[str]) -> None:
    save_code("red \x1b[31m \x9b1m \u202e turned", "evil.png")
    _, out, err = run(capsys, "detect", "evil.png", "no\x1bsuch.png", "QR code")
    assert "red <ESC>[31m" in out
    assert "no?such.png: " in err
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out + err)


def test_json_holds_what_a_picture_holds_in_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    save_code("red \x1b[31m \u202e turned", "evil.png")
    _, out, _ = run(capsys, "detect", "--json", "evil.png", "QR code")
    assert json.loads(out)["objects"][0]["text"] == "red <ESC>[31m \u202e turned"
    assert out.isascii()
    assert "\x1b" not in out


def test_the_progress_bar_and_the_results_share_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    main(["detect", "one.png", "blank.png", "QR code"])
    shown = [line.rpartition("\r")[2] for line in terminal.getvalue().split("\n")]
    assert "picture/s" in terminal.getvalue()
    assert shown[0] == "one.png"
    assert "blank.png: nothing found" in shown


SHELL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a Linux shell makes these streams")  # noqa: PTH110


@SHELL
@pytest.mark.parametrize(
    ("redirected", "status", "message"),
    [
        (">/dev/full", 1, "dinox-mcp: cannot write the results to stdout (No space left on device)"),
        (">&-", 1, "dinox-mcp: cannot write the results: stdout is closed"),
        ("2>&- >out", 1, ""),
        (">out", 1, "missing.png: "),
        ("| true", 141, ""),
    ],
)
def test_streams_that_fail_are_told_in_one_line(redirected: str, status: int, message: str) -> None:
    save_code("出口", "chinese.png")
    command = f"{sys.executable} -m dinox_mcp detect chinese.png missing.png 'QR code'"
    ended = subprocess.run(  # noqa: S603
        ["/bin/bash", "-c", f"set -o pipefail; {command} {redirected}"],
        env=os.environ | {"PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert ended.returncode == status
    assert ended.stderr.startswith(message)
    assert ended.stderr.count("\n") == bool(message)


def test_help_shows_how_to_use_it(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert "DINOX_API_KEY" in out
    assert "dinox-mcp detect photo.jpg" in out


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
        (["--like", "1,2,3"], "'1,2,3' is no example; write X1,Y1,X2,Y2"),
        (["--like", "a,b"], "is no example"),
        (["--like", "1,1,9,9", "--describe", "the left one"], "--like and --describe are different questions"),
        (["dog", "--describe", "the left one"], "the words 'dog' and --describe are different"),
        (["--include", "mask"], "'mask' is no output; choose from masks, pose, hands"),
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


@pytest.mark.parametrize(
    ("word", "pointer"),
    [
        ("1,2,3,4", Pointer(bbox=(1, 2, 3, 4))),
        ("bolt=1.5,2", Pointer(point=(1.5, 2), label="bolt")),
        ("1,2,3,4@https://x.org/a.png", Pointer(bbox=(1, 2, 3, 4), image="https://x.org/a.png")),
        ("my-bolt", Pointer(saved="my-bolt")),
        ("bolt=my-bolt", Pointer(saved="my-bolt", label="bolt")),
    ],
)
def test_examples_are_written_short(word: str, pointer: Pointer) -> None:
    assert pointer_of(word) == pointer
