"""Reads JSON with comments and trailing commas, and records the position of each value."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from dinox_mcp.install.toml import ConfigError

BLANK = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
"""Matches what may be between two values: blanks and comments."""
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_LITERALS = {"true": True, "false": False, "null": None}
_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
_MAX_DEPTH = 100
_DECODER = json.JSONDecoder()
COMMENT = "a comment"
COMMA = "a comma behind the last value"


@dataclass(slots=True)
class Node:
    """A value, from the character `start` to before `end`; `members` are those of an object or a list."""

    data: Any
    start: int
    end: int
    members: "list[Member]" = field(default_factory=list)

    def member(self, key: str) -> "Member | None":
        """Return the member of a name; of several the last, which is the one that hosts use."""
        return next((one for one in reversed(self.members) if one.key == key), None)


@dataclass(slots=True)
class Member:
    """A name, which begins at the character `start`, and its value; in a list the name is the index as text."""

    key: str
    start: int
    value: Node


def parse(text: str) -> Node | None:
    """Read an object; return None if there are only blanks and comments.

    Raises:
        ConfigError: The text is broken or not an object; the message has the position.
    """
    return _Reader(text).root()


def extras(text: str) -> list[tuple[str, int]]:
    """List the comments and trailing commas of a text, which plain JSON does not have, with their positions.

    Raises:
        ConfigError: The text is broken.
    """
    reader = _Reader(text)
    reader.root()
    return sorted(reader.extras, key=lambda extra: extra[1])


def position(text: str, at: int) -> str:
    """Write a position as editors do: line and column, from 1 on."""
    return f"line {text.count(chr(10), 0, at) + 1}, column {at - text.rfind(chr(10), 0, at)}"


def kind(data: object) -> str:
    """Return the name of a value's type in JSON."""
    return _KINDS.get(type(data), "a number")


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.extras: set[tuple[str, int]] = set()

    def root(self) -> Node | None:
        following = self._next()
        if not following:
            return None
        start = self._at
        node = self._value(0)
        if not isinstance(node.data, dict):
            raise ConfigError(f"{position(self._text, start)}: the file holds {kind(node.data)}, not an object")
        if self._next():
            raise self._error("there is text behind the end of the object")
        return node

    def _value(self, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise self._error("values are nested too deeply")
        following, start = self._next(), self._at
        if following == "{":
            return self._object(depth)
        if following == "[":
            return self._list(depth)
        return Node(self._scalar(following), start, self._at)

    def _object(self, depth: int) -> Node:
        node = Node({}, self._at, self._at)
        self._at += 1
        while (following := self._next()) != "}":
            start = self._at
            if following != '"':
                raise self._error("a name in quotation marks is missing")
            key = str(self._scalar(following))
            if self._next() != ":":
                raise self._error("a colon is missing")
            self._at += 1
            value = self._value(depth + 1)
            node.members.append(Member(key, start, value))
            node.data[key] = value.data
            self._separate("}")
        self._at += 1
        node.end = self._at
        return node

    def _list(self, depth: int) -> Node:
        node = Node([], self._at, self._at)
        self._at += 1
        while self._next() != "]":
            value = self._value(depth + 1)
            node.members.append(Member(str(len(node.data)), value.start, value))
            node.data.append(value.data)
            self._separate("]")
        self._at += 1
        node.end = self._at
        return node

    def _separate(self, bracket: str) -> None:
        following = self._next()
        if following == ",":
            comma = self._at
            self._at += 1
            if self._next() == bracket:
                self.extras.add((COMMA, comma))
        elif following != bracket:
            raise self._error(f"a comma or {bracket} is missing")

    def _scalar(self, following: str) -> object:
        for literal, value in _LITERALS.items():
            if self._text.startswith(literal, self._at):
                self._at += len(literal)
                return value
        number = _NUMBER.match(self._text, self._at)
        if following != '"' and number is None:
            raise self._error("a value is missing")
        try:
            decoded, self._at = _DECODER.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            raise self._error(f"the text that begins here is broken ({error.msg.removesuffix(' at')})") from None
        except ValueError:
            raise self._error("a number is too long") from None
        return decoded

    def _next(self) -> str:
        """Skip blanks and comments, and return the character behind them, or "" at the end."""
        blank = BLANK.match(self._text, self._at)
        if blank and "/" in blank[0]:
            self.extras.add((COMMENT, blank.start() + blank[0].index("/")))
        self._at = blank.end() if blank else self._at
        if self._text.startswith("/*", self._at):
            raise self._error("a comment does not end")
        return self._text[self._at : self._at + 1]

    def _error(self, what: str) -> ConfigError:
        return ConfigError(f"{position(self._text, self._at)}: {what}")
