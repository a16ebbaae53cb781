"""The page as one HTML document that holds results and their images and loads nothing."""

import base64
import json
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from dinox_mcp.errors import InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.store.results import Stored
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import DetectionResult
from dinox_mcp.types.video import VideoResult

_REGION = re.compile(r"(\d{1,7})_(\d{1,7})_(\d{1,7})_(\d{1,7})")


def preview(picture: Picture, max_side: int, max_bytes: int) -> bytes:
    """Encode an image as JPEG, its long side at most `max_side` pixels, in at most `max_bytes`."""
    from dinox_mcp.drawing.encode import fit_bytes

    data, _, _ = fit_bytes(picture.rgb(max_side), max_bytes)
    return data


def region(picture: Picture, box: Box, max_side: int, max_bytes: int) -> bytes:
    """Encode the part of an image inside `box`, within the same limits.

    Args:
        picture: The image.
        box: x1, y1, x2, y2 in pixels of the image.
        max_side: The long side at most, in pixels.
        max_bytes: The size of the file at most.

    Raises:
        InputError: The box is empty or reaches out of the image.
    """
    from dinox_mcp.drawing.encode import fit_bytes

    x1, y1, x2, y2 = box
    if not (0 <= x1 < x2 <= picture.width and 0 <= y1 < y2 <= picture.height):
        raise InputError(
            f"the region {x1:.0f}_{y1:.0f}_{x2:.0f}_{y2:.0f} is not a part of the {picture.width}x{picture.height} "
            "image; give x_min_y_min_x_max_y_max in its pixels"
        )
    data, _, _ = fit_bytes(picture.rgb().crop((round(x1), round(y1), round(x2), round(y2))), max_bytes, max_side)
    return data


def parse_region(text: str) -> Box:
    """Read a region from a URI: four whole numbers joined by underscores.

    Raises:
        InputError: The text is not a region.
    """
    match = _REGION.fullmatch(text)
    if not match:
        raise InputError(f"{text[:40]!r} is not a region; give x_min_y_min_x_max_y_max in pixels, as in 10_20_300_400")
    x1, y1, x2, y2 = (float(edge) for edge in match.groups())
    return x1, y1, x2, y2


FILE = Path(__file__).with_name("viewer.html")
"""The page without data, as `viewer/build.mjs` builds it."""

MAX_PICTURES = 200
"""The images that a page shows at most: each gets at least 120 KB, and a browser holds them all."""

_ALL_BYTES = 24_000_000
_MOST_BYTES = 10_000_000
_MAX_SIDE = 8192  # what browsers can still draw

Carried = dict[str, Any]


def carry(stored: Stored, pictures: int = 1) -> Carried:
    """Prepare a result and its image for a page. This is slow: call it in a thread.

    The image is kept at its own size, as JPEG without metadata, as long as 24 MB hold all images of the page. Of its
    source only the file's name is kept.

    Args:
        stored: The result with its image.
        pictures: The number of images on the page.

    Raises:
        ImageError: The image is damaged.
    """
    from dinox_mcp.drawing.encode import fit_bytes

    budget = min(_MOST_BYTES, _ALL_BYTES // pictures)
    data, mime_type, _ = fit_bytes(stored.picture.rgb(_MAX_SIDE), budget)
    return {
        "result": _result(stored.result, stored.picture),
        "picture": base64.b64encode(data).decode("ascii"),
        "type": mime_type,
    }


def carry_video(result: VideoResult, sheet: bytes) -> Carried:
    """Prepare the result of a video for a page; `sheet` is its contact sheet as JPEG."""
    shown = result.model_dump(mode="json", exclude={"request", "files"}, exclude_none=True)
    shown["video"]["source"] = _name(result.video.source)
    return {"result": shown, "picture": base64.b64encode(sheet).decode("ascii"), "type": "image/jpeg"}


def standalone(results: Sequence[Carried]) -> str:
    """Return a page that shows `results` in their order."""
    # Text that was read in an image may contain "</script>".
    data = json.dumps({"results": results}).replace("<", "\\u003c")
    script = f'<script type="application/json" id="dinox-data">{data}</script>'
    page = FILE.read_text(encoding="utf-8")
    page = page.replace("<head>", f'<head>\n<meta http-equiv="Content-Security-Policy" content="{_policy(page)}">', 1)
    return page.replace("<script>", f"{script}\n<script>", 1)


def _result(result: DetectionResult, picture: Picture) -> dict[str, Any]:
    """Return the parts of a result that the page shows; not the request, which may name other images."""
    shown = result.model_dump(mode="json", exclude={"request"}, exclude_none=True)
    shown["image"]["source"] = _name(picture.source)
    for dumped, found in zip(shown["objects"], result.objects, strict=True):
        if found.mask:
            from dinox_mcp.types import masks

            dumped["mask_area"] = masks.area(found.mask)
    return shown


def _name(source: str) -> str:
    return "" if source.startswith("data:") else re.split(r"[/\\]", source.split("?", maxsplit=1)[0])[-1]


def _policy(page: str) -> str:
    """Return a policy that allows the page's own script and style by their hashes, and no request to leave it."""
    allowed = {
        kind: f"'sha256-{base64.b64encode(sha256(match[1].encode()).digest()).decode()}'"
        for kind in ("script", "style")
        if (match := re.search(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL))
    }
    return (
        f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']}; "
        "base-uri 'none'; form-action 'none'"
    )
