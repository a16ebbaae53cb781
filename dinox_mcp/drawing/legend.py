"""The descriptions of objects as a numbered list beside the image."""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from dinox_mcp.drawing import text
from dinox_mcp.drawing.style import BLACK, Color, Size, Style
from dinox_mcp.drawing.tags import draw_tag, legend_entry, objects_for_legend, text_size
from dinox_mcp.drawing.text import line_height, wrap
from dinox_mcp.types.detection import DetectedObject

PAPER: Color = (250, 250, 250)
_SMALLEST_TEXT = 12
_COLUMN = 28  # width in text sizes: a line that is easy to read
_NARROWEST = 20  # in text sizes
_FEWEST_LINES = 8
_MOST_LINES = 4  # of an entry
_SAMPLE = 100  # entries that are measured for the width of columns


class Legend(NamedTuple):
    """A list for below an image, or for its right side: the image stays in the upper left corner."""

    image: Image.Image
    below: bool

    def size_with(self, picture: Size) -> Size:
        """Return width and height of an image together with its legend."""
        width, height = self.image.size
        if self.below:
            return max(picture[0], width), picture[1] + height
        return picture[0] + width, max(picture[1], height)

    def beside(self, picture: Image.Image) -> Image.Image:
        """Put an image and its legend on one sheet."""
        sheet = Image.new("RGB", self.size_with(picture.size), PAPER)
        sheet.paste(picture, (0, 0))
        sheet.paste(self.image, (0, picture.height) if self.below else (picture.width, 0))
        return sheet


class _Entry(NamedTuple):
    chip: Image.Image
    lines: list[str]


class _Space(NamedTuple):
    """The space of a legend in pixels; text begins `indent` pixels after the left edge of the chips."""

    columns: int
    width: int
    height: int
    size: int
    indent: int


def make_legend(
    picture: Size, objects: Sequence[DetectedObject], style: Style, *, original_size: Size
) -> Legend | None:
    """Make the legend of an image: the descriptions that do not fit on tags. None if there are none.

    A wide image gets it below, with at most 0.6 of the image's height or a quarter of its width. Other images get it
    on the right, with at most 0.6 of the image's width. At a small image it may be 20 text sizes wide and 8 lines
    high. Entries are sorted by number and have at most four lines; the last line counts those that do not fit.
    """
    described = objects_for_legend(objects, style, picture, original_size)
    size = max(_SMALLEST_TEXT, round(0.8 * text_size(picture)))  # a little smaller than on the tags
    listed = [(found, entry) for found in described if (entry := legend_entry(found, label=style.labels))]
    if not listed:
        return None
    color_of = style.colors(objects)
    chips = [_chip(found, color_of(found), style, size) for found, _ in listed]
    indent = max(chip.width for chip in chips) + size // 2
    below = picture[0] > picture[1]
    if below:
        longest = max(ink.width for _, entry in listed[:_SAMPLE] if (ink := text.line_ink(entry, size)))
        space = _space_below(picture, size, indent, longest)
    else:
        space = _space_beside(picture, size, indent)
    width = space.width - indent - 2 * size
    possible = space.columns * space.height // line_height(size)  # the others do not fit, so they are not wrapped
    entries = [
        _Entry(chip, wrap(entry, size, width, _MOST_LINES))
        for chip, (_, entry) in zip(chips[:possible], listed, strict=False)
    ]
    kept, height = _fit(entries, space)
    more = f"and {len(listed) - len(kept)} more" if len(kept) < len(listed) else ""
    return Legend(_draw(_columns(kept, height, space), more, space, full_width=below), below)


def _space_below(picture: Size, size: int, indent: int, longest: int) -> _Space:
    """Divide the width of the image into columns; `longest` is the width of the longest entry in pixels."""
    width, height = picture
    total = max(width, _NARROWEST * size)
    columns = max(1, total // min(_COLUMN * size, longest + indent + 2 * size))
    most = max(0.6 * height, 0.25 * width, _FEWEST_LINES * line_height(size) + 2 * size)
    return _Space(columns, total // columns, round(most), size, indent)


def _space_beside(picture: Size, size: int, indent: int) -> _Space:
    width, height = picture
    column = round(min(_COLUMN * size, max(0.6 * width, _NARROWEST * size)))
    return _Space(1, column, max(height, _FEWEST_LINES * line_height(size) + 2 * size), size, indent)


def _chip(found: DetectedObject, color: Color, style: Style, size: int) -> Image.Image:
    """Draw the number of an object in its color; the color alone if the image shows no numbers."""
    return (style.numbers and draw_tag(found, color, size, number=True)) or Image.new("RGB", (size, size), color)


def _height(entries: Sequence[_Entry], space: _Space) -> int:
    return sum(len(entry.lines) * line_height(space.size) + space.size // 3 for entry in entries)


def _fit(entries: list[_Entry], space: _Space) -> tuple[list[_Entry], int]:
    """Keep the entries that fit, in columns of about the same height; return them and the height of the columns."""
    step = line_height(space.size)
    most = space.height - 2 * space.size
    for height in range(max(step, _height(entries, space) // space.columns), most + 1, step):
        if len(_columns(entries, height, space)) <= space.columns:
            return entries, height
    most -= step  # for the line that counts the rest
    kept = _columns(entries, most, space)[: space.columns]
    return [entry for column in kept for entry in column], most


def _columns(entries: Sequence[_Entry], height: int, space: _Space) -> list[list[_Entry]]:
    """Fill columns from top to bottom, one after the other."""
    columns: list[list[_Entry]] = [[]]
    for entry in entries:
        if columns[-1] and _height([*columns[-1], entry], space) > height:
            columns.append([])
        columns[-1].append(entry)
    return columns


def _draw(columns: Sequence[Sequence[_Entry]], more: str, space: _Space, *, full_width: bool) -> Image.Image:
    step, margin = line_height(space.size), space.size
    height = max(_height(column, space) for column in columns) + (step if more else 0) + 2 * margin
    sheet = Image.new("RGB", (space.columns * space.width, height), PAPER)
    used = 0
    for number, column in enumerate(columns):
        x, y = number * space.width + margin, margin
        for entry in column:
            sheet.paste(entry.chip, (x, y))
            for line in entry.lines:
                used = max(used, _write(sheet, (x + space.indent, y), line, space.size))
                y += step
            y += space.size // 3
    if more:
        used = max(used, _write(sheet, (x + space.indent, y), more, space.size))
    return sheet if full_width else sheet.crop((0, 0, min(sheet.width, used + margin), sheet.height))


def _write(sheet: Image.Image, corner: Size, line: str, size: int) -> int:
    """Write a line; return the x at which it ends."""
    ink = text.line_ink(line, size)
    if ink is None:
        return corner[0]
    sheet.paste(BLACK, corner, ink)
    return corner[0] + ink.width
