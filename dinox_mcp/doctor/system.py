"""Checks of Python, the packages, the settings, the folders that are written to, and the hosts."""

import os
import platform
import shlex
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path

from platformdirs import user_cache_path, user_data_path
from pydantic import SecretStr

from dinox_mcp.backends import registry
from dinox_mcp.doctor.report import Check
from dinox_mcp.errors import DinoxError, SettingsError
from dinox_mcp.install import launch
from dinox_mcp.install.hosts import HOSTS, KEY, Entry, Host
from dinox_mcp.install.launch import Machine
from dinox_mcp.install.setup import entries, holds_key, unreadable, variables
from dinox_mcp.settings import Settings, environment_name, unknown_variables
from dinox_mcp.types.extras import extras_command

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
        yield Check(
            area, "video", "note", "not installed", f"for videos: {extras_command(['video'], python=machine.python)}"
        )
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
    images, prompts = (
        f"set {environment_name(name)} to another folder" for name in ("output_folder", "prompts_folder")
    )
    if settings.output_folder is None:
        finding = f"not saved at full size; {environment_name('output_folder')} names a folder for them"
        yield Check(_FOLDERS, "images", "note", finding)
    else:
        yield _check_folder("images", settings.output_folder, images)
    saved = settings.prompts_folder or user_data_path("dinox-mcp") / "prompts"
    yield _check_folder("saved prompts", saved, prompts)
    space = "free some space, or set {} to another folder"
    yield _check_folder("cache", user_cache_path("dinox-mcp"), space.format("XDG_CACHE_HOME"))
    yield _check_folder("temporary", Path(tempfile.gettempdir()), space.format("TMPDIR"))


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
    scarce = free < _LITTLE_BYTES
    return Check(_FOLDERS, name, "note" if scarce else "ok", space, remedy if scarce else None)


_HOSTS = "Hosts"
_BASE_URL = environment_name("api_base_url")


def check_hosts(machine: Machine) -> Iterator[Check]:
    """Check whether each host here, and the project in the working folder, is set up and can start the server."""
    none = True
    for host in HOSTS.values():
        for project in (False, True):
            if _has_project(host, machine) if project else host.found(machine):
                none = False
                yield from _check_host(host, machine, project=project)
    if none:
        yield Check(_HOSTS, "hosts", "note", "none found here", "dinox-mcp install HOST sets one up anyway")


def host_keys(machine: Machine, base_url: str) -> dict[str, SecretStr]:
    """Return the keys in the files of hosts, by the hosts' names, except those for another service."""
    found = {}
    for host in HOSTS.values():
        with suppress(DinoxError):
            for entry in entries(host, machine).values():
                if holds_key(entry) and variables(entry).get(_BASE_URL, base_url).rstrip("/") == base_url.rstrip("/"):
                    found[host.name] = SecretStr(variables(entry)[KEY])
    return found


def _has_project(host: Host, machine: Machine) -> bool:
    path = host.project(machine) if host.project else None
    return path is not None and path != host.user(machine) and path.exists()


def _check_host(host: Host, machine: Machine, *, project: bool) -> Iterator[Check]:
    path = host.path(machine, project=project)
    title = f"{host.name}{' (project)' if project else ''}"
    again = f"dinox-mcp install {host.name}{' --project' if project else ''}"
    try:
        found = entries(host, machine, project=project)
        odd = unreadable(host, machine, project=project)
    except DinoxError as error:
        finding, _, _ = str(error).partition("; ")
        yield Check(_HOSTS, title, "problem", finding, f"repair the file: {host.title} cannot read it either")
        return
    if odd:
        remedy = again if "byte order mark" in odd else "remove that, and all else of its kind"
        yield Check(_HOSTS, title, "problem", f"{path}, {odd}, nor anything else of the file", remedy)
    if not found and not project:
        yield Check(_HOSTS, title, "note", f"not set up in {path}", again)
    for name, entry in found.items():
        command = again if name == "dinox" else f"{again} --name {name}"
        yield _check_entry(title, name, entry, path, machine, command)


def _check_entry(title: str, name: str, entry: Entry, path: Path, machine: Machine, again: str) -> Check:
    """Check an entry, and report the first problem; `again` is the command that writes the entry anew."""
    command, *arguments = launch.command_of(entry)
    env = variables(entry)
    known = {environment_name(field) for field in Settings.model_fields}
    wrong = [one for one in env if one.startswith("DINOX_") and one not in known]
    source = next((after for before, after in pairwise(arguments) if before == "--from"), "")
    if not _starts(command, machine):
        finding, remedy = f"{name} starts {command}, which is not there", again
    elif _is_path(source) and not Path(source.partition("[")[0]).exists():
        finding, remedy = f"{name} starts {source}, which is not there", again
    elif wrong:
        finding, remedy = f"{name} sets {wrong[0]}, which is not an option", f"correct or remove it in {path}"
    elif holds_key(entry) and machine.platform != "win32" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        finding, remedy = (
            f"{name}: others on this machine can read the key in {path}",
            f"chmod 600 {shlex.quote(str(path))}",
        )
    elif entry.get("disabled") is True or entry.get("enabled") is False:
        return Check(_HOSTS, title, "note", f"{name} is switched off in {path}", "switch it on in the host")
    else:
        key = "a key in the file" if holds_key(entry) else "a key from elsewhere" if env.get(KEY) else "no key"
        return Check(_HOSTS, title, "ok", f"{name} starts {' '.join([command, *arguments])}, with {key}")
    return Check(_HOSTS, title, "problem", finding, remedy)


def _starts(command: str, machine: Machine) -> bool:
    if _is_path(command):
        return Path(command).expanduser().is_file() and os.access(Path(command).expanduser(), os.X_OK)
    return machine.which(command) is not None


def _is_path(text: str) -> bool:
    return ("/" in text or "\\" in text) and "://" not in text
