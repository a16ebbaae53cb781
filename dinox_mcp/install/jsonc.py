"""Edits JSON with comments and trailing commas; the rest of the text stays as it is.

The edits are made in the text itself. No library does this: `jsonc-edit` starts Node, `jsonc-document` needs Python
3.12, and `json-five` writes the file anew from a model.
"""

import json
import re
from typing import Any

from dinox_mcp.install.jsonc_reader import BLANK, Member, Node, kind, parse, position
from dinox_mcp.install.toml import ConfigError, Keys


class _Append(str):
    """A type of its own, as "-" may be the name of a member."""

    __slots__ = ()


APPEND = _Append("-")
"""As a key: the index behind the last element of a list. It is recognized by identity."""
_EMPTY = re.compile(r"\{\s*\}|\[\s*\]")


def read(text: str) -> dict[str, Any]:
    """Return the object that a text holds; only blanks and comments are an empty object.

    Raises:
        ConfigError: The text is broken, or not an object; the message has the position.
    """
    root = parse(text)
    return {} if root is None else dict(root.data)


def put(text: str, keys: Keys, value: object) -> str:
    """Set a value: replace the present one, or add it as the last member. `APPEND` as a key is the end of a list.

    Raises:
        ConfigError: The text is broken, or a value on the way has no members.
    """
    node = parse(text)
    if node is None:
        before = text if not text.strip() or text.endswith("\n") else text + "\n"
        return before.lstrip() + _dump(_wrap(keys, value), "", "  ") + "\n"
    unit = _unit(text, node)
    for depth, key in enumerate(keys):
        if not isinstance(node.data, list if key is APPEND else dict):
            wanted = "a list" if key is APPEND else "an object"
            raise ConfigError(f"{position(text, node.start)}: {keys[depth - 1]!r} is {kind(node.data)}, not {wanted}")
        found = node.member(key)
        if found is None:
            return _insert(text, node, key, _wrap(keys[depth + 1 :], value), unit)
        node = found.value
    return text[: node.start] + _dump(value, _indent(text, node.start), unit) + text[node.end :]


def drop(text: str, keys: Keys) -> str:
    """Remove a value, each time that its name occurs; in a list a key is the index as text.

    Raises:
        ConfigError: The text is broken.
    """
    while True:
        node = parse(text)
        for key in keys[:-1]:
            inner = node.member(key) if node else None
            node = inner.value if inner else None
        found = node.member(keys[-1]) if node else None
        if node is None or found is None:
            return text
        text = _remove(text, node, found)


def _insert(text: str, node: Node, key: str, value: object, unit: str) -> str:
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


def _remove(text: str, node: Node, member: Member) -> str:
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
    blank = BLANK.match(gap)
    at = blank.end() if blank else 0
    return at if gap.startswith(",", at) else None


def _wrap(keys: Keys, value: object) -> object:
    for key in reversed(keys):
        value = [value] if key is APPEND else {key: value}
    return value


def _name(node: Node, key: str) -> str:
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


def _unit(text: str, root: Node) -> str:
    """Return one step of the text's indentation."""
    for one in root.members:
        if "\n" in text[root.start : one.start] and (indent := _indent(text, one.start)):
            return indent
    return "  "
