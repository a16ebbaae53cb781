"""`dinox-mcp install`: adds the server to hosts or removes it, and prints the next step."""

import argparse
import contextlib
import getpass
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from dinox_mcp.backends import registry
from dinox_mcp.cli import terminal
from dinox_mcp.cli.terminal import Style, paint
from dinox_mcp.errors import DinoxError, SettingsError
from dinox_mcp.install import setup
from dinox_mcp.install.hosts import HOSTS, KEY, Host, find
from dinox_mcp.install.launch import Launch, Machine, choose, missing_extras
from dinox_mcp.install.setup import Change, entries, holds_key, variables
from dinox_mcp.settings import Settings, environment_name
from dinox_mcp.types.extras import extras_command

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_NO_KEY = (
    "none; 80 kinds of things, text and codes are found on this machine; any other object needs a key of the DINO-X "
    "cloud, or --backend local"
)


def add_flags(install: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `install` to its parser."""
    install.description = "Add this server to assistants, or remove it; everything else in their settings stays."
    install.epilog = "The key is read from DINOX_API_KEY, or typed without being shown; it is never an argument."
    install.set_defaults(run=run)
    install.add_argument(
        "hosts", nargs="*", metavar="HOST", help="claude-desktop, claude-code, ...: see --list; or all"
    )
    install.add_argument("--list", action="store_true", help="list the hosts, which are here, and which are set up")
    install.add_argument("--dry-run", action="store_true", help="show the change without making it")
    install.add_argument("--uninstall", "--remove", action="store_true", help="remove the server again")
    install.add_argument("--project", action="store_true", help="set up the project in this folder, not the user")
    install.add_argument("--name", default="dinox", help="name of the server in the host (dinox)")
    install.add_argument("--replace", action="store_true", help="replace another server of this name")
    install.add_argument("--no-key", action="store_true", help="neither ask for a key nor read it from the environment")
    install.add_argument("--no-skill", action="store_true", help="write no skill, which teaches when to use which tool")
    group = install.add_argument_group("what the host starts")
    group.add_argument("--backend", default=argparse.SUPPRESS, help="auto (default), dinox, local, embedded, ...")
    group.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="another option to set; may be repeated"
    )
    group.add_argument(
        "--launcher",
        choices=("auto", "uvx", "python"),
        default="auto",
        help="start by uvx, or by this Python; auto (default) is the way that started this command",
    )
    group.add_argument(
        "--from", dest="source", metavar="SPEC", help="what uvx installs: dinox-mcp==1.2, a wheel, a folder"
    )
    group.add_argument(
        "--extra", action="append", dest="extras", default=[], choices=("local", "video"), help="extra to install"
    )


def run(options: argparse.Namespace, machine: Machine | None = None) -> None:
    """Add the server to the named hosts, or remove it, or list the hosts; an error of one does not stop the others."""
    machine = machine or Machine.here()
    if options.list:
        _list(machine)
        return
    if not _NAME.fullmatch(options.name):
        raise SettingsError(f"--name: {options.name!r:.80} is not a name for a server; use letters, digits, _ and -")
    hosts = _hosts(options, machine)
    if options.uninstall:
        _for_each(hosts, lambda host: _uninstall(host, machine, options))
    else:
        _install_all(hosts, machine, options)


def _install_all(hosts: Sequence[Host], machine: Machine, options: argparse.Namespace) -> None:
    env = _environment(options)
    extras = tuple(dict.fromkeys(options.extras))
    launch = choose(
        machine, env, launcher=options.launcher, source=options.source, extras=extras, shared=options.project
    )
    wants_key = not options.project and not all(host.asks_for_key for host in hosts)
    key = _key(options, machine) if wants_key else None
    _for_each(hosts, lambda host: _install(host, machine, launch, key, options))
    if missing := missing_extras(launch, extras):
        _say([f"missing: {', '.join(missing)}; install it: {extras_command(missing, python=machine.python)}"])


def _for_each(hosts: Sequence[Host], act: Callable[[Host], None]) -> None:
    """Call `act` for each host; an error of one does not stop the others."""
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


def _install(host: Host, machine: Machine, launch: Launch, key: str | None, options: argparse.Namespace) -> None:
    change = setup.add(
        host, machine, launch, name=options.name, key=key, project=options.project, replace=options.replace
    )
    lines = _written(change, f"{options.name} is set up", options)
    if change.changes or not options.dry_run:
        lines += [f"  starts: {machine.quoted([launch.command, *launch.args])}", f"  key: {_about_key(change)}"]
        if options.project and Path(launch.command).is_absolute():
            lines += ["  note: that is a path of this machine; others who get the file must change it"]
        if change.unreadable:
            lines += [f"  but: {change.path}, {change.unreadable}: it reads nothing of the file until that is removed"]
    lines += _skill(host, machine, options)
    if change.changes or not options.dry_run:
        lines += [f"  next: {host.next_step.format(title=host.title)}"]
    if change.changes and not options.dry_run and launch.args and launch.command.endswith(("uvx", "uvx.exe")):
        once = machine.quoted(["uvx", *launch.args, "--version"])
        lines.append(f"  tip: run `{once}` once now, so that the first start is not a download")
    _say(lines)


def _uninstall(host: Host, machine: Machine, options: argparse.Namespace) -> None:
    change = setup.remove(host, machine, name=options.name, project=options.project, replace=options.replace)
    lines = _written(change, f"{options.name} is removed", options)
    if not entries(host, machine):
        lines += _skill(host, machine, options)
    _say(lines)


def _written(change: Change, done: str, options: argparse.Namespace) -> list[str]:
    """Make the change, unless --dry-run only shows it; return the lines to print."""
    title, path = change.host.title, change.path
    if not change.changes:
        return [f"{title}: nothing to do in {path}"]
    if options.dry_run:
        return [f"{title}: would change {path}", *change.diff().splitlines()]
    backup = change.write()
    secret = ", where the key still is" if options.uninstall and change.had_key else ""
    return [f"{title}: {done} in {path}" + (f" (before: {backup.name}{secret})" if backup else "")]


def _skill(host: Host, machine: Machine, options: argparse.Namespace) -> list[str]:
    """Write or remove the skill of a host; return the lines to print."""
    path = setup.skill_path(host, machine)
    if path is None or options.project or options.no_skill:
        return []
    outcome = setup.update_skill(path, remove=options.uninstall, dry_run=options.dry_run)
    if outcome in ("present", "absent"):
        return []
    if outcome == "changed by you":
        return [f"  skill: {path} was changed by you and stays as it is"]
    return [f"  skill: {path}{' would be' if options.dry_run else ' is'} {outcome}"]


def _about_key(change: Change) -> str:
    entry = change.entry or {}
    if holds_key(entry):
        return "in that file, which only you can read"
    if change.host.asks_for_key:
        return f"{change.host.title} asks for it and keeps it, not in the file"
    if KEY in variables(entry) or (change.host.forwards and change.host.forwards in entry):
        return f"read from {KEY} of your environment; it is not in the file, which others may get"
    return _NO_KEY


def _environment(options: argparse.Namespace) -> dict[str, str]:
    """Return the variables to set, checked as the server will check them."""
    fields = {environment_name(field): field for field in Settings.model_fields}
    env = {}
    for pair in options.env:
        name, equals, value = pair.partition("=")
        if not equals or name not in fields:
            raise SettingsError(f"--env: {pair!r:.80} is not NAME=VALUE of an option; docs/settings.md lists them")
        if name in {KEY, "DINOX_MCP_TOKEN"}:
            raise SettingsError(f"--env: {name} stays out of command lines; set it in the environment, or type it here")
        env[name] = value
    if options.backend is not None:
        env[environment_name("backend")] = options.backend
    chosen = Settings.load(**{fields[name]: value for name, value in env.items()}).backend
    if chosen != "auto":
        registry.find(chosen)
    return env


def _key(options: argparse.Namespace, machine: Machine) -> str | None:
    """Read the key from the environment, or let a person type it without showing it."""
    if options.no_key:
        return None
    key = machine.environ.get(KEY, "")
    if not key and not options.dry_run and sys.stdin is not None and sys.stdin.isatty():
        with contextlib.suppress(EOFError):  # the end of the input counts as Enter
            key = getpass.getpass("DINO-X API key (not shown; Enter to go without): ")
    checked = Settings.load(api_key=key or None).api_key
    return checked.get_secret_value() if checked else None


def _list(machine: Machine) -> None:
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


def _say(lines: Sequence[str]) -> None:
    """Print lines; the next step is colored, so that it is not overlooked."""
    styles: dict[str, Style] = {"  next": "accent", "  but": "warning"}
    painted = [paint(line.expandtabs(4), styles.get(line.partition(":")[0])) for line in lines]
    terminal.write_lines(painted)
