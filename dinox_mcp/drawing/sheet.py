"""A contact sheet: many frames of a video on one image, each with a caption."""

import math
from collections.abc import Sequence

from PIL import Image

from dinox_mcp.drawing import text
from dinox_mcp.drawing.style import Color, ink_on
from dinox_mcp.drawing.text import line_height

PAPER: Color = (24, 24, 24)
_SMALLEST_TEXT, _LARGEST_TEXT = 11, 28


def contact_sheet(frames: Sequence[tuple[Image.Image, str]], max_side: int = 1568) -> Image.Image:
    """Arrange frames in a grid, row by row, each above its caption.

    The grid shows frames of the first frame's shape as large as possible; frames of another shape are fitted in.
    Frames are never enlarged. A caption wider than its frame is shortened. No side is longer than `max_side` pixels.

    Raises:
        ValueError: there are no frames, or too many for the sheet.
    """
    if not frames:
        raise ValueError("a contact sheet needs at least one frame")
    size = _text_size(max_side)
    columns, factor = _grid(len(frames), frames[0][0].size, max_side, size)
    if factor * max(frames[0][0].size) < 1:
        raise ValueError(f"{len(frames)} frames do not fit on a sheet of {max_side} pixels; choose fewer")
    cell = cell_size(len(frames), frames[0][0].size, max_side)
    gap, strip = _gap(size), line_height(size)
    rows = math.ceil(len(frames) / columns)
    sheet = Image.new("RGB", (columns * (cell[0] + gap) + gap, rows * (cell[1] + strip + gap) + gap), PAPER)
    for index, (frame, caption) in enumerate(frames):
        x, y = gap + index % columns * (cell[0] + gap), gap + index // columns * (cell[1] + strip + gap)
        shown = _fit(frame, cell)
        sheet.paste(shown, (x + (cell[0] - shown.width) // 2, y + (cell[1] - shown.height) // 2))
        if ink := _caption(caption, size, cell[0]):
            sheet.paste(ink_on(PAPER), (x, y + cell[1]), ink)
    return sheet


def cell_size(count: int, frame: tuple[int, int], max_side: int) -> tuple[int, int]:
    """Give the (width, height) in which a contact sheet shows each of `count` frames of a size."""
    _, factor = _grid(count, frame, max_side, _text_size(max_side))
    return max(1, int(frame[0] * factor)), max(1, int(frame[1] * factor))


def _text_size(max_side: int) -> int:
    return round(min(_LARGEST_TEXT, max(_SMALLEST_TEXT, max_side / 80)))


def _grid(count: int, frame: tuple[int, int], max_side: int, size: int) -> tuple[int, float]:
    """Choose the number of columns and the factor by which frames shrink, at most 1."""
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
    return frame.convert("RGB").resize(size, Image.Resampling.LANCZOS)  # a copy where the size is the same


def _caption(caption: str, size: int, width: int) -> Image.Image | None:
    """Draw a caption, shortened to the width of its cell; None if nothing fits."""
    caption = text.tidy(caption)
    ink = text.ink(caption, size)
    limit = len(caption)
    while ink and ink.width > width and limit > 1:
        limit = min(limit - 1, max(1, int(limit * width / ink.width)))
        ink = text.ink(text.shorten(caption, limit), size)
    return ink if ink and ink.width <= width else None
