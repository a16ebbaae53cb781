"""The folders that are written to: whether they can be, and how much room there is."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

from dinox_mcp.doctor.report import Check
from dinox_mcp.settings import Settings, environment_name

_AREA = "Folders"
_LITTLE = 1e9
_NOTHING = 50e6
_GB = 1e9


def check(settings: Settings) -> Iterator[Check]:
    """Look at the folders of pictures, saved prompts, caches and temporary files."""
    if settings.output_folder is None:
        variable = environment_name("output_folder")
        yield Check(_AREA, "pictures", "note", f"not saved at full size; {variable} names a folder for them")
    else:
        yield _look("pictures", settings.output_folder, f"set {environment_name('output_folder')} to another folder")
    prompts = settings.prompts_folder or user_data_path("dinox-mcp") / "prompts"
    yield _look("saved prompts", prompts, f"set {environment_name('prompts_folder')} to another folder")
    yield _look("cache", user_cache_path("dinox-mcp"), "free some room, or set XDG_CACHE_HOME to another folder")
    yield _look("temporary", Path(tempfile.gettempdir()), "free some room, or set TMPDIR to another folder")


def _look(name: str, folder: Path, remedy: str) -> Check:
    """See whether a folder, or the one that it will be made in, can be written."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    try:
        if not there.is_dir():
            return Check(_AREA, name, "problem", f"{there} is no folder", remedy)
        if there == folder:
            with tempfile.TemporaryFile(dir=folder):
                pass
        elif not os.access(there, os.W_OK):
            return Check(_AREA, name, "problem", f"{folder} cannot be made: {there} is not writable", remedy)
        free = shutil.disk_usage(there).free
    except OSError as error:
        return Check(_AREA, name, "problem", f"{folder} cannot be written ({error.strerror})", remedy)
    room = f"{folder}, {free / _GB:.1f} GB free"
    if free < _NOTHING:
        return Check(_AREA, name, "problem", room, remedy)
    return Check(_AREA, name, "note" if free < _LITTLE else "ok", room, remedy if free < _LITTLE else None)
