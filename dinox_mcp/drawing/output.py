"""Writes annotated images into files: in the folder of the settings, or at a path that the user gives."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from dinox_mcp.drawing import views
from dinox_mcp.drawing.style import Style
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.images.picture import Picture
from dinox_mcp.store.files import write_atomically
from dinox_mcp.types.detection import DetectedObject

WRITABLE = {".jpg": views.JPEG, ".jpeg": views.JPEG, ".png": views.PNG}


def stem_of(source: str) -> str:
    """Make a file name, without its ending, from the source of an image."""
    path, fragment, page = source.partition("#page=")
    stem = "" if source.startswith("data:") else Path(path.split("?", maxsplit=1)[0]).stem + fragment + page
    return re.sub(r"[^\w-]+", "-", stem).strip("-")[:60] or "picture"


def save_annotated(folder: Path, picture: Picture, objects: Sequence[DetectedObject], style: Style) -> Path:
    """Draw objects at full size into a file in a folder, named after the source of the image and what is drawn.

    The same objects in the same style on the same image are one file.

    Raises:
        SettingsError: the folder cannot be written.
    """
    drawn = [picture.digest, repr(style), *(found.model_dump_json() for found in objects)]
    tag = hashlib.sha256("\n".join(drawn).encode()).hexdigest()[:12]
    path = folder / f"{stem_of(picture.source)}-{tag}.jpg"
    data = views.annotated_file(picture, objects, style)
    try:
        _write(path, data)
    except OSError as error:
        raise SettingsError(
            f"IMAGE_STORAGE_DIRECTORY: cannot write into {folder} ({error.strerror}); choose another folder"
        ) from None
    return path.resolve()


def write_annotated(
    path: Path,
    picture: Picture,
    objects: Sequence[DetectedObject],
    style: Style = Style(),  # noqa: B008 - frozen
) -> Path:
    """Draw objects at full size into a file, as JPEG or PNG by its ending; an existing file is replaced.

    Raises:
        InputError: the ending is another one, or the file cannot be written.
    """
    mime_type = WRITABLE.get(path.suffix.lower())
    if mime_type is None:
        raise InputError(f"cannot write {path.name!r}, which is neither JPEG nor PNG; name it .jpg or .png")
    return write_file(path, views.annotated_file(picture, objects, style, mime_type))


def write_file(path: Path, data: bytes) -> Path:
    """Write an encoded image into a file; an existing file is replaced.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        _write(path, data)
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}); choose another path") from None
    return path


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data)
