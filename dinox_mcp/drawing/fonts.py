"""Fonts for any script: those of OpenCV and Pillow, and well-known font files of the system."""

import os
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import product
from pathlib import Path
from typing import Protocol

from PIL import Image, ImageDraw, ImageFont, features

_NOTO_SCRIPTS = (
    "Arabic", "Hebrew", "Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada",
    "Malayalam", "Sinhala", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan", "Armenian", "Georgian", "Ethiopic",
)  # fmt: skip

_LINUX = (
    ("/usr/share/fonts", "/usr/local/share/fonts"),
    ("truetype/noto", "opentype/noto", "noto", "google-noto", "truetype/dejavu", "dejavu-sans-fonts", "TTF",
     "truetype/freefont", "gnu-free", "noto-cjk", "google-noto-sans-cjk-fonts"),
    ("DejaVuSans.ttf", *(f"NotoSans{script}-Regular.ttf" for script in _NOTO_SCRIPTS), "NotoSans-Regular.ttf",
     "FreeSans.ttf", "FreeSans.otf", "NotoSansCJK-Regular.ttc"),
)  # fmt: skip
_MACOS = (
    ("/System/Library/Fonts", "/Library/Fonts"),
    ("Supplemental", "."),
    ("Arial Unicode.ttf", "Arial.ttf", "DevanagariMT.ttc", "Thonburi.ttc", "GeezaPro.ttc", "PingFang.ttc",
     "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc"),
)  # fmt: skip
_WINDOWS = (
    (os.environ.get("WINDIR", "C:\\Windows"),),
    ("Fonts",),
    ("segoeui.ttf", "Nirmala.ttc", "Nirmala.ttf", "LeelawUI.ttf", "mmrtext.ttf", "ebrima.ttf", "arial.ttf",
     "msyh.ttc", "malgun.ttf", "YuGothM.ttc", "simsun.ttc"),
)  # fmt: skip


@cache
def installed_fonts() -> tuple[str, ...]:
    """List the well-known font files of this machine, the most general first."""
    roots, folders, names = {"darwin": _MACOS, "win32": _WINDOWS}.get(sys.platform, _LINUX)
    found = (Path(root, folder, name) for name, root, folder in product(names, roots, folders))
    return tuple(str(path) for path in found if path.is_file())


_WEIGHT = 520  # between medium and semi-bold: thin strokes are hard to see in a small tag
_TEST_SIZE = 24


def line_height(size: int) -> int:
    """Return the height in pixels of a line of text of this size, for all texts; the baseline is at `size`."""
    return round(1.3 * size)


class Face(Protocol):
    """Draws lines of tidy text (see `text.tidy`)."""

    def covers(self, line: str) -> bool:
        """Tell whether it can draw every character of a line in its right shape."""
        ...

    def draw(self, line: str, size: int) -> Image.Image:
        """Draw a line as an alpha mask (mode L), `line_height(size)` high, with empty pixels at both ends."""
        ...


def face_for(line: str) -> Face | None:
    """Return the first face that covers a line: OpenCV's, which is the same on all machines, before the system's."""
    return next((face for face in _faces() if face.covers(line)), None)


class _BuiltIn:
    """The fonts of OpenCV. A lone surrogate would crash the process; tidy text has none."""

    def covers(self, line: str) -> bool:
        return not _needs_shaping(line) and all(_built_in_has(char) for char in line if not char.isspace())

    def draw(self, line: str, size: int) -> Image.Image:
        import cv2
        import numpy as np

        font = cv2.FontFace("sans")
        left, _, width, _ = cv2.getTextSize((1, 1), line, (0, size), font, size, _WEIGHT)
        pixels = np.zeros((line_height(size), width + 2 * size), np.uint8)
        cv2.putText(pixels, line, (size - left, size), (255,), font, size, _WEIGHT)
        return Image.fromarray(pixels)


class _FontFile:
    """A font file, drawn by Pillow; without a path it is the font inside Pillow, which has ASCII only."""

    def __init__(self, path: str | None) -> None:
        self._path = path

    def covers(self, line: str) -> bool:
        if _needs_shaping(line) and not features.check_feature("raqm"):
            return False
        return all(_file_has(self._path, char) for char in line if not char.isspace() and not _joins(char))

    def draw(self, line: str, size: int) -> Image.Image:
        font = _open(self._path, size)
        drawn = Image.new("L", (round(font.getlength(line)) + 2 * size, line_height(size)))
        ImageDraw.Draw(drawn).text((size, size), line, fill=255, font=font, anchor="ls", stroke_width=size / 60)
        return drawn


def _faces() -> Iterator[Face]:
    if _opencv_has_fonts():
        yield _BuiltIn()
    for path in (*installed_fonts(), None):
        try:
            _open(path, _TEST_SIZE)
        except OSError:  # not readable by FreeType
            continue
        yield _FontFile(path)


def _opencv_has_fonts() -> bool:
    """Tell whether this is OpenCV 5: OpenCV 4, which another package may have installed over it, has no fonts."""
    import cv2

    return hasattr(cv2, "FontFace")


@lru_cache(maxsize=4096)
def _built_in_has(char: str) -> bool:
    """Tell whether OpenCV has a character: it draws a question mark, or nothing, for one that it lacks."""
    drawn = _BuiltIn().draw(char, _TEST_SIZE)
    return drawn.getbbox() is not None and (char == "?" or drawn != _question_mark())


@cache
def _question_mark() -> Image.Image:
    return _BuiltIn().draw("?", _TEST_SIZE)


@lru_cache(maxsize=4096)
def _file_has(path: str | None, char: str) -> bool:
    """Tell whether a font has a character: it draws one that it lacks like U+FFFF, which no font has."""
    font = _open(path, _TEST_SIZE)
    drawn, missing = font.getmask(char), font.getmask("\uffff")
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)


@lru_cache(maxsize=64)
def _open(path: str | None, size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise OSError("Pillow was built without FreeType")
    return font


def _needs_shaping(line: str) -> bool:
    return any(_joins(char) or unicodedata.bidirectional(char) in {"R", "AL", "AN"} for char in line)


def _joins(char: str) -> bool:
    """Tell whether a character only changes its neighbors: marks and joiners."""
    return unicodedata.category(char)[0] in "MC"
