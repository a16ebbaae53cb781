"""What goes to a terminal, a pipe or a file: harmless text, tables, and one line where it cannot be written."""

import io
import os
import re
import sys
import unicodedata
from collections.abc import Sequence
from contextlib import suppress

from dinox_mcp.errors import DinoxError

# Controls (C0, C1), line and paragraph separators, marks that turn the reading direction, halves of letters.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def prepare() -> None:
    """Let letters that stdout's encoding lacks become "?", and a closed stderr swallow what it is given."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - open until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def printable(line: str) -> str:
    """Put "?" for what a terminal obeys instead of showing: a picture may hold text that was made to be obeyed."""
    return _OBEYED.sub("?", line)


def write(text: str) -> None:
    """Write results to stdout at once, so that they are seen when they are made.

    Raises:
        BrokenPipeError: nobody reads any more.
        DinoxError: stdout is closed, or its disk is full.
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
    """Send what is still buffered nowhere, lest Python complain of it when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def table(rows: Sequence[Sequence[str]], alignment: str) -> list[str]:
    """Align columns, the first row being the heads: ">" numbers to the right, "<" words to the left.

    Wide (East Asian) characters count as two.
    """
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(_pad(*cell) for cell in zip(row, widths, alignment, strict=False)).rstrip() for row in rows]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _pad(cell: str, width: int, alignment: str) -> str:
    space = " " * (width - _width(cell))
    return space + cell if alignment == ">" else cell + space


def _width(cell: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in cell)
