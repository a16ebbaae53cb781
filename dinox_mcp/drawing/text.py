"""Draws lines of text in any script, and breaks text into lines."""

import unicodedata
from functools import lru_cache

from PIL import Image

from dinox_mcp.drawing.fonts import Face, face_for, line_height

_JOINERS = "\u200c\u200d"  # invisible, but they shape Arabic and Indic words
_WIDEST = 4  # the most characters per text size: no more can fit into a line


@lru_cache(maxsize=2048)
def ink(text: str, size: int) -> Image.Image | None:
    """Draw one line as `line_ink` does, and keep it, as it is likely to be drawn again; do not change the image."""
    return line_ink(text, size)


def line_ink(text: str, size: int) -> Image.Image | None:
    """Draw one line as an alpha mask (mode L), `line_height(size)` high and as wide as its ink.

    Symbols that no font has are left out.

    Returns:
        The mask; None if no font has a letter of the line, or if there is nothing to draw.
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
    """Tell whether a line runs from right to left: its first character with a direction decides, as in Unicode."""
    directions = (unicodedata.bidirectional(char) for char in line)
    return next((way in {"R", "AL"} for way in directions if way in {"L", "R", "AL"}), False)


def _is_symbol(char: str) -> bool:
    """Tell whether a character is a symbol, so that a line means the same without it."""
    return unicodedata.category(char)[0] in "SPC" and not char.isascii()


def _prints(char: str) -> bool:
    return not unicodedata.category(char).startswith("C") or char in _JOINERS


def wrap(written: str, size: int, width: int, most_lines: int) -> list[str]:
    """Break a text into lines.

    Lines end at spaces, hyphens and slashes, and between ideographs. A word longer than a line is cut. Each line has
    at least one character.

    Args:
        written: The text.
        size: The text size in pixels.
        width: The width of a line in pixels.
        most_lines: The most lines; text beyond them becomes an ellipsis.

    Returns:
        The lines; none if the text cannot be written.
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
    low, high = 0, len(breaks)
    while low < high:
        middle = (low + high) // 2
        if _fits(rest[: breaks[middle]].strip() + ellipsis, size, width):
            low = middle + 1
        else:
            high = middle
    return breaks[low - 1] if low else None


def _fits(line: str, size: int, width: int) -> bool:
    ink = line_ink(line, size)
    return ink is None or ink.width <= width


def _breaks(before: str, after: str) -> bool:
    """Tell whether a line may end between two characters: a simple form of Unicode's line breaking (UAX 14)."""
    if _joins_previous(after):
        return False
    if before.isspace() or before in "-/?&":
        return True
    return not after.isspace() and (_is_wide(before) or _is_wide(after))


def _joins_previous(char: str) -> bool:
    """Tell whether a character belongs to the one before it: marks, joiners, closing punctuation."""
    return unicodedata.category(char) in {"Mn", "Mc", "Me", "Cf", "Pe", "Pf", "Po"}


def _is_wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in {"W", "F"}
