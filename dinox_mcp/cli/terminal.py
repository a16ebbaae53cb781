"""Output to a terminal, a pipe or a file: harmless text, colors, tables, and one error where it cannot be written."""

import io
import os
import re
import sys
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal, TextIO

from dinox_mcp.errors import DinoxError

Style = Literal["title", "accent", "good", "warning", "bad", "faint"]
_CODES: dict[Style, str] = {"title": "1", "accent": "36", "good": "32", "warning": "33", "bad": "1;31", "faint": "2"}
"""The parameters of SGR, the escape sequence of terminals for colors."""
# Controls (C0, C1), line and paragraph separators, marks that turn the reading direction, halves of letters.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def prepare() -> None:
    """Print "?" for letters that stdout's encoding lacks, and ignore what is written to a closed stderr."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - open until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def printable(line: str) -> str:
    """Replace by "?" what a terminal would obey instead of showing: text that was read in an image may be hostile."""
    return _OBEYED.sub("?", line)


def paint(text: str, style: Style | None, stream: TextIO | None = None) -> str:
    """Color a text where `stream` (stdout by default) is a terminal; `text` must be printable already.

    No color is used where NO_COLOR is set (https://no-color.org), the terminal is dumb, or Windows has its old console.
    """
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if style and text and _has_colors(stream or sys.stdout) else text


def _has_colors(stream: TextIO | None) -> bool:
    if stream is None or not stream.isatty() or os.environ.get("NO_COLOR"):
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


def _mute() -> None:
    """Discard what is still buffered, so that Python does not report it as an error when it exits."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def table(rows: Sequence[Sequence[str]], alignment: str, styles: Sequence[Style | None] = ()) -> list[str]:
    """Align the columns of printable cells; wide (East Asian) characters count as two.

    Args:
        rows: The first row holds the headings.
        alignment: A letter for each column: ">" right, "<" left.
        styles: A color for each column; none by default.
    """
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    head, *body = [[_pad(*cell) for cell in zip(row, widths, alignment, strict=False)] for row in rows]
    colors = [*styles, *[None] * (len(widths) - len(styles))]
    lines = [[paint(cell, color) for cell, color in zip(row, colors, strict=False)] for row in body]
    rule = ["-" * width for width in widths]
    return [paint(_line(head), "faint"), paint(_line(rule), "faint"), *map(_line, lines)]


def _line(cells: Sequence[str]) -> str:
    return "  ".join(cells).rstrip()


def _pad(cell: str, width: int, alignment: str) -> str:
    space = " " * (width - _width(cell))
    return space + cell if alignment == ">" else cell + space


def _width(cell: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in cell)
