"""The page as a file: one HTML document that carries results and their pictures and asks nobody for anything."""

import base64
import json
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from dinox_mcp.images.picture import Picture
from dinox_mcp.schema import DetectionResult
from dinox_mcp.store import Stored
from dinox_mcp.video.schema import VideoResult

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
            from dinox_mcp import masks

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
