"""The commands, their help, and the exit status of errors."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dinox_mcp.cli import main
from dinox_mcp.cli.main import parser
from tests.cli.conftest import run, save_code


def test_serving_imports_no_other_command() -> None:
    code = "import sys; from dinox_mcp.cli.main import parser; parser().parse_args([]); print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)  # noqa: S603
    ours = {name for name in ended.stdout.split() if name.startswith("dinox_mcp")}
    assert ours == {
        "dinox_mcp", "dinox_mcp.errors", "dinox_mcp.cli", "dinox_mcp.cli.main", "dinox_mcp.cli.terminal",
        "dinox_mcp.cli.serve",
    }  # fmt: skip


def test_help_shows_how_to_use_it(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert "DINOX_API_KEY" in out
    assert "dinox-mcp detect photo.jpg" in out
    assert "works now: 80 kinds of everyday things" in out
    assert "one step to detect anything that you can name: set DINOX_MCP_BACKEND=auto" in out
    assert "Traceback" not in run(capsys, "detect", "--help")[1]


def test_help_is_shown_also_where_a_setting_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DINOX_MCP_PORT", "x")
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert "works now: nothing, as a setting is wrong: DINOX_MCP_PORT" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["detect", "person"], "'person' is an image"),
        (["detect", "one.png", "two.png", "--out", "one.jpg"], "one file for 2 images"),
        (["detect", "one.png", "--backend", "imaginary"], "no backend 'imaginary'"),
        (["detect", "one.png", "--out", "one.png"], "--out one.png is the image itself"),
        (["detect", "one.png", "--out", "../{folder}/one.png"], "is the image itself"),
        (["detect", "file://{path}/one.png", "--out", "one.png"], "is the image itself"),
        (["detect", "one.png", "--out", "drawn.gif"], "drawn.gif is neither .jpg nor .png"),
        (["detect", "one.png", "--out", "drawn.webp"], "drawn.webp is neither .jpg nor .png"),
        (["detect", "one.png", "--out", ""], "--out is empty"),
        (["detect", "one.png", "--out", "file"], "--out file is a file"),
        (["detect", "one.png", "two.png", "--out", "file"], "--out file is a file"),
        (["detect", "one.png", ""], "an argument is empty"),
        (["detect", "one.png", "x" * 301], "more than 300"),
        (["detect", "one.png", "."], "prompts is empty"),
        (["detect", "one.png", "--min-score", "7"], "--min-score: '7' is not a number from 0 to 1"),
        (["detect", "one.png", "--iou-threshold", "nan"], "--iou-threshold: 'nan' is not a number"),
        (["detect", "one.png", "--max-objects", "99999999999"], "--max-objects: '99999999999' .* from 1 to 1000"),
        (["detect", "one.png", "--max-objects", "2.5"], "--max-objects: '2.5' is not a whole number"),
        (["detect"], "required: IMAGE_OR_PROMPT"),
        (["detect", "one.png", "--no\x1b[31msuch"], r"unrecognized arguments: --no\?\[31msuch"),
        (["--transport", "http", "detect", "one.png"], "--transport is not an option of detect"),
        (["--backend", "local", "pull", "fast"], "--backend is not an option of pull"),
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


SHELL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a Linux shell makes these streams")  # noqa: PTH110


def test_ctrl_c_while_a_command_is_imported_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "import_module", interrupted)
    with pytest.raises(SystemExit) as ended:
        main.main(["batch", "photos", "--out", "run"])
    assert ended.value.code == 130


@pytest.mark.slow
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
