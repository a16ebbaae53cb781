"""Pages as files: at the path that the command line names or in a temporary folder, opened in a browser."""

import os
import tempfile
import webbrowser
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.store.files import write_atomically
from dinox_mcp.types.detection import DetectionResult
from dinox_mcp.types.video import VideoResult
from dinox_mcp.viewer.page import MAX_PICTURES, Carried, carry, carry_video, standalone


def begin_page(html: str | None, pictures: int, *, opens: bool) -> "PageFile | None":
    """Begin the page that --html and --open request; return None where neither does.

    Args:
        html: The path of the page, None for a temporary file.
        pictures: The number of images that the page will show.
        opens: Whether to open it in a browser.

    Raises:
        SettingsError: The name does not end in .html, or there are too many images for a page.
    """
    if html is None and not opens:
        return None
    path = None if html is None else Path(os.path.expanduser(html))  # noqa: PTH111 - raises where a home is unknown
    return PageFile(path, pictures, opens=opens)


class PageFile:
    """A page that is being made.

    Args:
        path: Its path, None for a temporary file that only this user can read.
        pictures: The number of images that it will show.
        opens: Whether to open it in a browser.

    Raises:
        SettingsError: The name does not end in .html, or there are too many images for a page.
    """

    def __init__(self, path: Path | None, pictures: int, *, opens: bool) -> None:
        if path is not None and path.suffix.lower() not in (".html", ".htm"):
            raise SettingsError(f"--html {path.name!r} is not a page; name it .html")
        if pictures > MAX_PICTURES:
            raise SettingsError(f"{pictures} images are too many for a page; name at most {MAX_PICTURES}")
        self._path = path
        self._pictures = pictures
        self._opens = opens
        self._carried: list[Carried] = []

    async def add(self, detector: Detector, result: DetectionResult) -> None:
        """Add a result with its image.

        Raises:
            ImageError: The image is damaged.
        """
        stored = detector.result(result.result_id)
        self._carried.append(await detector.draw(partial(carry, stored, self._pictures)))

    def add_video(self, result: VideoResult) -> None:
        """Add the result of a video with its contact sheet.

        Raises:
            InputError: There is no contact sheet, or it cannot be read.
        """
        if result.files.sheet is None:
            raise InputError(f"{result.video.source} has no contact sheet to show on a page; name a folder with --out")
        try:
            sheet = Path(result.files.sheet).read_bytes()
        except OSError as error:
            raise InputError(f"cannot read the contact sheet {result.files.sheet} ({error.strerror})") from None
        self._carried.append(carry_video(result, sheet))

    def finish(self) -> str:
        """Write the page, and open it in a browser if requested.

        Returns:
            A line with the page's path; an empty text where nothing was added, and so nothing written.

        Raises:
            InputError: The page cannot be written.
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
    """Write a page that shows `results` to a file. An existing file, or a link, is replaced.

    Raises:
        InputError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, standalone(results).encode())
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}); choose another path") from None


def open_page(path: Path) -> bool:
    """Open a page in the default browser; return False where there is none."""
    try:
        return webbrowser.open(path.resolve().as_uri())
    except webbrowser.Error:
        return False
