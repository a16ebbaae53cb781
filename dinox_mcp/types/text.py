"""Text that came from outside, made harmless where it leaves: in replies, errors and the log."""

import os
import re
import sys
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

_PATH_END = r"[^\s'\"`,;:)\]]*"


def printable(text: str) -> str:
    """Escape what breaks lines or drives a terminal (controls, U+2028) and what turns text around (bidi controls)."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text)


def clean_line(text: str) -> str:
    """Bring text to one harmless line."""
    return printable(" ".join(text.splitlines()))


def without_folders(text: str, folders: Iterable[Path | None] = ()) -> str:
    """Take the paths of this machine's own folders out of a text for a caller elsewhere."""
    return _own_folders(tuple(str(folder) for folder in folders if folder)).sub("a folder of the server", text)


@lru_cache(8)
def _own_folders(more: tuple[str, ...]) -> re.Pattern[str]:
    """Match paths in the folders of the user, the program and its temporary files, and in others that are named."""
    try:
        home = str(Path.home())
    except RuntimeError:  # it is unknown
        home = ""
    own = (home, os.path.realpath(home) if home else "", str(Path.cwd()), tempfile.gettempdir(), sys.prefix, *more)
    package = str(Path(__file__).resolve().parents[1])
    known = {folder.rstrip("/\\") for folder in (*own, package)}
    names = "|".join(re.escape(folder) for folder in sorted(known, key=len, reverse=True) if len(folder) > 1)
    return re.compile(f"(?:{names})(?=[/\\\\\\s'\"`,;:)\\]]|$){_PATH_END}")
