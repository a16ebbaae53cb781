"""Pages on disk: where the command line says, or in a temporary folder, opened in the person's browser."""

import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from dinox_mcp.errors import InputError
from dinox_mcp.output import stem_of
from dinox_mcp.store import Stored
from dinox_mcp.viewer.page import standalone


def write_page(path: Path, results: Sequence[Stored]) -> Path:
    """Write a page that shows `results` into a file; what was there is replaced.

    Raises:
        InputError: the name does not end in .html, or the file cannot be written.
        ImageError: a picture is damaged.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"cannot write {path.name!r}: name the page .html")
    page = standalone(results)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}); choose another place") from None
    return path


def temporary_page(results: Sequence[Stored]) -> Path:
    """Write a page that shows `results` where only this user can read it, named after the first picture.

    Raises:
        InputError: there is no room for it.
        ImageError: a picture is damaged.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="dinox-"))
    except OSError as error:
        raise InputError(f"cannot write a temporary file ({error.strerror}); use --html FILE") from None
    return write_page(folder / f"{stem_of(results[0].picture.source)}.html", results)


def open_page(path: Path) -> bool:
    """Open a page in the person's browser; False where there is none."""
    try:
        return webbrowser.open(path.resolve().as_uri())
    except webbrowser.Error:
        return False
