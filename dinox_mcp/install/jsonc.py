"""Reads and edits JSON with comments and trailing commas; the rest of the text stays as it is.

The edits are made in the text itself. No library does this: `jsonc-edit` starts Node, `jsonc-document` needs Python
3.12, and `json-five` writes the file anew from a model.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from dinox_mcp.install.files import ConfigError, Format, Keys

_BLANK = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
"""Matches what may be between two values: blanks and comments."""
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_LITERALS = {"true": True, "false": False, "null": None}
_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
_MAX_DEPTH = 100
_DECODER = json.JSONDecoder()
COMMENT = "a comment"
COMMA = "a comma behind the last value"


@dataclass(slots=True)
class _Node:
    """A value, from the character `start` to before `end`; `members` are those of an object or a list."""

    data: Any
    start: int
    end: int
    members: "list[_Member]" = field(default_factory=list)

    def member(self, key: str) -> "_Member | None":
        """Return the member of a name; of several the last, which is the one that hosts use."""
        return next((one for one in reversed(self.members) if one.key == key), None)


@dataclass(slots=True)
class _Member:
    """A name, which begins at the character `start`, and its value; in a list the name is the index as text."""

    key: str
    start: int
    value: _Node


def _parse(text: str) -> _Node | None:
    return _Reader(text).root()


def extras(text: str) -> list[tuple[str, int]]:
    """List the comments and trailing commas of a text, which plain JSON does not have, with their positions."""
    reader = _Reader(text)
    reader.root()
    return sorted(reader.extras, key=lambda extra: extra[1])


def position(text: str, at: int) -> str:
    """Write a position as editors do: line and column, from 1 on."""
    return f"line {text.count(chr(10), 0, at) + 1}, column {at - text.rfind(chr(10), 0, at)}"


def _kind(data: object) -> str:
    return _KINDS.get(type(data), "a number")


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.extras: set[tuple[str, int]] = set()

    def root(self) -> _Node | None:
        following = self._next()
        if not following:
            return None
        start = self._at
        node = self._value(0)
        if not isinstance(node.data, dict):
            raise ConfigError(f"{position(self._text, start)}: the file holds {_kind(node.data)}, not an object")
        if self._next():
            raise self._error("there is text behind the end of the object")
        return node

    def _value(self, depth: int) -> _Node:
        if depth > _MAX_DEPTH:
            raise self._error("values are nested too deeply")
        following, start = self._next(), self._at
        if following in ("{", "["):
            return self._container(depth, named=following == "{")
        return _Node(self._scalar(following), start, self._at)

    def _container(self, depth: int, *, named: bool) -> _Node:
        """Read an object, whose members are `named`, or a list."""
        node = _Node(None, self._at, self._at)
        bracket = "}" if named else "]"
        self._at += 1
        while (following := self._next()) != bracket:
            start, key = self._at, str(len(node.members))
            if named:
                key = self._key(following)
            value = self._value(depth + 1)
            node.members.append(_Member(key, start, value))
            self._separate(bracket)
        self._at += 1
        node.end = self._at
        members = ((one.key, one.value.data) for one in node.members)
        node.data = dict(members) if named else [data for _, data in members]
        return node

    def _key(self, following: str) -> str:
        if following != '"':
            raise self._error("a name in quotation marks is missing")
        key = str(self._scalar(following))
        if self._next() != ":":
            raise self._error("a colon is missing")
        self._at += 1
        return key

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
        blank = _BLANK.match(self._text, self._at)
        if blank and "/" in blank[0]:
            self.extras.add((COMMENT, blank.start() + blank[0].index("/")))
        self._at = blank.end() if blank else self._at
        if self._text.startswith("/*", self._at):
            raise self._error("a comment does not end")
        return self._text[self._at : self._at + 1]

    def _error(self, what: str) -> ConfigError:
        return ConfigError(f"{position(self._text, self._at)}: {what}")


class _Append(str):
    """A type of its own, as "-" may be the name of a member."""

    __slots__ = ()


APPEND = _Append("-")
"""As a key: the index behind the last element of a list. It is recognized by identity."""
_EMPTY = re.compile(r"\{\s*\}|\[\s*\]")


def _read(text: str) -> dict[str, Any]:
    """Return the object that a text holds; only blanks and comments are an empty object."""
    root = _parse(text)
    return {} if root is None else dict(root.data)


def _put(text: str, keys: Keys, value: object) -> str:
    """Set a value: replace the present one, or add it as the last member. `APPEND` as a key is the end of a list."""
    node = _parse(text)
    if node is None:
        before = text if not text.strip() or text.endswith("\n") else text + "\n"
        return before.lstrip() + _dump(_wrap(keys, value), "", "  ") + "\n"
    unit = _unit(text, node)
    for depth, key in enumerate(keys):
        if not isinstance(node.data, list if key is APPEND else dict):
            wanted = "a list" if key is APPEND else "an object"
            raise ConfigError(f"{position(text, node.start)}: {keys[depth - 1]!r} is {_kind(node.data)}, not {wanted}")
        found = node.member(key)
        if found is None:
            return _insert(text, node, key, _wrap(keys[depth + 1 :], value), unit)
        node = found.value
    return text[: node.start] + _dump(value, _indent(text, node.start), unit) + text[node.end :]


def _drop(text: str, keys: Keys) -> str:
    """Remove a value, each time that its name occurs; in a list a key is the index as text."""
    while True:
        node = _parse(text)
        for key in keys[:-1]:
            inner = node.member(key) if node else None
            node = inner.value if inner else None
        found = node.member(keys[-1]) if node else None
        if node is None or found is None:
            return text
        text = _remove(text, node, found)


def _insert(text: str, node: _Node, key: str, value: object, unit: str) -> str:
    """Add a member behind the last one, in the style of its neighbours."""
    close, outer = node.end - 1, _indent(text, node.start)
    last = node.members[-1].value.end if node.members else node.start + 1
    gap = text[last:close]
    if not node.members and not gap.strip():
        return (
            f"{text[:last]}\n{outer}{unit}{_name(node, key)}{_dump(value, outer + unit, unit)}\n{outer}{text[close:]}"
        )
    has_comma = _comma(gap) is not None
    comma, trailing = ("," if node.members and not has_comma else ""), ("," if has_comma else "")
    if node.members and "\n" not in text[node.start : close]:
        kept = gap.rstrip()
        member = _name(node, key) + json.dumps(value, ensure_ascii=False)
        return f"{text[:last]}{comma}{kept} {member}{trailing}{text[last + len(kept) :]}"
    indent = _indent(text, node.members[0].start) if node.members else outer + unit
    member = f"{indent}{_name(node, key)}{_dump(value, indent, unit)}{trailing}\n"
    line = gap.rfind("\n") + 1
    if line:  # behind a comment on the last member
        return f"{text[:last]}{comma}{gap[:line]}{member}{gap[line:]}{text[close:]}"
    return f"{text[:last]}{comma}{gap.rstrip()}\n{member}{outer}{text[close:]}"


def _remove(text: str, node: _Node, member: _Member) -> str:
    """Remove a member with its comma, and with its line where nothing else is on it."""
    number = next(index for index, one in enumerate(node.members) if one is member)
    start, end = member.start, member.value.end
    comma = _comma(text[end : node.end])
    if comma is not None:
        end += comma + 1
    elif number:  # the one before becomes the last
        before = node.members[number - 1].value.end
        at = before + (_comma(text[before:start]) or 0)
        between = text[at + 1 : start]
        text = text[:at] + between + text[start:]
        start, end = start - 1, end - 1
        if not between.strip(" \t"):
            start = at
    line = text.rfind("\n", 0, start) + 1
    rest = re.compile(r"[ \t]*").match(text, end)
    stop = rest.end() if rest else end
    if text[stop : stop + 1] == "\n" and not text[line:start].strip():
        start, end = line, stop + 1
    elif text[start - 1].isspace() or text[start - 1] in "{[":
        end = stop
    text = text[:start] + text[end:]
    empty = _EMPTY.match(text, node.start)
    return text[: node.start + 1] + text[empty.end() - 1 :] if empty else text


def _comma(gap: str) -> int | None:
    """Return the index of the comma in a gap between two members, past comments; None if there is none."""
    blank = _BLANK.match(gap)
    at = blank.end() if blank else 0
    return at if gap.startswith(",", at) else None


def _wrap(keys: Keys, value: object) -> object:
    for key in reversed(keys):
        value = [value] if key is APPEND else {key: value}
    return value


def _name(node: _Node, key: str) -> str:
    return "" if isinstance(node.data, list) else f"{json.dumps(key, ensure_ascii=False)}: "


def _dump(value: object, indent: str, unit: str) -> str:
    """Write objects, and lists of objects, on several lines, everything else on one."""
    inner = indent + unit
    if isinstance(value, dict) and value:
        brackets, parts = "{}", [f"{json.dumps(key)}: {_dump(one, inner, unit)}" for key, one in value.items()]
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        brackets, parts = "[]", [_dump(one, inner, unit) for one in value]
    else:
        return json.dumps(value, ensure_ascii=False)
    lines = ",\n".join(inner + part for part in parts)
    return f"{brackets[0]}\n{lines}\n{indent}{brackets[1]}"


def _indent(text: str, at: int) -> str:
    """Return the blanks at the beginning of the line that holds a position."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _unit(text: str, root: _Node) -> str:
    """Return one step of the text's indentation."""
    for one in root.members:
        if "\n" in text[root.start : one.start] and (indent := _indent(text, one.start)):
            return indent
    return "  "


JSONC = Format(_read, _put, _drop)
