"""Pages on disk: where the command line says, or in a temporary folder, opened in the person's browser."""

import os
import tempfile
import webbrowser
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.store.files import write_whole
from dinox_mcp.types.detection import DetectionResult
from dinox_mcp.types.video import VideoResult
from dinox_mcp.viewer.page import MAX_PICTURES, Carried, carry, carry_video, standalone


def begin_page(html: str | None, pictures: int, *, opens: bool) -> "PageFile | None":
    """Begin the page that the command line asks for with --html and --open, if it does.

    Raises:
        SettingsError: the name does not end in .html, or there are too many pictures for a page.
    """
    if html is None and not opens:
        return None
    path = None if html is None else Path(os.path.expanduser(html))  # noqa: PTH111 - raises where a home is unknown
    return PageFile(path, pictures, opens=opens)


class PageFile:
    """A page that is being written: at `path`, or where only this user can read it; `opens` shows it in a browser.

    Raises:
        SettingsError: the name does not end in .html, or there are too many pictures for a page.
    """

    def __init__(self, path: Path | None, pictures: int, *, opens: bool) -> None:
        if path is not None and path.suffix.lower() not in (".html", ".htm"):
            raise SettingsError(f"--html {path.name!r} is no page; name it .html")
        if pictures > MAX_PICTURES:
            raise SettingsError(f"{pictures} pictures are too many for a page; name at most {MAX_PICTURES}")
        self._path = path
        self._pictures = pictures
        self._opens = opens
        self._carried: list[Carried] = []

    async def add(self, detector: Detector, result: DetectionResult) -> None:
        """Take a result and its picture along.

        Raises:
            ImageError: the picture is damaged.
        """
        stored = detector.result(result.result_id)
        self._carried.append(await detector.draw(partial(carry, stored, self._pictures)))

    def add_video(self, result: VideoResult) -> None:
        """Take an answer about a video along, with its contact sheet.

        Raises:
            InputError: there is no contact sheet.
        """
        if result.files.sheet is None:
            raise InputError(f"{result.video.source} has no contact sheet to show on a page; name a folder with --out")
        try:
            sheet = Path(result.files.sheet).read_bytes()
        except OSError as error:
            raise InputError(f"cannot read the contact sheet {result.files.sheet} ({error.strerror})") from None
        self._carried.append(carry_video(result, sheet))

    def finish(self) -> str:
        """Write the page and open it where that is wanted; says where it is, or nothing where nothing was added.

        Raises:
            InputError: it cannot be written.
        """
        if not self._carried:
            return ""
        try:
            path = self._path or Path(tempfile.mkdtemp(prefix="dinox-")) / "detection.html"
        except OSError as error:
            raise InputError(f"cannot write a temporary file ({error.strerror}); use --html FILE") from None
        write_page(path, self._carried)
        if self._opens and not open_page(path):
            return f"page: {path} (no browser could be started: open it yourself)"
        return f"page: {path}"


def write_page(path: Path, results: Sequence[Carried]) -> None:
    """Write a page that shows `results` into a file; what was there is replaced, also where that was a link.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, standalone(results).encode())
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}); choose another place") from None


def open_page(path: Path) -> bool:
    """Open a page in the person's browser; False where there is none."""
    try:
        return webbrowser.open(path.resolve().as_uri())
    except webbrowser.Error:
        return False
