"""Files written for the user: annotated pictures in the folder that the settings name, or where the command says."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from dinox_mcp.drawing import views
from dinox_mcp.drawing.style import Style
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.images.picture import Picture
from dinox_mcp.store.files import write_whole
from dinox_mcp.types.detection import DetectedObject

WRITABLE = {".jpg": views.JPEG, ".jpeg": views.JPEG, ".png": views.PNG}


def stem_of(source: str) -> str:
    """Make a file name, without ending, of where a picture came from."""
    stem = "" if source.startswith("data:") else Path(source.split("?", maxsplit=1)[0]).stem
    return re.sub(r"[^\w-]+", "-", stem).strip("-")[:60] or "picture"


def tag_of(picture: Picture, objects: Sequence[DetectedObject], style: Style) -> str:
    """Name a drawing: the same objects drawn the same way on the same picture have the same tag."""
    drawn = [picture.digest, repr(style), *(found.model_dump_json() for found in objects)]
    return hashlib.sha256("\n".join(drawn).encode()).hexdigest()[:12]


def save_annotated(
    folder: Path, picture: Picture, objects: Sequence[DetectedObject], style: Style, tag: str = "annotated"
) -> Path:
    """Draw objects at full size into a file of a folder, named after the picture and `tag`.

    A drawing of that name is replaced: the tag tells apart what must be kept apart.

    Raises:
        SettingsError: the folder cannot be written.
    """
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
    """Draw objects at full size into a file, as JPEG or PNG by its ending; what was there is replaced.

    Raises:
        InputError: the ending is neither, or the file cannot be written.
    """
    mime_type = WRITABLE.get(path.suffix.lower())
    if mime_type is None:
        raise InputError(f"cannot write {path.name!r}: name it .jpg or .png")
    data = views.annotated_file(picture, objects, style, mime_type)
    try:
        _write(path, data)
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}); choose another place") from None
    return path


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)
