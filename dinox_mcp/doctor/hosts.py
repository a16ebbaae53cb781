"""Checks of the hosts on this machine: whether they are set up, and whether the command that they start exists."""

import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from pydantic import SecretStr

from dinox_mcp.doctor.report import Check
from dinox_mcp.errors import DinoxError
from dinox_mcp.install import launch
from dinox_mcp.install.files import Machine
from dinox_mcp.install.hosts import HOSTS, KEY, Entry, Host
from dinox_mcp.install.setup import entries, holds_key, unreadable, variables
from dinox_mcp.settings import Settings, environment_name

_AREA = "Hosts"
_BASE_URL = environment_name("api_base_url")


def check(machine: Machine) -> Iterator[Check]:
    """Check every host that is found, and the project in the working folder."""
    none = True
    for host in HOSTS.values():
        for project in (False, True):
            if _in_project(host, machine) if project else host.found(machine):
                none = False
                yield from _check_host(host, machine, project=project)
    if none:
        yield Check(_AREA, "hosts", "note", "none found here", "dinox-mcp install HOST sets one up anyway")


def keys(machine: Machine, base_url: str) -> dict[str, SecretStr]:
    """Return the keys in the files of hosts, by the hosts' names, except those for another service."""
    found = {}
    for host in HOSTS.values():
        with suppress(DinoxError):
            for entry in entries(host, machine).values():
                if holds_key(entry) and variables(entry).get(_BASE_URL, base_url).rstrip("/") == base_url.rstrip("/"):
                    found[host.name] = SecretStr(variables(entry)[KEY])
    return found


def _in_project(host: Host, machine: Machine) -> bool:
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
        yield Check(_AREA, title, "problem", finding, f"repair the file: {host.title} cannot read it either")
        return
    if odd:
        remedy = again if "byte order mark" in odd else "remove that, and all else of its kind"
        yield Check(_AREA, title, "problem", f"{path}, {odd}, nor anything else of the file", remedy)
    if not found and not project:
        yield Check(_AREA, title, "note", f"not set up in {path}", again)
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
        return Check(_AREA, title, "note", f"{name} is switched off in {path}", "switch it on in the host")
    else:
        key = "a key in the file" if holds_key(entry) else "a key from elsewhere" if env.get(KEY) else "no key"
        return Check(_AREA, title, "ok", f"{name} starts {' '.join([command, *arguments])}, with {key}")
    return Check(_AREA, title, "problem", finding, remedy)


def _starts(command: str, machine: Machine) -> bool:
    """Return whether a program exists and can be run."""
    if _is_path(command):
        return Path(command).expanduser().is_file() and os.access(Path(command).expanduser(), os.X_OK)
    return machine.which(command) is not None


def _is_path(text: str) -> bool:
    return ("/" in text or "\\" in text) and "://" not in text
