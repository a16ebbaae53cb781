"""Configuration files: read, replaced in one step, compared; and the formats, of which TOML is edited here."""

import difflib
import os
import re
import stat
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from errno import EINVAL
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dinox_mcp.errors import DinoxError
from dinox_mcp.store.files import open_regular, write_atomically

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

_BOM = "\ufeff"
_NEW_MODE = 0o644
_WRITABLE = 0o222
_OTHERS = 0o077
_MOST_BYTES = 200_000_000
_TABLES = 2
"""The depth of values that get a table of their own in TOML, `[mcp_servers.dinox]`; deeper ones get one line."""


@dataclass(frozen=True, slots=True)
class Text:
    """The text of a file and how it is encoded.

    Attributes:
        path: The file, behind a link if it is one.
        text: Its text with line feeds, without a byte order mark.
        content: Its bytes, None where there is no file.
        bom: Whether it has a byte order mark. It is not written again, as many programs cannot read JSON after it.
        crlf: Whether all its lines end as on Windows.
    """

    path: Path
    text: str
    content: bytes | None = None
    bom: bool = False
    crlf: bool = False

    def encode(self, text: str) -> bytes:
        """Encode another text in the same way."""
        text = text.replace("\n", "\r\n") if self.crlf else text
        return text.encode("utf-8", "surrogatepass")


def read(path: Path) -> Text:
    """Read a file, or the file behind a link; a file that does not exist has an empty text.

    Raises:
        DinoxError: The file cannot be read, or is not UTF-8.
    """
    path = Path(os.path.realpath(path))
    try:
        content = _bytes(path)
        text = content.decode()
    except FileNotFoundError:
        return Text(path, "")
    except UnicodeDecodeError as error:
        raise DinoxError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8 and try again") from None
    except OSError as error:
        raise DinoxError(f"{path} cannot be read ({error.strerror}); check it and try again") from None
    bom, text = text.startswith(_BOM), text.removeprefix(_BOM)
    crlf = "\r\n" in text and text.count("\n") == text.count("\r\n")
    return Text(path, text.replace("\r\n", "\n") if crlf else text, content, bom, crlf)


def replace(old: Text, text: str, *, secret: bool, keep_backup: bool = True) -> Path | None:
    """Replace a file's text in one step.

    The file keeps its mode; if it now holds a `secret`, other users lose their rights.

    Returns:
        The backup beside it, None where there was no file.

    Raises:
        DinoxError: The file cannot be written, or has changed since it was read.
    """
    path = old.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = _NEW_MODE if old.content is None else stat.S_IMODE(path.stat().st_mode)
        if not mode & _WRITABLE:
            raise DinoxError(f"{path} is read-only; make it writable, or add the entry yourself (--dry-run shows it)")
        mode = mode & ~_OTHERS if secret else mode
        if (_bytes(path) if path.exists() else None) != old.content:
            raise DinoxError(f"{path} has changed meanwhile, perhaps by its host; nothing was written, try again")
        backup = _back_up(path, old.content, mode) if keep_backup else None
        write_atomically(path, old.encode(text), mode)
    except OSError as error:
        raise DinoxError(f"{path} cannot be written ({error.strerror}); check it and its folder") from None
    return backup


def _bytes(path: Path) -> bytes:
    """Read a regular file, or raise OSError: reading a pipe could wait forever, and a device has no end."""
    with open_regular(path, follow_links=True) as file:
        if os.fstat(file.fileno()).st_size > _MOST_BYTES:
            raise OSError(EINVAL, f"it is larger than {_MOST_BYTES:,} bytes")
        return file.read()


def _back_up(path: Path, content: bytes | None, mode: int) -> Path | None:
    if content is None:
        return None
    now = datetime.now().astimezone()
    stem = f"{path.name}.{now:%Y%m%d-%H%M%S}"
    number = 0
    while (backup := path.with_name(f"{stem}{f'-{number}' if number else ''}.bak")).exists():
        number += 1
    write_atomically(backup, content, mode)
    return backup


# Repetitions are bounded everywhere: a host's file may hold megabytes of history.
_NAME = r"(?:key|token|secret|passw|auth|credential|cookie|(?<![a-z])pat(?![a-z]))[\w.-]{0,32}"
_OPTION = rf"[\w.-]{{0,32}}?{_NAME}"
_TEXT = r"""("(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_SECRET_VALUES = (
    re.compile(rf"""({_NAME}["']?\s*[:=]\s*){_TEXT}""", re.IGNORECASE),
    re.compile(rf"""(["']--?{_OPTION}["']\s*,\s*){_TEXT}""", re.IGNORECASE),  # in a list of arguments
)
_SECRET_PARTS = (
    re.compile(rf"""((?:[?&]|--?){_OPTION}=|\bBearer )[^\s"'&]+""", re.IGNORECASE),
    re.compile(r"""(://[^\s/"':@]{0,64}:)[^\s/"'@]+(?=@)"""),  # in an address with a password
)


def difference(path: Path, before: str, after: str, key: str | None) -> str:
    """Compare two texts of a file line by line; the `key`, and what may be a secret of other servers, is masked."""
    old, new = (_masked(text.replace(key, "********") if key else text) for text in (before, after))
    return "\n".join(difflib.unified_diff(old.splitlines(), new.splitlines(), str(path), f"{path} (new)", lineterm=""))


def is_reference(value: str) -> bool:
    """Return whether a value is a variable that the host replaces by its content."""
    return value.startswith(("${", "{env:"))


def _masked(text: str) -> str:
    for pattern in _SECRET_VALUES:
        text = pattern.sub(_masked_value, text)
    for pattern in _SECRET_PARTS:
        text = pattern.sub(r"\1***", text)
    return text


def _masked_value(match: re.Match[str]) -> str:
    return match[0] if "********" in match[2] or is_reference(match[2][1:]) else f'{match[1]}"***"'


Keys = tuple[str, ...]
"""Names that lead to a value, from the outside in."""


class ConfigError(ValueError):
    """A configuration cannot be read or edited; the message has the position and the reason, not the file's name."""


@dataclass(frozen=True, slots=True)
class Format:
    """The functions that read and edit the text of a configuration file. Lines end in a line feed.

    All raise `ConfigError` where the text is broken, or where a value on the way has no members.

    Attributes:
        read: Returns the values that a text holds.
        put: Sets a value, and creates the objects on the way to it; the rest of the text stays as it is.
        drop: Removes a value, if it is there.
    """

    read: Callable[[str], dict[str, Any]]
    put: Callable[[str, Keys, object], str]
    drop: Callable[[str, Keys], str]


def _put_toml(text: str, keys: Keys, value: object) -> str:
    """Set a value: replace the present one, or add it as the last one."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError
    from tomlkit.items import InlineTable, Table

    document = _parse_toml(text)
    table: Any = document
    try:
        for key in keys[:-1]:
            if key not in table:
                inner = isinstance(table, InlineTable)
                table[key] = tomlkit.inline_table() if inner else tomlkit.table(is_super_table=True)
            table = table[key]
            if not isinstance(table, MutableMapping):
                raise ConfigError(f"{key!r} is not a table")
        inline = isinstance(table, InlineTable) or len(keys) > _TABLES
        item = _toml_item(value, inline=inline)
        if isinstance(item, Table) and keys[-1] not in table and keys[0] != list(document)[-1]:
            item.add(tomlkit.nl())  # an empty line before the next table
        table[keys[-1]] = item
        return tomlkit.dumps(document)
    except (TOMLKitError, ValueError) as error:
        raise error if isinstance(error, ConfigError) else ConfigError(str(error)) from None


def _drop_toml(text: str, keys: Keys) -> str:
    import tomlkit

    document = _parse_toml(text)
    table: Any = document
    for key in keys[:-1]:
        table = table.get(key) if isinstance(table, MutableMapping) else None
    if not isinstance(table, MutableMapping) or keys[-1] not in table:
        return text
    del table[keys[-1]]
    return tomlkit.dumps(document)


def _toml_item(value: object, *, inline: bool) -> object:
    """Make a table of several lines, or in one line."""
    import tomlkit

    if not isinstance(value, dict):
        return value
    table = tomlkit.inline_table() if inline else tomlkit.table()
    for key, one in value.items():
        table[key] = _toml_item(one, inline=True)
    return table


def _parse_toml(text: str) -> "TOMLDocument":
    import tomlkit
    from tomlkit.exceptions import ParseError, TOMLKitError

    try:
        return tomlkit.parse(text)
    except ParseError as error:
        what = str(error).partition(" at line ")[0]
        raise ConfigError(f"line {error.line}, column {error.col + 1}: {what}") from None
    except TOMLKitError as error:
        raise ConfigError(str(error)) from None


TOML = Format(lambda text: _parse_toml(text).unwrap(), _put_toml, _drop_toml)
"""TOML, edited with TOML Kit, which keeps comments, order and style."""
