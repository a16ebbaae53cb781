"""The tag of one object: its number on the label's colour, then what it is and how sure the model was."""

from PIL import Image

from dinox_mcp.drawing import text
from dinox_mcp.drawing.colors import BLACK, Color, ink_on
from dinox_mcp.drawing.faces import line_height
from dinox_mcp.schema import DetectedObject

LABEL_LIMIT = 32
TRANSCRIPT_LIMIT = 24


def draw_tag(found: DetectedObject, color: Color, size: int, *, number: bool, label: bool) -> Image.Image | None:
    """Draw the tag of an object with text of `size` pixels; None where nothing of it can be written."""
    words = caption(found) if label else ()
    body = [ink for word in words if (ink := text.ink(word, size))]
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


def caption(found: DetectedObject) -> tuple[str, ...]:
    """Name an object in words: of text its transcript, of everything else its label; then the score, if any."""
    transcript = found.text if found.label.casefold() == "text" else None
    name = text.shorten(transcript, TRANSCRIPT_LIMIT) if transcript else text.shorten(found.label, LABEL_LIMIT)
    return (name,) if found.score is None else (name, f"{found.score:.2f}")


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
