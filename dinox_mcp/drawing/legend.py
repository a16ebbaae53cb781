"""What a model told about the objects, as a numbered list beside the picture."""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from dinox_mcp.drawing import tags, text
from dinox_mcp.drawing.fonts import line_height
from dinox_mcp.drawing.layout import text_size
from dinox_mcp.drawing.style import BLACK, Color, Style
from dinox_mcp.drawing.tags import draw_tag, untold
from dinox_mcp.drawing.text import wrap
from dinox_mcp.types.detection import DetectedObject

Size = tuple[int, int]

PAPER: Color = (250, 250, 250)
_SMALLEST_TEXT = 12
_COLUMN = 28  # ems: a line that is easy to read
_NARROWEST = 20  # ems
_FEWEST_LINES = 8
_MOST_LINES = 4  # of an entry
_SAMPLE = 100  # entries that tell how wide columns have to be


class Legend(NamedTuple):
    """A list to be set below a picture, or to its right: the picture stays in the upper left corner."""

    image: Image.Image
    below: bool

    def size_with(self, picture: Size) -> Size:
        """Give the width and height of a picture together with its legend."""
        width, height = self.image.size
        if self.below:
            return max(picture[0], width), picture[1] + height
        return picture[0] + width, max(picture[1], height)

    def beside(self, picture: Image.Image) -> Image.Image:
        """Set a picture and its legend on one sheet."""
        sheet = Image.new("RGB", self.size_with(picture.size), PAPER)
        sheet.paste(picture, (0, 0))
        sheet.paste(self.image, (0, picture.height) if self.below else (picture.width, 0))
        return sheet


class _Entry(NamedTuple):
    chip: Image.Image
    lines: list[str]


class _Room(NamedTuple):
    """The space of a legend: so many columns of a width, and a height, in pixels.

    `size` is that of the text, which begins `indent` pixels after the left edge of the chips.
    """

    columns: int
    width: int
    height: int
    size: int
    indent: int


def make_legend(
    picture: Size, objects: Sequence[DetectedObject], style: Style, *, original_size: Size
) -> Legend | None:
    """List what tags have no room for, to be set beside a picture of (width, height) pixels; None if there is nothing.

    The objects are in pixels of the original, of `original_size`.

    It goes below wide pictures and to the right of others, and takes at most 0.6 of the picture's height there
    (or a quarter of its width), 0.6 of its width here; small pictures may get one of 20 ems and 8 lines. Entries are
    in the order of their numbers, of four lines at most; what has no room is counted in the last line.
    """
    told = untold(objects, style, picture, original_size)
    size = max(_SMALLEST_TEXT, round(0.8 * text_size(picture)))  # a little smaller than that of the tags
    written = [(found, entry) for found in told if (entry := tags.entry(found, label=style.labels))]
    if not written:
        return None
    color_of = style.colors(objects)
    chips = [_chip(found, color_of(found), style, size) for found, _ in written]
    indent = max(chip.width for chip in chips) + size // 2
    below = picture[0] > picture[1]
    if below:
        longest = max(ink.width for _, entry in written[:_SAMPLE] if (ink := text.line_ink(entry, size)))
        room = _room_below(picture, size, indent, longest)
    else:
        room = _room_beside(picture, size, indent)
    width = room.width - indent - 2 * size
    possible = room.columns * room.height // line_height(size)  # the rest need not be set in lines
    entries = [
        _Entry(chip, wrap(entry, size, width, _MOST_LINES))
        for chip, (_, entry) in zip(chips[:possible], written, strict=False)
    ]
    kept, height = _fit(entries, room)
    more = f"and {len(written) - len(kept)} more" if len(kept) < len(written) else ""
    return Legend(_draw(_columns(kept, height, room), more, room, whole_width=below), below)


def _room_below(picture: Size, size: int, indent: int, longest: int) -> _Room:
    """Divide the picture's width into columns that are easy to read, narrower where no entry is `longest` enough."""
    width, height = picture
    whole = max(width, _NARROWEST * size)
    columns = max(1, whole // min(_COLUMN * size, longest + indent + 2 * size))
    most = max(0.6 * height, 0.25 * width, _FEWEST_LINES * line_height(size) + 2 * size)
    return _Room(columns, whole // columns, round(most), size, indent)


def _room_beside(picture: Size, size: int, indent: int) -> _Room:
    width, height = picture
    column = round(min(_COLUMN * size, max(0.6 * width, _NARROWEST * size)))
    return _Room(1, column, max(height, _FEWEST_LINES * line_height(size) + 2 * size), size, indent)


def _chip(found: DetectedObject, color: Color, style: Style, size: int) -> Image.Image:
    """Draw an object's number in its colour; the colour alone where the picture shows no numbers."""
    return (style.numbers and draw_tag(found, color, size, number=True)) or Image.new("RGB", (size, size), color)


def _height(entries: Sequence[_Entry], room: _Room) -> int:
    return sum(len(entry.lines) * line_height(room.size) + room.size // 3 for entry in entries)


def _fit(entries: list[_Entry], room: _Room) -> tuple[list[_Entry], int]:
    """Keep as many entries as have room, in columns as even as can be: those kept, and the height of the columns."""
    step = line_height(room.size)
    most = room.height - 2 * room.size
    for height in range(max(step, _height(entries, room) // room.columns), most + 1, step):
        if len(_columns(entries, height, room)) <= room.columns:
            return entries, height
    most -= step  # for the line that counts the rest
    kept = _columns(entries, most, room)[: room.columns]
    return [entry for column in kept for entry in column], most


def _columns(entries: Sequence[_Entry], height: int, room: _Room) -> list[list[_Entry]]:
    """Fill columns from top to bottom, one after the other."""
    columns: list[list[_Entry]] = [[]]
    for entry in entries:
        if columns[-1] and _height([*columns[-1], entry], room) > height:
            columns.append([])
        columns[-1].append(entry)
    return columns


def _draw(columns: Sequence[Sequence[_Entry]], more: str, room: _Room, *, whole_width: bool) -> Image.Image:
    step, margin = line_height(room.size), room.size
    height = max(_height(column, room) for column in columns) + (step if more else 0) + 2 * margin
    sheet = Image.new("RGB", (room.columns * room.width, height), PAPER)
    used = 0
    for number, column in enumerate(columns):
        x, y = number * room.width + margin, margin
        for entry in column:
            sheet.paste(entry.chip, (x, y))
            for line in entry.lines:
                used = max(used, _write(sheet, (x + room.indent, y), line, room.size))
                y += step
            y += room.size // 3
    if more:
        used = max(used, _write(sheet, (x + room.indent, y), more, room.size))
    return sheet if whole_width else sheet.crop((0, 0, min(sheet.width, used + margin), sheet.height))


def _write(sheet: Image.Image, corner: Size, line: str, size: int) -> int:
    """Set a line and tell where it ends."""
    ink = text.line_ink(line, size)
    if ink is None:
        return corner[0]
    sheet.paste(BLACK, corner, ink)
    return corner[0] + ink.width
