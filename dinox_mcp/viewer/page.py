"""The page as a file: one HTML document that carries results and their pictures and asks nobody."""

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


FILE = Path(__file__).with_name("viewer.html")
"""The page without data, as `viewer/build.mjs` builds it."""

MAX_PICTURES = 200
"""As many as a page shows: each has at least 120 KB, and a browser holds them all."""

_ALL_BYTES = 24_000_000
_MOST_BYTES = 10_000_000
_MAX_SIDE = 8192  # what browsers can still draw

Carried = dict[str, Any]


def carry(stored: Stored, pictures: int = 1) -> Carried:
    """Make a result and its picture ready for a page of so many pictures; slow: call it in a thread.

    The picture goes in at its own size as JPEG without metadata, as far as 24 MB hold them all. Of where it came from,
    only the file's name goes in.

    Raises:
        ImageError: the picture is damaged.
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
    """Make an answer about a video ready for a page, with its contact sheet, a JPEG."""
    shown = result.model_dump(mode="json", exclude={"request", "files"}, exclude_none=True)
    shown["video"]["source"] = _name(result.video.source)
    return {"result": shown, "picture": base64.b64encode(sheet).decode("ascii"), "type": "image/jpeg"}


def standalone(results: Sequence[Carried]) -> str:
    """Write a page that shows `results`, the first one first."""
    # What stands in a picture may be written to end the script that carries it.
    data = json.dumps({"results": results}).replace("<", "\\u003c")
    script = f'<script type="application/json" id="dinox-data">{data}</script>'
    page = FILE.read_text(encoding="utf-8")
    page = page.replace("<head>", f'<head>\n<meta http-equiv="Content-Security-Policy" content="{_policy(page)}">', 1)
    return page.replace("<script>", f"{script}\n<script>", 1)


def _result(result: DetectionResult, picture: Picture) -> dict[str, Any]:
    """Give what the page shows of a result; the question stays here, as it may hold others' pictures."""
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
    """Allow the page's own script and style by their hashes, and nothing else: no request can leave."""
    allowed = {
        kind: f"'sha256-{base64.b64encode(sha256(match[1].encode()).digest()).decode()}'"
        for kind in ("script", "style")
        if (match := re.search(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL))
    }
    return (
        f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']}; "
        "base-uri 'none'; form-action 'none'"
    )
