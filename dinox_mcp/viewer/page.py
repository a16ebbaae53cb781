"""The page that shows results: one HTML document that holds them and their images, and loads nothing."""

import base64
import json
import re
import tempfile
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from dinox_mcp.compare.comparison import Comparison
from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.images.picture import Picture
from dinox_mcp.store.files import write_atomically
from dinox_mcp.store.results import Stored
from dinox_mcp.types.detection import DetectionResult
from dinox_mcp.types.video import VideoResult

URI = "ui://dinox/viewer.html"  # the page as a resource of the server
FILE = Path(__file__).with_name("viewer.html")  # the page without data, as `viewer/build.mjs` builds it
MAX_PICTURES = 200  # of a page: each gets at least 120 KB, and a browser holds them all
_ALL_BYTES = 24_000_000
_MOST_BYTES = 10_000_000
_MAX_SIDE = 8192  # what browsers can still draw
Carried = dict[str, Any]
_REGION = re.compile(r"\d{1,7}(_\d{1,7}){3}", re.ASCII)


def preview(picture: Picture, max_side: int, max_bytes: int) -> bytes:
    """Encode an image as JPEG, its long side at most `max_side` pixels, in at most `max_bytes`."""
    from dinox_mcp.drawing.views import fit_bytes

    return fit_bytes(picture.rgb(max_side), max_bytes)[0]


def region(picture: Picture, written: str, max_side: int, max_bytes: int) -> bytes:
    """Encode a part of an image within the same limits, `written` as four whole numbers joined by underscores.

    Raises:
        InputError: this is not a region, or it is empty or reaches out of the image.
    """
    from dinox_mcp.drawing.views import fit_bytes

    if not _REGION.fullmatch(written):
        raise InputError(
            f"{written[:40]!r} is not a region; give x_min_y_min_x_max_y_max in pixels, as in 10_20_300_400"
        )
    x1, y1, x2, y2 = map(int, written.split("_"))
    if not (x1 < x2 <= picture.width and y1 < y2 <= picture.height):
        raise InputError(
            f"the region {written} is not a part of the {picture.width}x{picture.height} image; give "
            "x_min_y_min_x_max_y_max in its pixels"
        )
    return fit_bytes(picture.rgb().crop((x1, y1, x2, y2)), max_bytes, max_side)[0]


def carry(stored: Stored, images: int = 1) -> Carried:
    """Prepare a result and its image for a page. Slow: call it in a thread.

    The image is kept at its own size, as JPEG without metadata, as long as 24 MB hold all `images` of the page. Of its
    source only the file's name is kept.

    Raises:
        ImageError: the image is damaged.
    """
    shown = stored.result.model_dump(mode="json", exclude={"request"}, exclude_none=True)  # it may name other images
    shown["image"]["source"] = _name(stored.picture.source)
    for dumped, found in zip(shown["objects"], stored.result.objects, strict=True):
        if found.mask:
            from dinox_mcp.types import masks

            dumped["mask_area"] = masks.area(found.mask)
    return _carried(shown, preview(stored.picture, _MAX_SIDE, min(_MOST_BYTES, _ALL_BYTES // images)))


def carry_video(result: VideoResult, sheet: bytes) -> Carried:
    """Prepare the result of a video for a page; `sheet` is its contact sheet as JPEG."""
    shown = result.model_dump(mode="json", exclude={"request", "files"}, exclude_none=True)
    shown["video"]["source"] = _name(result.video.source)
    return _carried(shown, sheet)


def _carried(shown: dict[str, Any], jpeg: bytes) -> Carried:
    return {"result": shown, "picture": base64.b64encode(jpeg).decode("ascii"), "type": "image/jpeg"}


def standalone(results: Sequence[Carried], comparison: Comparison | None = None) -> str:
    """Return a page that shows `results` in their order, or the comparison of two of them."""
    carried: dict[str, Any] = {"results": results}
    if comparison is not None:
        carried["comparison"] = _comparison(comparison)
    # Text that was read in an image may contain "</script>".
    data = json.dumps(carried).replace("<", "\\u003c")
    script = f'<script type="application/json" id="dinox-data">{data}</script>'
    page = FILE.read_text(encoding="utf-8")
    page = page.replace("<head>", f'<head>\n<meta http-equiv="Content-Security-Policy" content="{_policy(page)}">', 1)
    return page.replace("<script>", f"{script}\n<script>", 1)


def _comparison(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison for a page; of the images' sources only the files' names."""
    shown = comparison.model_dump(mode="json", exclude_none=True)
    for side in ("before", "after"):
        shown[side]["image"]["source"] = _name(shown[side]["image"]["source"])
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


class PageFile:
    """A page that is being made, and its file.

    Args:
        path: its path, None for a temporary file that only this user can read.
        images: the number of images that it will show.
        opens: whether to open it in a browser.

    Raises:
        SettingsError: the name does not end in .html, or there are too many images for a page.
    """

    def __init__(self, path: Path | None, images: int, *, opens: bool) -> None:
        if path is not None and path.suffix.lower() not in (".html", ".htm"):
            raise SettingsError(f"--html {path.name!r} is not a page; name it .html")
        if images > MAX_PICTURES:
            raise SettingsError(f"{images} images are too many for a page; name at most {MAX_PICTURES}")
        self._path = path
        self._images = images
        self._opens = opens
        self._carried: list[Carried] = []
        self._comparison: Comparison | None = None

    async def add(self, detector: Detector, result: DetectionResult) -> None:
        """Add a result with its image.

        Raises:
            ImageError: the image is damaged.
        """
        stored = await detector.fetch(result.result_id)
        self._carried.append(await detector.draw(partial(carry, stored, self._images)))

    async def add_comparison(self, detector: Detector, comparison: Comparison) -> None:
        """Add a comparison with its two images; the page then shows nothing else.

        Raises:
            ImageError: an image is damaged.
        """
        for side in (comparison.before, comparison.after):
            await self.add(detector, (await detector.fetch(side.result_id)).result)
        self._comparison = comparison

    def add_video(self, result: VideoResult) -> None:
        """Add the result of a video with its contact sheet.

        Raises:
            InputError: there is no contact sheet, or it cannot be read.
        """
        if result.files.sheet is None:
            raise InputError(f"{result.video.source} has no contact sheet to show on a page; name a folder with --out")
        try:
            sheet = Path(result.files.sheet).read_bytes()
        except OSError as error:
            raise InputError(
                f"cannot read the contact sheet {result.files.sheet} ({error.strerror}); run the command again"
            ) from None
        self._carried.append(carry_video(result, sheet))

    def finish(self) -> str:
        """Write the page, and open it in a browser if requested.

        Returns:
            A line with the page's path; an empty text where nothing was added, and so nothing written.

        Raises:
            InputError: the page cannot be written.
        """
        if not self._carried:
            return ""
        path = self._path or _temporary("comparison.html" if self._comparison else "detection.html")
        write_page(path, self._carried, self._comparison)
        if self._opens and not _open(path):
            return f"page: {path} (no browser could be started: open it yourself)"
        return f"page: {path}"


def _temporary(name: str) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="dinox-")) / name
    except OSError as error:
        raise InputError(f"cannot write a temporary file ({error.strerror}); use --html FILE") from None


def write_page(path: Path, results: Sequence[Carried], comparison: Comparison | None = None) -> None:
    """Write a page that shows `results`, or the comparison of two of them, to a file.

    An existing file, or a link, is replaced.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, standalone(results, comparison).encode())
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}); choose another path") from None


def _open(path: Path) -> bool:
    import webbrowser

    try:
        return webbrowser.open(path.resolve().as_uri())
    except webbrowser.Error:
        return False
