"""Tables for a terminal."""

import unicodedata
from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], alignment: str) -> list[str]:
    """Align columns, the first row being the heads: ">" numbers to the right, "<" words to the left.

    Wide (East Asian) characters count as two.
    """
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(_pad(*cell) for cell in zip(row, widths, alignment, strict=False)).rstrip() for row in rows]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _pad(cell: str, width: int, alignment: str) -> str:
    space = " " * (width - _width(cell))
    return space + cell if alignment == ">" else cell + space


def _width(cell: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in cell)
