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
from dinox_mcp.errors import DinoxError, SettingsError
from dinox_mcp.install.files import Machine
from dinox_mcp.settings import Settings, environment_name, unknown_variables

_PACKAGES = ("mcp", "pydantic", "numpy", "opencv-python-headless", "onnxruntime", "rapidocr", "zxing-cpp", "pillow")
_OWN = {"dinox", "embedded", "local"}


def check(machine: Machine) -> Iterator[Check]:
    """Say which Python this is, with which packages, and whether uvx is here."""
    area = "Python"
    yield Check(area, "version", "ok", f"{platform.python_version()}, {sys.executable}")
    yield Check(area, "platform", "ok", platform.platform())
    found = {name: _version(name) for name in _PACKAGES}
    missing = [name for name, number in found.items() if number is None]
    said = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    if missing:
        remedy = "reinstall: pip install --force-reinstall dinox-mcp"
        yield Check(area, "packages", "problem", f"missing: {', '.join(missing)}", remedy)
    else:
        yield Check(area, "packages", "ok", said)
    if video := _version("av"):
        yield Check(area, "video", "ok", f"av {video}")
    else:
        yield Check(area, "video", "note", "not installed", "for videos: pip install 'dinox-mcp[video]'")
    uvx = machine.which("uvx")
    yield Check(area, "uvx", "ok" if uvx else "note", uvx or "not found; hosts are given this Python's program")


def load() -> tuple[Settings, list[Check]]:
    """Read the settings; with wrong ones the rest is looked at with the defaults."""
    checks = [Check("Settings", "variables", "problem", line, "correct the name") for line in unknown_variables()]
    try:
        settings = Settings.load()
        if settings.backend != "auto":
            registry.find(settings.backend)
    except SettingsError as error:
        checks.append(Check("Settings", "options", "problem", str(error), "correct this environment variable"))
        return Settings.model_construct(), checks
    given = ", ".join(sorted(settings.model_fields_set))
    return settings, [*checks, Check("Settings", "options", "ok", f"set: {given}" if given else "all as by default")]


def backends(settings: Settings) -> Iterator[Check]:
    """Say which backends answer, what the others lack, and which plug-ins do not load."""
    known = registry.Backends(settings)
    if known.auto:
        yield Check(
            "Backends", "chosen", "ok", f"{', '.join(known.ready())} (auto: the best of them for each question)"
        )
        for name, unready in known.unready().items():
            yield Check("Backends", name, "note", "cannot answer yet", unready.remedy)
    else:
        yield Check("Backends", "chosen", "ok", f"{known.choose()} (as set)")
    for plugin in sorted(set(known.names()) - _OWN):
        try:
            known.get(plugin)
        except DinoxError as error:
            yield Check("Backends", plugin, "problem", str(error), "reinstall or remove this plug-in")
        else:
            yield Check("Backends", plugin, "ok", "a plug-in that loads")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


_FOLDERS = "Folders"
_LITTLE = 1e9
_NOTHING = 50e6
_GB = 1e9


def check_folders(settings: Settings) -> Iterator[Check]:
    """Look at the folders of pictures, saved prompts, caches and temporary files."""
    if settings.output_folder is None:
        variable = environment_name("output_folder")
        yield Check(_FOLDERS, "pictures", "note", f"not saved at full size; {variable} names a folder for them")
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
            return Check(_FOLDERS, name, "problem", f"{there} is no folder", remedy)
        if there == folder:
            with tempfile.TemporaryFile(dir=folder):
                pass
        elif not os.access(there, os.W_OK):
            return Check(_FOLDERS, name, "problem", f"{folder} cannot be made: {there} is not writable", remedy)
        free = shutil.disk_usage(there).free
    except OSError as error:
        return Check(_FOLDERS, name, "problem", f"{folder} cannot be written ({error.strerror})", remedy)
    room = f"{folder}, {free / _GB:.1f} GB free"
    if free < _NOTHING:
        return Check(_FOLDERS, name, "problem", room, remedy)
    return Check(_FOLDERS, name, "note" if free < _LITTLE else "ok", room, remedy if free < _LITTLE else None)
