"""The tag of one object: its number on the label's colour, then what it is and how sure the model was."""

from PIL import Image

from dinox_mcp.drawing import text, words
from dinox_mcp.drawing.colors import BLACK, Color, ink_on
from dinox_mcp.drawing.faces import line_height
from dinox_mcp.schema import DetectedObject


def draw_tag(
    found: DetectedObject, color: Color, size: int, *, number: bool = False, label: bool = False, remark: bool = False
) -> Image.Image | None:
    """Draw the tag of an object with text of `size` pixels; None where nothing of it can be written.

    `label` is its name and score, `remark` what else there is to say, if it is short.
    """
    parts = (
        words.name(found) if label else "",
        words.remark(found) if remark else "",
        words.score(found) if label else "",
    )
    body = [ink for part in parts if (ink := text.ink(part, size))]
    head = [ink for ink in (text.ink(str(found.id), size),) if ink and number]
    if not head:
        return _block(body, color, size) if body else None
    if not body:
        return _block(head, color, size)
    left, right = _block(head, color, size), _block(body, BLACK, size)
    tag = Image.new("RGB", (left.width + right.width, left.height))
    tag.paste(left, (0, 0))
    tag.paste(right, (left.width, 0))
    return tag


def _block(inks: list[Image.Image], background: Color, size: int) -> Image.Image:
    """Set words side by side on a colour."""
    margin, gap = max(2, round(size / 4)), round(size / 3)
    width = sum(ink.width for ink in inks) + gap * (len(inks) - 1) + 2 * margin
    block = Image.new("RGB", (width, line_height(size)), background)
    x = margin
    for ink in inks:
        block.paste(ink_on(background), (x, 0), ink)
        x += ink.width + gap
    return block
