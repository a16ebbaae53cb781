"""`dinox-mcp batch` as a person or a program runs it, in a folder with two QR codes, a blank and a broken image."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dinox_mcp.batch.report import BatchResult
from dinox_mcp.cli import batch
from tests.cli.conftest import run, save_code


def rows(folder: str = "run") -> list[dict[str, Any]]:
    return [row for part in sorted(Path(folder).glob("parts/*")) for row in pq.read_table(part).to_pylist()]


def test_a_folder_becomes_parquet_and_one_line_of_summary(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "batch", ".", "QR code", "barcode", "--out", "run")
    lines = out.splitlines()
    assert status == 1, "one image is broken"
    assert re.fullmatch(
        r"4 of 4 images in \d+\.\d s, \S+ images/s, 1 without an answer: 2 QR code, 0 barcode", lines[0]
    )
    assert lines[1].startswith("backend embedded, model ")
    assert len(lines) == 2
    assert err.splitlines()[:3] == [
        "4 of 4 images to detect in: free, by embedded",
        f"rows: {Path.cwd()}/run/parts/*.parquet",
        f"1 image without an answer: {Path.cwd()}/run/errors.parquet (--retry tries again)",
    ]
    assert [one["text"] for row in rows() for one in row["objects"]] == ["parcel one", "parcel two"]


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "batch", "*.png", "QR code", "--out", "run", "--json")
    (line,) = out.splitlines()
    result = json.loads(line)
    assert (result["total"], result["failed"], result["counts"]) == (4, 1, {"QR code": 2})


def test_a_second_run_says_that_nothing_was_left(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "batch", "one.png", "QR code", "--out", "run")
    status, out, err = run(capsys, "batch", "one.png", "QR code", "--out", "run")
    assert (status, out.splitlines()[0]) == (0, "1 of 1 image: 1 QR code")
    assert "to detect in" not in err


def test_flags_reach_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--shard-size", "1", "--limit", "3", "--min-score", "0.9", "--max-objects", "5", "--include", "text")
    status, out, _ = run(capsys, "batch", ".", "QR code", "--out", "run", *arguments)
    assert (status, out.split(" in ")[0]) == (1, "3 of 3 images")
    assert len(list(Path("run/parts").iterdir())) == 3
    header = json.loads(Path("run/manifest.json").read_text())["header"]
    assert (header["request"]["min_score"], header["max_objects"], header["request"]["include"]) == (0.9, 5, ["text"])


def test_many_labels_are_shortened(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {f"kind {number}": 2000 - number for number in range(15)}

    async def finished(*_: object) -> BatchResult:
        return BatchResult(folder="/run", total=1, done=1, failed=0, found=1, counts=counts)

    monkeypatch.setattr(batch, "_batch", finished)
    status, out, _ = run(capsys, "batch", ".", "--out", "run")
    assert status == 0
    assert out.splitlines()[0].startswith("1 of 1 image: 2,000 kind 0, 1,999 kind 1, ")
    assert out.splitlines()[0].endswith(" kind 11, 3 other labels")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere/", "dog", "--out", "run"], 1, "nowhere'; check the spelling"),
        ([".", "dog"], 2, "the following arguments are required: --out"),
        (["one.png", "two.png", "dog", "--out", "run"], 2, "'two.png' is an image, not a prompt; name one source"),
        ([".", "dog", "--out", "run", "--engine", "steam"], 2, "invalid choice: 'steam'"),
        ([".", "dog", "--out", "run", "--like", "1,2,3@x.png"], 2, "is not an example"),
        ([".", "dog", "--out", "run", "--shard-size", "0"], 2, "is not a whole number from 1"),
        ([".", "dog", "--out", "one.png"], 2, "the run cannot be kept in"),
    ],
)
def test_a_mistake_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, message: str
) -> None:
    got, out, err = run(capsys, "batch", *arguments)
    assert (got, out) == (status, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_another_request_is_refused_with_the_difference(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "batch", "one.png", "QR code", "--out", "run")
    status, out, err = run(capsys, "batch", "one.png", "barcode", "--out", "run")
    assert (status, out) == (1, "")
    assert 'was begun with request {"prompts": ["QR code"]' in err
    assert "; choose another --out" in err


def test_a_second_ctrl_c_says_how_to_go_on(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async def cancelled(*_: object) -> None:
        return None

    monkeypatch.setattr(batch, "_batch", cancelled)
    status, out, err = run(capsys, "batch", ".", "QR code", "--out", "run")
    assert (status, out) == (130, "")
    assert "what is done is kept: the same command again continues" in err


def start(*flags: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "dinox_mcp", "batch", "codes", *flags]
    return subprocess.Popen(command, stdout=-1, stderr=-1, text=True)  # noqa: S603 - our own program


def interrupt(process: "subprocess.Popen[str]", journal: str) -> None:
    """Press Ctrl-C when an image is in the journal of the first shard."""
    path = Path(journal)
    while not path.exists() or b'"objects"' not in path.read_bytes():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)


@pytest.fixture
def codes() -> None:
    """Make a folder of forty codes."""
    Path("codes").mkdir()
    for number in range(40):
        save_code(f"parcel {number}", f"codes/{number:02}.png")


@pytest.mark.slow
@pytest.mark.usefixtures("codes")
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process there")
def test_ctrl_c_finishes_the_shard_in_hand() -> None:
    with start("QR code", "--out", "run", "--shard-size", "20") as process:
        interrupt(process, "run/journals/00000.jsonl")
        out, err = process.communicate()
    assert process.returncode == 130
    assert "stopping after the shard in hand; Ctrl-C again stops at once" in err
    assert out.startswith("20 of 40 images in ")
    assert err.splitlines()[-1] == "stopped, 20 images left (the same command again continues)"
    with start("QR code", "--out", "run") as process:
        process.communicate()
    assert process.returncode == 0
    assert len({row["source"] for row in rows()}) == len(rows()) == 40


@pytest.mark.slow
@pytest.mark.usefixtures("codes")
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process there")
def test_a_second_ctrl_c_stops_at_once() -> None:
    with start("text", "--out", "run", "--at-once", "1") as process:
        assert process.stderr is not None
        interrupt(process, "run/journals/00000.jsonl")
        while "stopping after the shard in hand" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "stopped; what is done is kept: the same command again continues"
    assert rows() == []
    assert b'{"rest":true}' in Path("run/journals/00000.jsonl").read_bytes()
