import io
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dinox_mcp.cli import terminal
from dinox_mcp.errors import DinoxError

FULL = Path("/dev/full")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("EXIT 出口 é 👩‍🚒 می‌خواهم", "EXIT 出口 é 👩‍🚒 می‌خواهم"),
        ("\x1b[31mred", "?[31mred"),
        ("\x9b31mred", "?31mred"),
        ("a\nb\tc\x7f", "a?b?c?"),
        ("a\u2028b\u2029c", "a?b?c"),
        ("\u202eturned\u2066\u200f\u061c", "?turned???"),
        ("not UTF-8: \udcff", "not UTF-8: ?"),
    ],
)
def test_what_a_terminal_obeys_is_a_question_mark(line: str, shown: str) -> None:
    assert terminal.printable(line) == shown


def test_letters_that_stdout_lacks_are_question_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="latin-1"))
    terminal.prepare()
    terminal.write("é 出口")
    assert written.getvalue() == b"\xe9 ??"


def test_a_closed_stdout_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(DinoxError, match="stdout is closed"):
        terminal.write("result")


def test_a_closed_stderr_swallows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    terminal.prepare()
    with sys.stderr as stderr:
        assert stderr.write("lost") == 4


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a disk that is always full")
def test_a_full_disk_is_one_line_and_nothing_is_left_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    with FULL.open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(DinoxError, match="No space left"):
            terminal.write("result")


def test_a_reader_that_left_is_told_and_nothing_is_left_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(BrokenPipeError):
            terminal.write("result")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "variables", "colored"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colors_are_for_terminals(
    stream: io.StringIO, variables: dict[str, str], colored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys, "stdout", stream)
    assert terminal.paint("text", "good") == ("\x1b[32mtext\x1b[0m" if colored else "text")
    assert terminal.paint("text", None) == "text"


def test_the_columns_of_a_table_are_aligned_also_where_they_are_colored(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [["#", "label"], ["1", "出口"], ["12", "cat"]]
    plain = terminal.table(rows, "><")
    assert plain == [" #  label", "--  -----", " 1  出口", "12  cat"]
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys, "stdout", Terminal())
    colored = terminal.table(rows, "><", ["faint", "accent"])
    assert [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in colored] == plain
    assert colored[2].startswith("\x1b[2m 1\x1b[0m")


@pytest.mark.anyio
async def test_a_log_gets_the_cost_and_then_the_pace_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: now))
    with terminal.progress_bar(logged=True) as report:
        await report(0.5, "64 of 128 images to detect in: free")
        for done in range(65, 129):
            now += 2
            await report(done / 128, f"{done} of 128 images")
    assert capsys.readouterr().err.splitlines() == [
        "64 of 128 images to detect in: free",
        "67 of 128 images, 02:02 left",
        "97 of 128 images, 01:02 left",
        "127 of 128 images, 00:02 left",
    ]
