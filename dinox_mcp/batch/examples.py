"""The images of a job's examples, kept beside its journal, as those of results are gone after a restart."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dinox_mcp.batch.journal import REMEDY
from dinox_mcp.detect.visual_prompts import MAX_PICTURES_BYTES
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.images.picture import Picture
from dinox_mcp.store.files import open_regular, write_atomically

_EXAMPLE = "example-"
_PRIVATE = 0o600


def save_images(folder: Path, images: Mapping[str, Picture], remedy: str = REMEDY) -> None:
    """Keep the images of examples; `remedy` is what to do where they cannot be written.

    Raises:
        SettingsError: they cannot be written.
    """
    for digest, image in images.items():
        path = folder / f"{_EXAMPLE}{digest}"
        try:
            if not path.exists():
                write_atomically(path, image.data, _PRIVATE)
        except OSError as error:
            raise SettingsError(f"an example cannot be kept in {folder} ({error.strerror}); {remedy}") from None


def load_images(folder: Path, max_pixels: int) -> dict[str, Picture]:
    """Load the images of examples; those that are damaged are left out."""
    images = {}
    for path in folder.glob(f"{_EXAMPLE}*"):
        with suppress(OSError, InputError), open_regular(path) as file:
            image = Picture.from_bytes(file.read(MAX_PICTURES_BYTES), "an example", max_pixels=max_pixels)
            images[path.name.removeprefix(_EXAMPLE)] = image
    return images
