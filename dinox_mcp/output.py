"""Files written for the user: annotated pictures in the folder that the settings name, or where the command says."""

import re
from collections.abc import Sequence
from pathlib import Path

from dinox_mcp import views
from dinox_mcp.drawing.style import Style
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.images.picture import Picture
from dinox_mcp.schema import DetectedObject

_TYPES = {".jpg": views.JPEG, ".jpeg": views.JPEG, ".png": views.PNG}


def stem_of(source: str) -> str:
    """Make a file name, without ending, of where a picture came from."""
    stem = "" if source.startswith("data:") else Path(source.split("?", maxsplit=1)[0]).stem
    return re.sub(r"[^\w-]+", "-", stem).strip("-")[:60] or "picture"


def save_annotated(folder: Path, picture: Picture, objects: Sequence[DetectedObject], style: Style) -> Path:
    """Draw objects at full size into a new file of a folder, named after the picture; nothing is overwritten.

    Raises:
        SettingsError: the folder cannot be written.
    """
    stem = stem_of(picture.source)
    data = views.annotated_file(picture, objects, style)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            path = folder / f"{stem}-annotated{'' if number == 1 else f'-{number}'}.jpg"
            try:
                with path.open("xb") as file:
                    file.write(data)
            except FileExistsError:
                continue
            return path.resolve()
    except OSError as error:
        raise SettingsError(
            f"IMAGE_STORAGE_DIRECTORY: cannot write into {folder} ({error.strerror}); choose another folder"
        ) from None
    raise SettingsError(f"IMAGE_STORAGE_DIRECTORY: {folder} is full of pictures named {stem}; tidy it up")


def write_annotated(path: Path, picture: Picture, objects: Sequence[DetectedObject], style: Style) -> Path:
    """Draw objects at full size into a file, as JPEG or PNG by its ending.

    Raises:
        InputError: the ending is neither, or the file cannot be written.
    """
    mime_type = _TYPES.get(path.suffix.lower())
    if mime_type is None:
        raise InputError(f"cannot write {path.name!r}: name it .jpg or .png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(views.annotated_file(picture, objects, style, mime_type))
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}); choose another place") from None
    return path
