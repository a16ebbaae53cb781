"""What `dinox-mcp detect` prints."""

import json
import re

import pytest

from tests.cli.conftest import run, save_code


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


def test_nothing_found_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "detect", "blank.png", "QR code")
    assert status == 0
    assert "blank.png: nothing found" in out


def test_an_error_for_people_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "detect", "missing.png", "QR code")
    assert (status, out) == (1, "")
    assert err.startswith("missing.png: there is no file ")
    assert "chat" not in err, "that is for a model"
    assert err.count("\n") == 1


@pytest.mark.parametrize("more", [[], ["--json"]])
@pytest.mark.slow
def test_an_error_names_a_command_and_no_resource_of_the_server(
    capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    status, out, err = run(capsys, "detect", "blank.png", "unicorn", *more)
    assert status == 1
    assert "more kinds, listed by dinox-mcp doctor" in out + err
    assert "dinox://" not in out + err


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
