"""Adds the server to a host's configuration and removes it again, and the skill, where the host reads skills.

Everything else in a configuration stays. The skill is a page that teaches an assistant when to use which tool: hosts
read `<folder>/<name>/SKILL.md` (https://agentskills.io). It ends with a checksum of its text, so that a later version
replaces it and `--uninstall` removes it, but neither touches a file that a person has changed.

All functions raise `DinoxError` where the configuration of a host is broken.
"""

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from dinox_mcp.errors import DinoxError
from dinox_mcp.install import files
from dinox_mcp.install.files import ConfigError, Keys, difference, is_reference
from dinox_mcp.install.hosts import INPUT, KEY, Entry, Host
from dinox_mcp.install.jsonc import APPEND
from dinox_mcp.install.launch import Launch, Machine, command_of, is_ours

Given = ParamSpec("Given")
T = TypeVar("T")

NAME = "dinox"
"""The name of the server in a host, if no other is chosen, and of the skill and its folder."""
_ENV = ("env", "environment")


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a host's file: `before` becomes `after`.

    Attributes:
        entry: The server's entry afterwards, None where it is removed.
        key: The key that was put in, to be masked.
        had_key: Whether the removed entry held a key, which the backup still has.
    """

    host: Host
    before: files.Text
    after: str
    entry: Entry | None
    key: str | None = None
    had_key: bool = False

    @property
    def path(self) -> Path:
        """The file that changes, behind a link if it is one."""
        return self.before.path

    @property
    def changes(self) -> bool:
        """Return whether there is anything to write; a byte order mark is removed, too, where our entry stays."""
        return self.after != self.before.text or (self.before.bom and self.entry is not None)

    @property
    def unreadable(self) -> str | None:
        """The part of the new file that the host cannot parse, so that it ignores all of it; None if there is none."""
        return self.host.cannot_read(files.Text(self.path, self.after))

    def diff(self) -> str:
        """Compare the texts line by line, with keys and other secrets masked."""
        return difference(self.path, self.before.text, self.after, self.key)

    def write(self) -> Path | None:
        """Write the file, and return its backup, None where there was no file."""
        return files.replace(self.before, self.after, secret=holds_key(self.entry))


def add(
    host: Host,
    machine: Machine,
    launch: Launch,
    *,
    name: str = NAME,
    key: str | None = None,
    project: bool = False,
    replace: bool = False,
) -> Change:
    """Prepare the change that adds the server to a host's configuration.

    An existing entry keeps its other options and variables, and its key if none is given. A project's file is shared
    with others: it holds a reference to the key, never the key.

    Raises:
        DinoxError: There is another server of this name, and `replace` is False.
    """
    before = _read(host, machine, project=project)
    data = _data(host, before)
    keys = (*host.keys, name)
    known = _dig(data, keys)
    if known is not None and not is_ours(known) and not replace:
        command = " ".join(command_of(known))[:80] or "no command"
        raise DinoxError(
            f"{before.path} has another server of the name {name!r} ({command}); choose another --name, or --replace it"
        )
    entry = _entry(host, launch, key, project=project)
    edits: list[tuple[Keys, object]] = []
    if isinstance(known, dict) and is_ours(known):
        edits += _merged(host, known, entry, keys)
    else:
        edits.append((keys, entry))
    if _has_key_reference(entry) and not _key_inputs(data):
        edits.append((("inputs", APPEND), key_input()))
    return _change(host, before, data, edits, key, keys)


def remove(host: Host, machine: Machine, *, name: str = NAME, project: bool = False, replace: bool = False) -> Change:
    """Prepare the change that removes the server; another server of its name is an error unless `replace` is set."""
    before = _read(host, machine, project=project)
    data = _data(host, before)
    keys = (*host.keys, name)
    known = _dig(data, keys)
    if known is None:
        return Change(host, before, before.text, None)
    if not is_ours(known) and not replace:
        raise DinoxError(f"{before.path}: {name!r} is another server; name ours with --name, or add --replace")
    text = _edited(before.path, host.format.drop, before.text, keys)
    rest = _data(host, files.Text(before.path, text))
    if not _has_key_reference(_dig(rest, host.keys)):
        for number in reversed(_key_inputs(rest)):
            text = _edited(before.path, host.format.drop, text, ("inputs", str(number)))
    return Change(host, before, text, None, had_key=holds_key(known))


def entries(host: Host, machine: Machine, *, project: bool = False) -> dict[str, Entry]:
    """Return the entries of a host that start this server, by their names."""
    servers = _dig(_data(host, _read(host, machine, project=project)), host.keys)
    return {name: one for name, one in servers.items() if is_ours(one)} if isinstance(servers, dict) else {}


def unreadable(host: Host, machine: Machine, *, project: bool = False) -> str | None:
    """Return the part of a host's file that the host cannot parse, so that it ignores all of it."""
    text = _read(host, machine, project=project)
    return _edited(text.path, host.cannot_read, text)


def variables(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment variables that an entry sets."""
    for option in _ENV:
        if isinstance(found := entry.get(option), dict):
            return {str(name): str(value) for name, value in found.items()}
    return {}


def holds_key(entry: Entry | None) -> bool:
    """Return whether an entry holds a key itself, not a reference to one."""
    key = variables(entry or {}).get(KEY, "")
    return bool(key) and not is_reference(key)


def _dig(data: object, keys: Keys) -> Any:  # noqa: ANN401 - whatever the file has there
    """Return the value that nested keys lead to, or None."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _entry(host: Host, launch: Launch, key: str | None, *, project: bool) -> Entry:
    """Make the server's entry, with the key or a reference to it."""
    env = dict(launch.env)
    if (host.asks_for_key or project) and host.reference:
        env[KEY] = host.reference
    elif key and not project:
        env[KEY] = key
    entry = host.entry(Launch(launch.command, launch.args, env)) | dict(host.defaults)
    return entry | {host.forwards: [KEY]} if project and host.forwards else entry


def _merged(host: Host, known: Entry, entry: Entry, keys: Keys) -> list[tuple[Keys, object]]:
    """List the values to set in an existing entry."""
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
    """Make the edits, and check that the file then means what it should and that nothing else changed."""
    text, wanted = before.text, copy.deepcopy(data)
    for where, value in edits:
        text = _edited(before.path, host.format.put, text, where, value)
        _set(wanted, where, value)
    if _data(host, files.Text(before.path, text)) != wanted:
        raise DinoxError(
            f"{before.path} is written in a way that cannot be edited here; nothing was changed, edit it by hand"
        )
    return Change(host, before, text, _dig(wanted, keys), key)


def _set(data: dict[str, Any], keys: Keys, value: object) -> None:
    inner: Any = data
    for key in keys[:-1]:
        inner = inner.setdefault(key, [] if keys[-1] is APPEND else {})
    if keys[-1] is APPEND:
        inner.append(value)
    else:
        inner[keys[-1]] = value


def _read(host: Host, machine: Machine, *, project: bool) -> files.Text:
    return files.read(host.path(machine, project=project))


def _data(host: Host, text: files.Text) -> dict[str, Any]:
    return _edited(text.path, host.format.read, text.text)


def _edited(path: Path, edit: Callable[Given, T], *args: Given.args, **options: Given.kwargs) -> T:
    """Call a function of a format; its errors get the file's name."""
    try:
        return edit(*args, **options)
    except ConfigError as error:
        raise DinoxError(f"{path}, {error}; nothing was changed, mend the file and try again") from None


def _key_inputs(data: dict[str, Any]) -> list[int]:
    """Return the positions of our input, for the key, in VS Code's list of inputs."""
    found = data.get("inputs")
    if not isinstance(found, list):
        return []
    return [at for at, one in enumerate(found) if isinstance(one, dict) and one.get("id") == INPUT]


def _has_key_reference(data: object) -> bool:
    return f"${{input:{INPUT}}}" in str(data)


def key_input() -> dict[str, object]:
    """Make the input that VS Code asks for once and keeps in the system's store of secrets."""
    return {
        "id": INPUT,
        "type": "promptString",
        "description": "DINO-X API key (empty: 80 kinds of things, text and codes)",
        "password": True,
    }


Outcome = Literal["written", "removed", "present", "absent", "changed by you"]
_FILE = Path(__file__).with_name("SKILL.md")
_STAMP = re.compile(r"\n<!-- Written by dinox-mcp install, sha256 ([0-9a-f]{16}) -->\n\Z")


def skill_path(host: Host, machine: Machine) -> Path | None:
    """Return the path of the skill for a host; None where the host does not read skills."""
    return host.skills(machine) / NAME / "SKILL.md" if host.skills else None


def update_skill(path: Path, *, remove: bool = False, dry_run: bool = False) -> Outcome:
    """Write the skill, also over an earlier version of it, or remove it and its folder.

    Returns:
        What was done, or "changed by you" where a person's text was left alone.

    Raises:
        DinoxError: The file cannot be read, written or removed.
    """
    old = files.read(path)
    text = _stamped(_FILE.read_text(encoding="utf-8"))
    if remove and old.content is None:
        return "absent"
    if not remove and old.text == text:
        return "present"
    stamp = _STAMP.search(old.text)
    if old.content is not None and (stamp is None or stamp[1] != _checksum(old.text[: stamp.start()])):
        return "changed by you"
    if remove and not dry_run:
        try:
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        except OSError as error:
            raise DinoxError(f"{path} cannot be removed ({error.strerror}); remove it yourself") from None
    elif not dry_run:
        files.replace(old, text, secret=False, keep_backup=False)
    return "removed" if remove else "written"


def _stamped(text: str) -> str:
    return f"{text}\n<!-- Written by dinox-mcp install, sha256 {_checksum(text)} -->\n"


def _checksum(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
