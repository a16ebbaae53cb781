"""Names of exported files: those of their images, without what a file system forbids or a reader could mistake."""

import re
from collections.abc import Iterable
from itertools import count
from pathlib import PurePath
from urllib.parse import unquote

_NOT_A_WORD = re.compile(r"\W+")
_WEB = re.compile(r"https?://", re.IGNORECASE)
_STEM_BYTES, _LABEL_BYTES = 120, 40  # bytes of the parts of a name; file systems take 255 in all
_NAMELESS = "image"
_RESERVED = frozenset(
    {"classes", "con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
)
"""What no image's files are named: the classes of YOLO, and what Windows takes for devices, whatever the ending."""


def is_address(source: str) -> bool:
    """Return whether an image comes from the web."""
    return _WEB.match(source) is not None


def image_name(source: str) -> str:
    """Name an image as its file is named, without folders: "shelf 3.jpg" of "/photos/shelf 3.jpg".

    Args:
        source: where the image came from: a path, a URL, or a `data:` URI, which has no name.
    """
    if source.startswith("data:"):
        return _NAMELESS
    if is_address(source):
        source = unquote(re.split(r"[?#]", source)[0], errors="replace")
    last = re.split(r"[/\\]", source.rstrip("/\\"))[-1]
    shown = "".join(letter if letter.isprintable() else "-" for letter in last)
    name = PurePath(re.sub(r'[<>:"|?*]+', "-", shown).lstrip(". "))
    return f"{_cut(name.stem, _STEM_BYTES) or _NAMELESS}{_cut(name.suffix, _LABEL_BYTES)}"


def stems(sources: Iterable[str]) -> list[str]:
    """Name the files of each image after it, without an ending; images of one name are numbered apart.

    Names that a system or a format reserves are numbered from 2.
    """
    found: list[str] = []
    taken = set(_RESERVED)  # in lower case, as some disks do not distinguish it
    for source in sources:
        stem = PurePath(image_name(source)).stem
        free = next(
            name for number in count(1) if (name := stem if number == 1 else f"{stem}-{number}").casefold() not in taken
        )
        found.append(free)
        taken.add(free.casefold())
    return found


def label_part(label: str) -> str:
    """Write a label for a file name: without "-", which separates the parts of names, so that no two are alike."""
    return _cut(_NOT_A_WORD.sub("_", label).strip("_"), _LABEL_BYTES) or "object"


def _cut(text: str, most: int) -> str:
    """Cut text to a number of bytes of UTF-8, never within a letter."""
    return text.encode("utf-8", "replace")[:most].decode("utf-8", "ignore").rstrip(". ")
