"""Lines of text in any script: their ink, and where they break."""

import unicodedata
from functools import lru_cache

from PIL import Image

from dinox_mcp.drawing.fonts import Face, face_for, line_height

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


_WIDEST = 4  # characters an em, at most: no more can fit into a line than this says


def wrap(written: str, size: int, width: int, most_lines: int) -> list[str]:
    """Break a text into lines of at most `width` pixels; what is beyond `most_lines` becomes an ellipsis.

    Lines end at spaces, hyphens and slashes, and between ideographs; a longer word is cut where it has to be.
    Nothing where the text cannot be written. A line has one character at least, however wide.
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
    """Find where a line ends: the last good break that fits, else the last possible one."""
    if _fits(rest, size, width):
        return len(rest)
    reach = min(len(rest), max(1, _WIDEST * width // size))
    good = [place for place in range(1, reach) if _breaks(rest[place - 1], rest[place])]
    forced = [place for place in range(1, reach) if not _clings(rest[place])]
    for places in (good, forced):
        if (fitting := _last_that_fits(places, rest, size, width, ellipsis)) is not None:
            return fitting
    return forced[0] if forced else reach


def _last_that_fits(places: list[int], rest: str, size: int, width: int, ellipsis: str) -> int | None:
    """Search by halves: the ink grows with the text."""
    low, high = 0, len(places)
    while low < high:
        middle = (low + high) // 2
        if _fits(rest[: places[middle]].strip() + ellipsis, size, width):
            low = middle + 1
        else:
            high = middle
    return places[low - 1] if low else None


def _fits(line: str, size: int, width: int) -> bool:
    ink = line_ink(line, size)
    return ink is None or ink.width <= width


def _breaks(before: str, after: str) -> bool:
    """Say whether a line may end between two characters: a rough form of Unicode's line breaking (UAX 14)."""
    if _clings(after):
        return False
    if before.isspace() or before in "-/?&":
        return True
    return not after.isspace() and (_is_wide(before) or _is_wide(after))


def _clings(char: str) -> bool:
    """Say whether a character belongs to the one before it: marks, joiners, closing punctuation."""
    return unicodedata.category(char) in {"Mn", "Mc", "Me", "Cf", "Pe", "Pf", "Po"}


def _is_wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in {"W", "F"}
