"""What the editors of configurations have in common."""

from typing import Any, Protocol

Keys = tuple[str, ...]
"""Names that lead to a value, from the outside in."""


class ConfigError(ValueError):
    """A configuration cannot be read or edited: where and why, without the file's name, in part of a line."""


class Format(Protocol):
    """A way to write configurations down. Lines end in a line feed; an edit touches only what it is about."""

    def read(self, text: str) -> dict[str, Any]:
        """Give what a text says.

        Raises:
            ConfigError: it is broken.
        """
        ...

    def put(self, text: str, keys: Keys, value: object) -> str:
        """Set a value, and make what lies between where it is missing.

        Raises:
            ConfigError: the text is broken, or something on the way holds no names.
        """
        ...

    def drop(self, text: str, keys: Keys) -> str:
        """Take a value out, if it is there.

        Raises:
            ConfigError: the text is broken.
        """
        ...
