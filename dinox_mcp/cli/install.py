"""`dinox-mcp install`: set hosts up, or take them out, and say what comes next."""

import argparse
import contextlib
import getpass
import re
import sys
from collections.abc import Callable, Sequence

from dinox_mcp.cli import terminal
from dinox_mcp.errors import DinoxError, SettingsError
from dinox_mcp.install import launch as launching
from dinox_mcp.install.files import Machine
from dinox_mcp.install.hosts import HOSTS, KEY, Host, Launch, find
from dinox_mcp.install.setup import Change, entries, holds_key, put_in, take_out, variables
from dinox_mcp.settings import Settings, environment_name

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_WITHOUT = (
    "none: 80 kinds of things, text and codes are found on this machine; any other object needs a key of the DINO-X "
    "cloud, or --backend local"
)


def run(options: argparse.Namespace, machine: Machine | None = None) -> None:
    """Do what the command line asks for.

    Raises:
        SettingsError: an option is wrong.
        DinoxError: some host could not be set up; the others are.
    """
    machine = machine or Machine.here()
    if options.list:
        _list(machine)
        return
    if not _NAME.fullmatch(options.name):
        raise SettingsError(f"--name: {options.name!r:.80} is no name for a server; use letters, digits, _ and -")
    hosts = _hosts(options, machine)
    if options.uninstall:
        _each(hosts, lambda host: _uninstall(host, machine, options))
        return
    env = _environment(options)
    extras = tuple(dict.fromkeys([*options.extras, *(["local"] if options.backend == "local" else [])]))
    start = launching.choose(
        machine,
        env,
        launcher=options.launcher,
        source=options.source,
        extras=extras,
        shared=options.project,
    )
    wants_key = not options.project and not all(host.asks for host in hosts)
    key = _key(options, machine) if wants_key else None
    _each(hosts, lambda host: _install(host, machine, start, key, options))
    if missing := launching.lacks(start, extras):
        package = f"dinox-mcp[{','.join(missing)}]"
        _say([f"missing: {', '.join(missing)}; install it where the server is: pip install '{package}'"])


def _each(hosts: Sequence[Host], act: Callable[[Host], None]) -> None:
    """Do something for each host; one that fails does not keep the others from it."""
    failures = []
    for host in hosts:
        try:
            act(host)
        except DinoxError as error:
            if len(hosts) == 1:
                raise
            failures.append(f"{host.title}: {error}")
    if failures:
        raise DinoxError("; ".join(failures))


def _hosts(options: argparse.Namespace, machine: Machine) -> list[Host]:
    """Give the hosts that are named, each once."""
    found = [host for host in HOSTS.values() if host.found(machine)]
    if not options.hosts:
        names = ", ".join(host.name for host in found) or "none"
        raise SettingsError(f"name the host to set up, or all; found here: {names} (dinox-mcp install --list)")
    if options.hosts == ["all"]:
        if options.project:
            found = [host for host in found if host.project is not None]
        if not found:
            raise DinoxError(f"no host is found here; name the one to set up: {', '.join(HOSTS)}")
        return found
    return [find(name) for name in dict.fromkeys(options.hosts)]


def _install(host: Host, machine: Machine, start: Launch, key: str | None, options: argparse.Namespace) -> None:
    change = put_in(host, machine, start, name=options.name, key=key, project=options.project, replace=options.replace)
    lines = [*_written(change, f"{options.name} is set up", options)]
    if change.changes or not options.dry_run:
        lines += [f"  starts: {machine.quoted([start.command, *start.args])}", f"  key: {_about_key(change)}"]
        if change.stumbles:
            lines += [f"  but: {change.path}, {change.stumbles}: it reads nothing of the file until that is taken out"]
        lines += [f"  next: {host.then.format(title=host.title)}"]
    if change.changes and not options.dry_run and start.args and start.command.endswith(("uvx", "uvx.exe")):
        once = machine.quoted(["uvx", *start.args, "--version"])
        lines.append(f"  tip: run `{once}` once now, so that the first start is not a download")
    _say(lines)


def _uninstall(host: Host, machine: Machine, options: argparse.Namespace) -> None:
    change = take_out(host, machine, name=options.name, project=options.project, replace=options.replace)
    _say(_written(change, f"{options.name} is taken out", options))


def _written(change: Change, done: str, options: argparse.Namespace) -> list[str]:
    """Make the change, unless it is only to be shown; gives what to say of it."""
    title, path = change.host.title, change.path
    if not change.changes:
        return [f"{title}: nothing to do in {path}"]
    if options.dry_run:
        return [f"{title}: would change {path}", *change.diff().splitlines()]
    backup = change.write()
    secret = ", where the key still stands" if options.uninstall and change.had_key else ""
    return [f"{title}: {done} in {path}" + (f" (before: {backup.name}{secret})" if backup else "")]


def _about_key(change: Change) -> str:
    entry = change.entry or {}
    if holds_key(entry):
        return "in that file, which only you can read"
    if change.host.asks:
        return f"{change.host.title} asks for it and keeps it, not in the file"
    if KEY in variables(entry) or (change.host.forwards and change.host.forwards in entry):
        return f"read from {KEY} of your environment; it is not in the file, which others may get"
    return _WITHOUT


def _environment(options: argparse.Namespace) -> dict[str, str]:
    """Give the variables to set, checked as the server will check them."""
    env = {}
    for pair in options.env:
        name, equals, value = pair.partition("=")
        if not equals or name not in {environment_name(field) for field in Settings.model_fields}:
            raise SettingsError(f"--env: {pair!r:.80} is no NAME=VALUE of an option; the README lists them")
        if name in {KEY, "DINOX_MCP_TOKEN"}:
            raise SettingsError(f"--env: {name} stays out of command lines; set it in the environment, or be asked")
        env[name] = value
    if options.backend is not None:
        env[environment_name("backend")] = options.backend
    fields = {environment_name(field): field for field in Settings.model_fields}
    chosen = Settings.load(**{fields[name]: value for name, value in env.items()}).backend
    if chosen != "auto":
        from dinox_mcp.backends import registry

        registry.find(chosen)
    return env


def _key(options: argparse.Namespace, machine: Machine) -> str | None:
    """Take the key from the environment, or ask a person for it without showing it."""
    if options.no_key:
        return None
    key = machine.environ.get(KEY, "")
    if not key and not options.dry_run and sys.stdin is not None and sys.stdin.isatty():
        with contextlib.suppress(EOFError):  # nothing more will be typed: as Enter
            key = getpass.getpass("DINO-X API key (not shown; Enter to go without): ")
    checked = Settings.load(api_key=key or None).api_key
    return checked.get_secret_value() if checked else None


def _list(machine: Machine) -> None:
    """Say which hosts are here, and what each has."""
    lines = []
    for host in HOSTS.values():
        here = "found" if host.found(machine) else "not found"
        try:
            names = ", ".join(entries(host, machine))
            state = f"set up as {names}" if names else here
        except DinoxError as error:
            state = str(error)
        lines.append(f"{host.name:16}{state:24}{host.path(machine, project=False)}")
    _say(lines)


def _say(lines: list[str]) -> None:
    terminal.write("".join(terminal.printable(line.expandtabs(4)) + "\n" for line in lines))
