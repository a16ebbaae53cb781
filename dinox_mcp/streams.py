"""What goes to a terminal, a pipe or a file: harmless, and one line instead of a traceback where it cannot go."""

import io
import os
import re
import sys
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
