"""A contact sheet: many frames at a glance, each with a line that says when it is."""

import math
from collections.abc import Sequence

from PIL import Image

from dinox_mcp.drawing import text
from dinox_mcp.drawing.fonts import line_height
from dinox_mcp.drawing.style import Color, ink_on

PAPER: Color = (24, 24, 24)
_SMALLEST_TEXT, _LARGEST_TEXT = 11, 28


def contact_sheet(frames: Sequence[tuple[Image.Image, str]], max_side: int = 1568) -> Image.Image:
    """Arrange RGB frames in an even grid, row by row, each above its caption; the long side is at most `max_side`.

    The grid is the one that shows frames of the first one's shape largest; others are fitted in. Frames are never
    enlarged. A caption longer than its frame is wide is cut.

    Raises:
        ValueError: there are no frames, or more than the sheet has room for.
    """
    if not frames:
        raise ValueError("a contact sheet needs at least one frame")
    width, height = frames[0][0].size
    size = round(min(_LARGEST_TEXT, max(_SMALLEST_TEXT, max_side / 80)))
    columns, factor = _grid(len(frames), (width, height), max_side, size)
    if factor * max(width, height) < 1:
        raise ValueError(f"{len(frames)} frames have no room on a sheet of {max_side} pixels; choose fewer")
    cell = (max(1, int(width * factor)), max(1, int(height * factor)))
    gap, strip = _gap(size), line_height(size)
    rows = math.ceil(len(frames) / columns)
    sheet = Image.new("RGB", (columns * (cell[0] + gap) + gap, rows * (cell[1] + strip + gap) + gap), PAPER)
    for place, (frame, caption) in enumerate(frames):
        x, y = gap + place % columns * (cell[0] + gap), gap + place // columns * (cell[1] + strip + gap)
        shown = _fit(frame, cell)
        sheet.paste(shown, (x + (cell[0] - shown.width) // 2, y + (cell[1] - shown.height) // 2))
        if ink := _caption(caption, size, cell[0]):
            sheet.paste(ink_on(PAPER), (x, y + cell[1]), ink)
    return sheet


def _grid(count: int, frame: tuple[int, int], max_side: int, size: int) -> tuple[int, float]:
    """Choose the number of columns, and how much the frames shrink: 1 is not at all."""
    gap, strip = _gap(size), line_height(size)
    choices = []
    for columns in range(1, count + 1):
        rows = math.ceil(count / columns)
        width = (max_side - gap) / columns - gap
        height = (max_side - gap) / rows - gap - strip
        choices.append((min(1.0, width / frame[0], height / frame[1]), -rows * columns, columns))
    factor, _, columns = max(choices)
    return columns, factor


def _gap(size: int) -> int:
    return max(2, size // 3)


def _fit(frame: Image.Image, cell: tuple[int, int]) -> Image.Image:
    factor = min(cell[0] / frame.width, cell[1] / frame.height, 1.0)
    size = (max(1, round(frame.width * factor)), max(1, round(frame.height * factor)))
    return frame.convert("RGB") if size == frame.size else frame.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _caption(caption: str, size: int, width: int) -> Image.Image | None:
    """Set as much of a caption as its cell is wide."""
    caption = text.tidy(caption)
    ink = text.ink(caption, size)
    limit = len(caption)
    while ink and ink.width > width and limit > 1:
        limit = min(limit - 1, max(1, int(limit * width / ink.width)))
        ink = text.ink(text.shorten(caption, limit), size)
    return ink if ink and ink.width <= width else None
