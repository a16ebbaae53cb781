"""Where a text of any script breaks into lines."""

import unicodedata

from dinox_mcp.drawing import text

_WIDEST = 4  # characters an em, at most: no more can fit into a line than this says


def wrap(written: str, size: int, width: int, most_lines: int) -> list[str]:
    """Break a text into lines of at most `width` pixels; what is beyond `most_lines` becomes an ellipsis.

    Lines end at spaces, hyphens and slashes, and between ideographs; a longer word is cut where it has to be.
    Nothing where the text cannot be written. A line has one character at least, however wide.
    """
    rest = text.writable(written)
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
    ink = text.line_ink(line, size)
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
