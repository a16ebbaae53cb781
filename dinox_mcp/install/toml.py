"""Edits TOML with TOML Kit, which keeps comments, order and style; also the contract of both formats."""

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tomlkit import TOMLDocument


Keys = tuple[str, ...]
"""Names that lead to a value, from the outside in."""


class ConfigError(ValueError):
    """A configuration cannot be read or edited; the message has the position and the reason, not the file's name."""


class Format(Protocol):
    """A format of configuration files. Lines end in a line feed; an edit changes only the value that it names."""

    def read(self, text: str) -> dict[str, Any]:
        """Return the values that a text holds.

        Raises:
            ConfigError: The text is broken.
        """
        ...

    def put(self, text: str, keys: Keys, value: object) -> str:
        """Set a value, and create the objects on the way to it.

        Raises:
            ConfigError: The text is broken, or a value on the way has no members.
        """
        ...

    def drop(self, text: str, keys: Keys) -> str:
        """Remove a value, if it is there.

        Raises:
            ConfigError: The text is broken.
        """
        ...


_TABLES = 2
"""The depth of values that get a table of their own, `[mcp_servers.dinox]`; deeper ones are written in one line."""


def read(text: str) -> dict[str, Any]:
    """Return the values that a text holds.

    Raises:
        ConfigError: The text is broken; the message has the position.
    """
    return _parse(text).unwrap()


def put(text: str, keys: Keys, value: object) -> str:
    """Set a value: replace the present one, or add it as the last one.

    Raises:
        ConfigError: The text is broken, or a value on the way is not a table.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError
    from tomlkit.items import InlineTable, Table

    document = _parse(text)
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
        item = _item(value, inline=inline)
        if isinstance(item, Table) and keys[-1] not in table and keys[0] != list(document)[-1]:
            item.add(tomlkit.nl())  # an empty line before the next table
        table[keys[-1]] = item
        return tomlkit.dumps(document)
    except (TOMLKitError, ValueError) as error:
        raise error if isinstance(error, ConfigError) else ConfigError(str(error)) from None


def drop(text: str, keys: Keys) -> str:
    """Remove a value, if it is there.

    Raises:
        ConfigError: The text is broken.
    """
    import tomlkit

    document = _parse(text)
    table: Any = document
    for key in keys[:-1]:
        table = table.get(key) if isinstance(table, MutableMapping) else None
    if not isinstance(table, MutableMapping) or keys[-1] not in table:
        return text
    del table[keys[-1]]
    return tomlkit.dumps(document)


def _item(value: object, *, inline: bool) -> object:
    """Make a table of several lines, or in one line."""
    import tomlkit

    if not isinstance(value, dict):
        return value
    table = tomlkit.inline_table() if inline else tomlkit.table()
    for key, one in value.items():
        table[key] = _item(one, inline=True)
    return table


def _parse(text: str) -> "TOMLDocument":
    import tomlkit
    from tomlkit.exceptions import ParseError, TOMLKitError

    try:
        return tomlkit.parse(text)
    except ParseError as error:
        what = str(error).partition(" at line ")[0]
        raise ConfigError(f"line {error.line}, column {error.col + 1}: {what}") from None
    except TOMLKitError as error:
        raise ConfigError(str(error)) from None
