"""What all commands share: common flags, settings from flags, and output to a terminal, a pipe or a file."""

import argparse
import io
import os
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal, NoReturn

from dinox_mcp.errors import DinoxError

if TYPE_CHECKING:
    from tqdm import tqdm

    from dinox_mcp.backends.base import Progress
    from dinox_mcp.settings import Settings

Style = Literal["title", "accent", "good", "warning", "bad", "faint"]
_CODES: dict[Style, str] = {"title": "1", "accent": "36", "good": "32", "warning": "33", "bad": "1;31", "faint": "2"}
"""The parameters of SGR, the escape sequence of terminals for colors."""
# Controls (C0, C1), line and paragraph separators, marks that turn the reading direction, halves of letters.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_FIRST_LOG_S, _LOG_EVERY_S = 5.0, 60.0


def prepare() -> None:
    """Print "?" for letters that stdout's encoding lacks, and ignore what is written to a closed stderr."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - open until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def printable(line: str) -> str:
    """Replace by "?" what a terminal would obey instead of showing: text that was read in an image may be hostile."""
    return _OBEYED.sub("?", line)


def name_commands(message: str) -> str:
    """Name the command that lists what a message of the detector says to be listed in a resource of the server."""
    return message.replace("listed at dinox://backends", "listed by dinox-mcp doctor")


def paint(text: str, style: Style | None) -> str:
    """Make a text printable, and color it where stdout is a terminal.

    No color is used where NO_COLOR is set (https://no-color.org), the terminal is dumb, or Windows has its old console.
    """
    text = printable(text)
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if style and text and _has_colors() else text


def _has_colors() -> bool:
    if sys.stdout is None or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return False
    return os.environ.get("TERM") != "dumb" and (sys.platform != "win32" or "WT_SESSION" in os.environ)


def write(text: str) -> None:
    """Write results to stdout without delay.

    Raises:
        BrokenPipeError: The reader of the pipe has left.
        DinoxError: Stdout is closed, or its disk is full.
    """
    if sys.stdout is None:
        raise DinoxError("cannot write the results: stdout is closed; leave it open, or send it to /dev/null")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _mute()
        if isinstance(error, BrokenPipeError):
            raise
        raise DinoxError(f"cannot write the results to stdout ({error.strerror}); send them elsewhere") from None


def write_lines(lines: Iterable[str]) -> None:
    """Write lines to stdout; see `write`."""
    write("".join(f"{line}\n" for line in lines))


def _mute() -> None:
    """Discard what is still buffered, so that Python does not report it as an error when it exits."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def table(rows: Sequence[Sequence[str]], alignment: str, styles: Sequence[Style | None] = ()) -> list[str]:
    """Align the columns of a table; wide (East Asian) characters count as two.

    Args:
        rows: The first row holds the headings. A last column without cells below its heading is left out.
        alignment: A letter for each column: ">" right, "<" left.
        styles: A color for each column; none by default.
    """
    columns = len(rows[0]) - (not any(row[-1] for row in rows[1:]))
    rows = [[printable(cell) for cell in row[:columns]] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    head, *body = [[_pad(*cell) for cell in zip(row, widths, alignment, strict=False)] for row in rows]
    colors = [*styles, *[None] * (len(widths) - len(styles))]
    lines = [[paint(cell, color) for cell, color in zip(row, colors, strict=False)] for row in body]
    rule = ["-" * width for width in widths]
    return [paint(_line(head), "faint"), paint(_line(rule), "faint"), *map(_line, lines)]


def facts(lines: Iterable[str]) -> list[str]:
    """Paint what is below a table; empty lines are left out."""
    return [paint(line, "warning" if line.startswith("note: ") else "faint") for line in lines if line]


def _line(cells: Sequence[str]) -> str:
    return "  ".join(cells).rstrip()


def _pad(cell: str, width: int, alignment: str) -> str:
    space = " " * (width - _width(cell))
    return space + cell if alignment == ">" else cell + space


def _width(cell: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in cell)


COMMON = ("backend", "log_level")
"""Flags that serving and detecting have in common."""
SERVING = ("transport", "host", "port", "no_auth", "warm_up")
"""Flags that only serving has."""


def add_common_flags(command: argparse.ArgumentParser, default: str | None) -> None:
    """Add --backend and --log-level; `default` is their value where they are not given."""
    command.add_argument(
        "--backend", default=default, help="auto (default), dinox, local, embedded, or a plug-in's name"
    )
    command.add_argument(
        "--log-level",
        type=str.lower,
        choices=("debug", "info", "warning", "error"),
        default=default,
        help="log to stderr (warning)",
    )


def number(kind: type[int] | type[float], least: int, most: int) -> Callable[[str], float]:
    """Make an argument type that accepts numbers from `least` to `most`."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(least - 1)
        if not least <= value <= most:  # not a number (NaN) fails this, too
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r:.80} is not {what} from {least} to {most}")
        return value

    return read


def flags(options: argparse.Namespace, *names: str) -> dict[str, object]:
    """Return the named flags with their values, None where a flag was not given."""
    return {name: getattr(options, name) for name in names}


def begin(options: argparse.Namespace) -> "Settings":
    """Read the settings of a command that detects, before anything is detected or paid.

    Raises:
        DinoxError: A setting is wrong, or stdout cannot be written.
    """
    write("")
    return load_settings(transport="stdio", **flags(options, *COMMON))  # a person at a terminal may read files


def load_settings(**given: object) -> "Settings":
    """Read the settings, with `given` flags before environment variables; warn of misspelled variables on stderr."""
    from dinox_mcp.settings import Settings, unknown_variables

    for warning in unknown_variables():
        report(warning, 0)
    return Settings.load(**given)


def report(problem: DinoxError | str, status: int) -> int:
    """Write a problem to stderr in one line; return the exit status."""
    sys.stderr.write(f"dinox-mcp: {printable(name_commands(str(problem)))}\n")
    return status


def note(line: str) -> None:
    """Write a line to stderr, above the progress bar where there is one."""
    from tqdm import tqdm

    with tqdm.external_write_mode():
        sys.stderr.write(printable(line) + "\n")


@contextmanager
def progress_bar(*, logged: bool = False) -> "Iterator[Progress]":
    """Show progress on stderr: the first message, which is the cost, stays; a terminal shows later ones in a bar.

    With `logged`, where stderr is not a terminal, it gets a line soon after the start and then one each minute.
    """
    from tqdm import tqdm

    shape = "{percentage:3.0f}% {bar:30} {desc}"
    with tqdm(total=1.0, bar_format=shape, leave=False, disable=not sys.stderr.isatty()) as bar:
        yield _Bar(bar, logged=logged).report


class _Bar:
    """Prints the first message, which is the cost, and shows later ones in a bar with the time left."""

    def __init__(self, bar: "tqdm[NoReturn]", *, logged: bool) -> None:
        self._bar = bar
        self._printed = False
        self._first = 0.0
        self._began = time.monotonic()
        self._next_log = self._began + _FIRST_LOG_S if logged else float("inf")

    async def report(self, share: float, message: str) -> None:
        """Take a message, and the share that is done."""
        if not self._printed:
            self._printed = True
            note(message)
            self._first = self._bar.n = self._bar.initial = share
            return
        now = time.monotonic()
        text = message
        if share > self._first:
            left = (now - self._began) / (share - self._first) * (1 - share)
            text = f"{message}, {self._bar.format_interval(left)} left"
        if not self._bar.disable:
            self._bar.n = share
            self._bar.set_description_str(printable(text))
        elif now >= self._next_log and self._first < share < 1:
            self._next_log = now + _LOG_EVERY_S
            note(text)
