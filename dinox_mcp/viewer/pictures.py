"""Pictures for the page within what hosts carry: the whole, and parts of it at full resolution. Slow: use a thread."""

import re

from dinox_mcp.errors import InputError
from dinox_mcp.geometry import Box
from dinox_mcp.images.picture import Picture

_REGION = re.compile(r"(\d{1,7})_(\d{1,7})_(\d{1,7})_(\d{1,7})")


def preview(picture: Picture, max_side: int, max_bytes: int) -> bytes:
    """Encode a picture as JPEG, its long side at most `max_side` pixels, in at most `max_bytes`."""
    from dinox_mcp.drawing.encode import fit_bytes

    data, _, _ = fit_bytes(picture.rgb(max_side), max_bytes)
    return data


def region(picture: Picture, box: Box, max_side: int, max_bytes: int) -> bytes:
    """Encode exactly the part of a picture that `box` (in its pixels) frames, within the same limits.

    Raises:
        InputError: the box is empty or reaches out of the picture.
    """
    from dinox_mcp.drawing.encode import fit_bytes

    x1, y1, x2, y2 = box
    if not (0 <= x1 < x2 <= picture.width and 0 <= y1 < y2 <= picture.height):
        raise InputError(
            f"the region {x1:.0f}_{y1:.0f}_{x2:.0f}_{y2:.0f} is no part of the {picture.width}x{picture.height} "
            "picture; give x_min_y_min_x_max_y_max in its pixels"
        )
    data, _, _ = fit_bytes(picture.rgb().crop((round(x1), round(y1), round(x2), round(y2))), max_bytes, max_side)
    return data


def parse_region(text: str) -> Box:
    """Read a region as URIs write it: four whole numbers joined by underscores.

    Raises:
        InputError: it is none.
    """
    match = _REGION.fullmatch(text)
    if not match:
        raise InputError(f"{text[:40]!r} is no region; give x_min_y_min_x_max_y_max in pixels, as in 10_20_300_400")
    x1, y1, x2, y2 = (float(edge) for edge in match.groups())
    return x1, y1, x2, y2
