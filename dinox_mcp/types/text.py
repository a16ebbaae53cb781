"""Text from outside: lists of labels in one string, and text made harmless before it leaves in a reply or an error."""

import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

_QUOTES = tuple((pair[0], pair[1]) for pair in ('""', "“”", "„“", "„”", "«»", "「」", "''", "‘’"))  # noqa: RUF001 - as typed
"""Quotation marks, an opening and a closing one each."""
# Quotes open only at the start of a label: 27" is a size. Each alternative reads a character a fixed number of times,
# whatever the text is: the possessive ++ and the look-behind before the dots keep a long run of dots linear.
_IN_QUOTES = " | ".join(f"{start}[^{start}{end}]*{end}" for start, end in _QUOTES)
_QUOTED = rf"""(?<![^\s,;、\uff0c\uff1b.]) (?: {_IN_QUOTES} ) (?!\w)"""
_COMMAS = r"[,;\n、\uff0c\uff1b]"
_DOTS = r"(?<!\.)\.++(?=\s|$) | (?<=[^\W\d_])\.(?=[^\W\d_])"
_AT_COMMAS = re.compile(f"{_QUOTED} | (?P<separator> {_COMMAS})", re.VERBOSE)
_AT_COMMAS_AND_DOTS = re.compile(f"{_QUOTED} | (?P<separator> {_COMMAS} | {_DOTS})", re.VERBOSE)
_PATH_END = r"[^\s'\"`,;:)\]]*"


def one_line(text: str) -> str:
    """Replace each run of whitespace by one space."""
    return " ".join(text.split())


def number_of(number: int, noun: str) -> str:
    """Write a number of things: "1 image", "2,000 images"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def split_at_commas(text: str) -> list[str]:
    """Split text at commas, semicolons and line ends, but not inside quotes; empty parts are left out."""
    return [piece for piece in _split(text, _AT_COMMAS) if piece]


def split_at_commas_and_dots(text: str) -> list[str]:
    """Split text at commas too and at the dots of the vendor's form ("person . car"), but not inside quotes."""
    return [piece for each in _split(text, _AT_COMMAS_AND_DOTS) if (piece := each.strip("."))]


def quoted_text(prompt: str) -> str:
    """Give the text of a prompt that is in quotes from its first to its last character; empty if it is not."""
    text = prompt.strip()
    in_quotes = any(text.startswith(start) and text.endswith(end) for start, end in _QUOTES)
    return one_line(text[1:-1]) if in_quotes else ""


def _split(text: str, pattern: re.Pattern[str]) -> Iterator[str]:
    start = 0
    for match in pattern.finditer(text):
        if match["separator"]:
            yield one_line(text[start : match.start()])
            start = match.end()
    yield one_line(text[start:])


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
