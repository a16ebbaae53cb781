"""A line of text as its ink, in whatever script it is written.

Where no font has the letters there is no ink: a label is left out rather than drawn as empty squares.
"""

import unicodedata
from functools import lru_cache

from PIL import Image

from dinox_mcp.drawing.faces import Face, face_for, line_height

_JOINERS = "\u200c\u200d"  # they print nothing, but shape Arabic and Indic words


@lru_cache(maxsize=2048)
def ink(text: str, size: int) -> Image.Image | None:
    """Draw one line that is likely to come again; do not change it. As `line_ink`."""
    return line_ink(text, size)


def line_ink(text: str, size: int) -> Image.Image | None:
    """Draw one line as an alpha mask (mode L), `line_height(size)` high and as wide as its ink.

    Symbols that no font has are left out. None where letters are missing or nothing is left to draw.
    """
    runs = _runs(writable(text))
    if not runs:
        return None
    drawn = _join([face.draw(part, size) for face, part in runs], size)
    return drawn if drawn.getbbox() else None


def writable(text: str) -> str:
    """Give a line as it would be drawn, without symbols that no font has; empty where letters are missing."""
    text = tidy(text)
    words = tidy("".join(char for char in text if not _is_symbol(char)))
    return next((line for line in (text, words) if _runs(line)), "")


def tidy(text: str) -> str:
    """Compose accents, join lines, and drop characters that do not print."""
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    return " ".join("".join(char for char in text if _prints(char)).split())


def shorten(text: str, limit: int) -> str:
    """Cut a text to at most `limit` characters, the last one an ellipsis if any are missing."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _runs(line: str) -> list[tuple[Face, str]]:
    """Split a line, from left to right, into what one face can set: best the whole, else words; empty if none can."""
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
    """Trim lines of ink at both ends and set them side by side."""
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
    """Whether the first character with a direction goes from right to left, as the Unicode rule has it."""
    directions = (unicodedata.bidirectional(char) for char in line)
    return next((way in {"R", "AL"} for way in directions if way in {"L", "R", "AL"}), False)


def _is_symbol(char: str) -> bool:
    """Whether a line still says the same without this character."""
    return unicodedata.category(char)[0] in "SPC" and not char.isascii()


def _prints(char: str) -> bool:
    return not unicodedata.category(char).startswith("C") or char in _JOINERS
