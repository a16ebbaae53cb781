"""Reads JSON with comments and trailing commas, and remembers where everything stands."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from dinox_mcp.install.toml import ConfigError

BLANK = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
"""What may stand between values."""
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_WORDS = {"true": True, "false": False, "null": None}
_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
_MAX_DEPTH = 100
_DECODER = json.JSONDecoder()
COMMENT = "a comment"
COMMA = "a comma behind the last value"


@dataclass(slots=True)
class Node:
    """A value from `start` to before `end`, with what is in it if it is an object or a list."""

    data: Any
    start: int
    end: int
    members: "list[Member]" = field(default_factory=list)

    def member(self, key: str) -> "Member | None":
        """Give the member of a name; of several the last, which is the one that hosts see."""
        return next((one for one in reversed(self.members) if one.key == key), None)


@dataclass(slots=True)
class Member:
    """A name, which begins at `start`, and its value; in a list the name is the place, from "0" on."""

    key: str
    start: int
    value: Node


def parse(text: str) -> Node | None:
    """Read an object; None if there are only blanks and comments.

    Raises:
        ConfigError: the text is broken or no object; the message says where.
    """
    return _Reader(text).root()


def extras(text: str) -> list[tuple[str, int]]:
    """List what a text has that plain JSON does not know, with its places: comments and trailing commas.

    Raises:
        ConfigError: the text is broken.
    """
    reader = _Reader(text)
    reader.root()
    return sorted(reader.extras, key=lambda extra: extra[1])


def place(text: str, at: int) -> str:
    """Name a place as editors do."""
    return f"line {text.count(chr(10), 0, at) + 1}, column {at - text.rfind(chr(10), 0, at)}"


def kind(data: object) -> str:
    """Name the kind of a value."""
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
            raise ConfigError(f"{place(self._text, start)}: the file holds {kind(node.data)}, not an object")
        if self._next():
            raise self._error("something stands behind the end of the object")
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
        for word, meaning in _WORDS.items():
            if self._text.startswith(word, self._at):
                self._at += len(word)
                return meaning
        number = _NUMBER.match(self._text, self._at)
        if following != '"' and number is None:
            raise self._error("a value is missing")
        try:
            value, self._at = _DECODER.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            raise self._error(f"the text that begins here is broken ({error.msg.removesuffix(' at')})") from None
        except ValueError:
            raise self._error("a number is too long") from None
        return value

    def _next(self) -> str:
        """Pass blanks, and give the character behind them, or "" at the end."""
        blank = BLANK.match(self._text, self._at)
        if blank and "/" in blank[0]:
            self.extras.add((COMMENT, blank.start() + blank[0].index("/")))
        self._at = blank.end() if blank else self._at
        if self._text.startswith("/*", self._at):
            raise self._error("a comment does not end")
        return self._text[self._at : self._at + 1]

    def _error(self, what: str) -> ConfigError:
        return ConfigError(f"{place(self._text, self._at)}: {what}")
