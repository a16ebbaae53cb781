"""Python, the packages, the settings, and the folders that are written to."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

from dinox_mcp.backends import registry
from dinox_mcp.doctor.report import Check
from dinox_mcp.errors import SettingsError
from dinox_mcp.install.files import Machine
from dinox_mcp.install.launch import extras_command
from dinox_mcp.settings import Settings, environment_name, unknown_variables

REINSTALL = "reinstall dinox-mcp: pip install --force-reinstall"
_PACKAGES = ("mcp", "pydantic", "numpy", "opencv-python-headless", "onnxruntime", "rapidocr", "zxing-cpp", "pillow")


def check_python(machine: Machine) -> Iterator[Check]:
    """Check Python and its packages, and whether uvx is here."""
    area = "Python"
    yield Check(area, "version", "ok", f"{platform.python_version()}, {sys.executable}")
    yield Check(area, "platform", "ok", platform.platform())
    found = {name: _version(name) for name in _PACKAGES}
    missing = [name for name, number in found.items() if number is None]
    installed = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    if missing:
        yield Check(area, "packages", "problem", f"missing: {', '.join(missing)}", REINSTALL)
    else:
        yield Check(area, "packages", "ok", installed)
    if video := _version("av"):
        yield Check(area, "video", "ok", f"av {video}")
    else:
        yield Check(area, "video", "note", "not installed", f"for videos: {extras_command(machine, ['video'])}")
    uvx = machine.which("uvx")
    yield Check(area, "uvx", "ok" if uvx else "note", uvx or "not found; install writes the path of this program")


def load_settings() -> tuple[Settings, list[Check]]:
    """Read and check the settings; where one is wrong, the other checks use the defaults."""
    checks = [Check("Settings", "variables", "problem", line, "correct the name") for line in unknown_variables()]
    try:
        settings = Settings.load()
        if settings.backend != "auto":
            registry.find(settings.backend)
    except SettingsError as error:
        checks.append(Check("Settings", "options", "problem", str(error), "correct this environment variable"))
        return Settings.model_construct(), checks
    given = ", ".join(sorted(settings.model_fields_set))
    return settings, [
        *checks,
        Check("Settings", "options", "ok", f"set: {given}" if given else "all have their defaults"),
    ]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


_FOLDERS = "Folders"
_LITTLE_BYTES = 1e9
_TOO_LITTLE_BYTES = 50e6
_GB = 1e9


def check_folders(settings: Settings) -> Iterator[Check]:
    """Check the folders of images, saved prompts, caches and temporary files."""
    if settings.output_folder is None:
        variable = environment_name("output_folder")
        yield Check(_FOLDERS, "images", "note", f"not saved at full size; {variable} names a folder for them")
    else:
        yield _check_folder(
            "images", settings.output_folder, f"set {environment_name('output_folder')} to another folder"
        )
    prompts = settings.prompts_folder or user_data_path("dinox-mcp") / "prompts"
    yield _check_folder("saved prompts", prompts, f"set {environment_name('prompts_folder')} to another folder")
    yield _check_folder(
        "cache", user_cache_path("dinox-mcp"), "free some space, or set XDG_CACHE_HOME to another folder"
    )
    yield _check_folder("temporary", Path(tempfile.gettempdir()), "free some space, or set TMPDIR to another folder")


def _check_folder(name: str, folder: Path, remedy: str) -> Check:
    """Check whether a folder, or the one that it will be created in, can be written, and the free space."""
    existing = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    try:
        if not existing.is_dir():
            return Check(_FOLDERS, name, "problem", f"{existing} is not a folder", remedy)
        if existing == folder:
            with tempfile.TemporaryFile(dir=folder):
                pass
        elif not os.access(existing, os.W_OK):
            return Check(_FOLDERS, name, "problem", f"{folder} cannot be created: {existing} is not writable", remedy)
        free = shutil.disk_usage(existing).free
    except OSError as error:
        return Check(_FOLDERS, name, "problem", f"{folder} cannot be written ({error.strerror})", remedy)
    space = f"{folder}, {free / _GB:.1f} GB free"
    if free < _TOO_LITTLE_BYTES:
        return Check(_FOLDERS, name, "problem", space, remedy)
    return Check(
        _FOLDERS, name, "note" if free < _LITTLE_BYTES else "ok", space, remedy if free < _LITTLE_BYTES else None
    )
