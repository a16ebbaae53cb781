"""Draws lines of text in any script, and breaks text into lines.

The fonts are those of OpenCV and Pillow, and well-known font files of the system.
"""

import os
import sys
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import product
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features

_JOINERS = "\u200c\u200d"  # invisible, but they shape Arabic and Indic words
_WIDEST = 4  # the most characters per text size: no more can fit into a line
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


class _BuiltIn:
    """The fonts of OpenCV. A lone surrogate would crash the process; tidy text has none."""

    def covers(self, line: str) -> bool:
        """Return whether it can draw every character of a line in its right shape."""
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


Face = _BuiltIn | _FontFile
"""Draws lines of tidy text (see `tidy`) as alpha masks, `line_height(size)` high, with empty pixels at both ends."""


def face_for(line: str) -> Face | None:
    """Return the first face that covers a line: OpenCV's, which is the same on all machines, before the system's."""
    return next((face for face in _faces() if face.covers(line)), None)


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
    """Return whether this is OpenCV 5: OpenCV 4, which another package may have installed over it, has no fonts."""
    import cv2

    return hasattr(cv2, "FontFace")


@lru_cache(maxsize=4096)
def _built_in_has(char: str) -> bool:
    """Return whether OpenCV has a character: it draws a question mark, or nothing, for one that it lacks."""
    drawn = _BuiltIn().draw(char, _TEST_SIZE)
    return drawn.getbbox() is not None and (char == "?" or drawn != _BuiltIn().draw("?", _TEST_SIZE))


@lru_cache(maxsize=4096)
def _file_has(path: str | None, char: str) -> bool:
    """Return whether a font has a character: it draws one that it lacks like U+FFFF, which no font has."""
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
    """Return whether a character only changes its neighbors: marks and joiners."""
    return unicodedata.category(char)[0] in "MC"


@lru_cache(maxsize=2048)
def ink(text: str, size: int) -> Image.Image | None:
    """Draw one line as `line_ink` does, and keep it, as it is likely to be drawn again; do not change the image."""
    return line_ink(text, size)


def line_ink(text: str, size: int) -> Image.Image | None:
    """Draw one line as an alpha mask (mode L), `line_height(size)` high and as wide as its ink.

    Symbols that no font has are left out. None if no font has a letter of the line, or if there is nothing to draw.
    """
    runs = _runs(writable(text))
    if not runs:
        return None
    drawn = _join([face.draw(part, size) for face, part in runs], size)
    return drawn if drawn.getbbox() else None


def writable(text: str) -> str:
    """Return a line as it is drawn, without symbols that no font has; "" if no font has one of its letters."""
    text = tidy(text)
    without_symbols = tidy("".join(char for char in text if not _is_symbol(char)))
    return next((line for line in (text, without_symbols) if _runs(line)), "")


def tidy(text: str) -> str:
    """Compose accents, join lines, and remove characters that do not print."""
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    return " ".join("".join(char for char in text if _prints(char)).split())


def shorten(text: str, limit: int) -> str:
    """Cut a text to at most `limit` characters, with an ellipsis at the end if it is cut."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _runs(line: str) -> list[tuple[Face, str]]:
    """Split a line, left to right, into parts that one face covers: all of it, or words; empty if that fails."""
    if face := face_for(line):
        return [(face, line)] if line else []
    runs: list[tuple[Face, str]] = []
    for word in line.split():
        if runs and runs[-1][0].covers(word):
            runs[-1] = (runs[-1][0], f"{runs[-1][1]} {word}")
        elif face := face_for(word):
            runs.append((face, word))
        else:
            return []
    return runs[::-1] if _reads_leftwards(line) else runs


def _join(parts: list[Image.Image], size: int) -> Image.Image:
    """Trim drawn parts at both ends and put them side by side."""
    boxes = [part.getbbox() or (0, 0, 1, 1) for part in parts]
    space = size // 4
    width = sum(right - left for left, _, right, _ in boxes) + space * (len(parts) - 1)
    joined = Image.new("L", (width, line_height(size)))
    x = 0
    for part, (left, _, right, _) in zip(parts, boxes, strict=True):
        joined.paste(part.crop((left, 0, right, part.height)), (x, 0))
        x += right - left + space
    return joined


def _reads_leftwards(line: str) -> bool:
    """Return whether a line runs from right to left: its first character with a direction decides, as in Unicode."""
    directions = (unicodedata.bidirectional(char) for char in line)
    return next((way in {"R", "AL"} for way in directions if way in {"L", "R", "AL"}), False)


def _is_symbol(char: str) -> bool:
    """Return whether a character is a symbol, so that a line means the same without it."""
    return unicodedata.category(char)[0] in "SPC" and not char.isascii()


def _prints(char: str) -> bool:
    return not unicodedata.category(char).startswith("C") or char in _JOINERS


def wrap(written: str, size: int, width: int, most_lines: int) -> list[str]:
    """Break a text of `size` pixels into lines of at most `width`; text beyond `most_lines` becomes an ellipsis.

    Lines end at spaces, hyphens and slashes, and between ideographs. A word longer than a line is cut. Each line has
    at least one character. A text that cannot be written has no lines.
    """
    rest = writable(written)
    lines: list[str] = []
    while rest and len(lines) < most_lines:
        last = len(lines) == most_lines - 1
        end = _end(rest, size, width, ellipsis="…" if last else "")
        line = rest[:end].strip()
        rest = rest[end:].strip()
        lines.append(f"{line}…" if last and rest else line)
    return lines


def _end(rest: str, size: int, width: int, ellipsis: str) -> int:
    """Find the end of a line: the last good break that fits, else the last possible one."""
    if _fits(rest, size, width):
        return len(rest)
    reach = min(len(rest), max(1, _WIDEST * width // size))
    good = [index for index in range(1, reach) if _breaks(rest[index - 1], rest[index])]
    forced = [index for index in range(1, reach) if not _joins_previous(rest[index])]
    for breaks in (good, forced):
        if (fitting := _last_that_fits(breaks, rest, size, width, ellipsis)) is not None:
            return fitting
    return forced[0] if forced else reach


def _last_that_fits(breaks: list[int], rest: str, size: int, width: int, ellipsis: str) -> int | None:
    """Find the last break up to which the text fits, by bisection: the ink grows with the text."""
    fitting = bisect_left(breaks, x=True, key=lambda end: not _fits(rest[:end].strip() + ellipsis, size, width))
    return breaks[fitting - 1] if fitting else None


def _fits(line: str, size: int, width: int) -> bool:
    ink = line_ink(line, size)
    return ink is None or ink.width <= width


def _breaks(before: str, after: str) -> bool:
    """Return whether a line may end between two characters: a simple form of Unicode's line breaking (UAX 14)."""
    if _joins_previous(after):
        return False
    if before.isspace() or before in "-/?&":
        return True
    return not after.isspace() and (_is_wide(before) or _is_wide(after))


def _joins_previous(char: str) -> bool:
    """Return whether a character belongs to the one before it: marks, joiners, closing punctuation."""
    return unicodedata.category(char) in {"Mn", "Mc", "Me", "Cf", "Pe", "Pf", "Po"}


def _is_wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in {"W", "F"}
