"""Puts the server into a host's configuration, takes it out again, and shows the difference without secrets."""

import copy
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from dinox_mcp.errors import DinoxError
from dinox_mcp.install import files
from dinox_mcp.install.files import Machine
from dinox_mcp.install.hosts import INPUT, KEY, Entry, Host, Launch
from dinox_mcp.install.jsonc import APPEND
from dinox_mcp.install.launch import is_ours, words
from dinox_mcp.install.toml import ConfigError, Keys

# Bounded everywhere: a host's file may be megabytes of history.
_NAME = r"(?:key|token|secret|passw|auth|credential|cookie|(?<![a-z])pat(?![a-z]))[\w.-]{0,32}"
_OPTION = rf"[\w.-]{{0,32}}?{_NAME}"
_TEXT = r"""("(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_WHOLE = (
    re.compile(rf"""({_NAME}["']?\s*[:=]\s*){_TEXT}""", re.IGNORECASE),
    re.compile(rf"""(["']--?{_OPTION}["']\s*,\s*){_TEXT}""", re.IGNORECASE),  # of a list of arguments
)
_INSIDE = (
    re.compile(rf"""((?:[?&]|--?){_OPTION}=|\bBearer )[^\s"'&]+""", re.IGNORECASE),
    re.compile(r"""(://[^\s/"':@]{0,64}:)[^\s/"'@]+(?=@)"""),  # of an address with a password
)


def difference(path: Path, before: str, after: str, key: str | None) -> str:
    """Compare two texts of a file line by line; the `key`, and what looks like a secret of others, is masked."""
    old, new = (_masked(text.replace(key, "********") if key else text) for text in (before, after))
    return "\n".join(difflib.unified_diff(old.splitlines(), new.splitlines(), str(path), f"{path} (new)", lineterm=""))


def is_reference(value: str) -> bool:
    """Tell whether a value names a variable that its host puts in."""
    return value.startswith(("${", "{env:"))


def _masked(text: str) -> str:
    for pattern in _WHOLE:
        text = pattern.sub(_shown, text)
    for pattern in _INSIDE:
        text = pattern.sub(r"\1***", text)
    return text


def _shown(match: re.Match[str]) -> str:
    return match[0] if "********" in match[2] or is_reference(match[2][1:]) else f'{match[1]}"***"'


Given = ParamSpec("Given")
T = TypeVar("T")

NAME = "dinox"
_ENV = ("env", "environment")


@dataclass(frozen=True, slots=True)
class Change:
    """What setting a host up, or taking it out, does to its file: `before` becomes `after`."""

    host: Host
    before: files.Text
    after: str
    entry: Entry | None
    key: str | None = None
    had_key: bool = False

    @property
    def path(self) -> Path:
        """The file, behind a link if it is one."""
        return self.before.path

    @property
    def changes(self) -> bool:
        """Whether there is anything to do; a byte order mark in front of our entry is taken off, too."""
        return self.after != self.before.text or (self.before.bom and self.entry is not None)

    @property
    def stumbles(self) -> str | None:
        """What the host cannot read in the file as it will be, so that it reads nothing of it."""
        return self.host.cannot_read(files.Text(self.path, self.after))

    def diff(self) -> str:
        """Show the difference line by line, with keys and other secrets masked."""
        return difference(self.path, self.before.text, self.after, self.key)

    def write(self) -> Path | None:
        """Do it; gives the backup.

        Raises:
            DinoxError: the file cannot be written.
        """
        return files.replace(self.before, self.after, secret=holds_key(self.entry))


def put_in(
    host: Host,
    machine: Machine,
    launch: Launch,
    *,
    name: str = NAME,
    key: str | None = None,
    project: bool = False,
    replace: bool = False,
) -> Change:
    """Work out what puts the server into a host's configuration.

    An entry that is there keeps what it has besides: its key if none is given, other variables, other options. In a
    project's file, which others get, a key is only referred to.

    Raises:
        DinoxError: the file is broken, or has another server of this name and `replace` is False.
    """
    before = _read(host, machine, project=project)
    data = _data(host, before)
    keys = (*host.keys, name)
    known = dig(data, keys)
    if known is not None and not is_ours(known) and not replace:
        raise DinoxError(
            f"{before.path} has another server of the name {name!r} ({' '.join(words(known))[:80] or 'no command'}); "
            "choose another --name, or --replace it"
        )
    entry = _entry(host, launch, key, project=project)
    edits: list[tuple[Keys, object]] = []
    if isinstance(known, dict) and is_ours(known):
        edits += _merged(host, known, entry, keys)
    else:
        edits.append((keys, entry))
    if _refers(entry, INPUT) and not any(_is_input(one) for one in _inputs(data)):
        edits.append((("inputs", APPEND), _input()))
    return _change(host, before, data, edits, key, keys)


def take_out(host: Host, machine: Machine, *, name: str = NAME, project: bool = False, replace: bool = False) -> Change:
    """Work out what takes the server out of a host's configuration.

    Raises:
        DinoxError: the file is broken, or the server of this name is another one and `replace` is False.
    """
    before = _read(host, machine, project=project)
    data = _data(host, before)
    keys = (*host.keys, name)
    known = dig(data, keys)
    if known is None:
        return Change(host, before, before.text, None)
    if not is_ours(known) and not replace:
        raise DinoxError(f"{before.path}: {name!r} is another server; name ours with --name, or add --replace")
    text = _edited(before.path, host.format.drop, before.text, keys)
    rest = _data(host, files.Text(before.path, text))
    if not _refers(dig(rest, host.keys), INPUT):
        for number in reversed([at for at, one in enumerate(_inputs(rest)) if _is_input(one)]):
            text = _edited(before.path, host.format.drop, text, ("inputs", str(number)))
    return Change(host, before, text, None, had_key=holds_key(known))


def entries(host: Host, machine: Machine, *, project: bool = False) -> dict[str, Entry]:
    """Give the entries of a host that start this server, by their names.

    Raises:
        DinoxError: the file is broken.
    """
    servers = dig(_data(host, _read(host, machine, project=project)), host.keys)
    return {name: one for name, one in servers.items() if is_ours(one)} if isinstance(servers, dict) else {}


def stumbles(host: Host, machine: Machine, *, project: bool = False) -> str | None:
    """Say what a host cannot read in its file, so that it reads nothing of it.

    Raises:
        DinoxError: the file is broken.
    """
    text = _read(host, machine, project=project)
    return _edited(text.path, host.cannot_read, text)


def variables(entry: Mapping[str, Any]) -> dict[str, str]:
    """Give the environment variables that an entry sets."""
    for option in _ENV:
        if isinstance(found := entry.get(option), dict):
            return {str(name): str(value) for name, value in found.items()}
    return {}


def holds_key(entry: Entry | None) -> bool:
    """Tell whether a key itself, not a reference to one, stands in an entry."""
    key = variables(entry or {}).get(KEY, "")
    return bool(key) and not is_reference(key)


def dig(data: object, keys: Keys) -> Any:  # noqa: ANN401 - whatever the file has there
    """Give what keys lead to, or None."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _entry(host: Host, launch: Launch, key: str | None, *, project: bool) -> Entry:
    """Make an entry, with the key or how to get it."""
    env = dict(launch.env)
    if (host.asks or project) and host.reference:
        env[KEY] = host.reference
    elif key and not project:
        env[KEY] = key
    entry = host.entry(Launch(launch.command, launch.args, env)) | dict(host.defaults)
    return entry | {host.forwards: [KEY]} if project and host.forwards else entry


def _merged(host: Host, known: Entry, entry: Entry, keys: Keys) -> list[tuple[Keys, object]]:
    """List what must be set in an entry that is there."""
    edits: list[tuple[Keys, object]] = []
    for option, value in entry.items():
        if option in host.defaults and option in known:
            continue
        inner = known.get(option)
        if isinstance(value, dict) and isinstance(inner, dict):
            edits += [((*keys, option, name), one) for name, one in value.items() if inner.get(name) != one]
        elif inner != value:
            edits.append(((*keys, option), value))
    return edits


def _change(
    host: Host, before: files.Text, data: dict[str, Any], edits: list[tuple[Keys, object]], key: str | None, keys: Keys
) -> Change:
    """Make the edits, and see that the file then says what it should, and nothing else."""
    text, wanted = before.text, copy.deepcopy(data)
    for where, value in edits:
        text = _edited(before.path, host.format.put, text, where, value)
        _set(wanted, where, value)
    if _data(host, files.Text(before.path, text)) != wanted:
        raise DinoxError(
            f"{before.path} is written in a way that is not understood; nothing was changed, edit it by hand"
        )
    return Change(host, before, text, dig(wanted, keys), key)


def _set(data: dict[str, Any], keys: Keys, value: object) -> None:
    inner: Any = data
    for key in keys[:-1]:
        inner = inner.setdefault(key, [] if keys[-1] == APPEND else {})
    if keys[-1] == APPEND:
        inner.append(value)
    else:
        inner[keys[-1]] = value


def _read(host: Host, machine: Machine, *, project: bool) -> files.Text:
    return files.read(host.path(machine, project=project))


def _data(host: Host, text: files.Text) -> dict[str, Any]:
    return _edited(text.path, host.format.read, text.text)


def _edited(path: Path, edit: Callable[Given, T], *args: Given.args, **options: Given.kwargs) -> T:
    """Do what a format does, and say which file is broken."""
    try:
        return edit(*args, **options)
    except ConfigError as error:
        raise DinoxError(f"{path}, {error}; nothing was changed, mend the file and try again") from None


def _inputs(data: dict[str, Any]) -> list[Any]:
    found = data.get("inputs")
    return found if isinstance(found, list) else []


def _is_input(one: object) -> bool:
    return isinstance(one, dict) and one.get("id") == INPUT


def _refers(data: object, name: str) -> bool:
    return f"${{input:{name}}}" in str(data)


def _input() -> dict[str, object]:
    """What VS Code asks once and keeps in the system's store of secrets."""
    return {
        "id": INPUT,
        "type": "promptString",
        "description": "DINO-X API key (empty: 80 kinds of things, text and codes)",
        "password": True,
    }
