"""Arguments as clients write them become arguments as the tool's schema has them, before validation.

Clients send null, "" or 0 for what they do not use, JSON inside strings, and one value where a list is expected. One
walk through the arguments corrects this. It also limits sizes, so that validation never gets a long list: a validator
explains each wrong item, which takes minutes for a million of them.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from reprlib import Repr
from typing import Any

from pydantic import ValidationError

from dinox_mcp.errors import InputError
from dinox_mcp.types.text import split_at_commas

Schema = Mapping[str, Any]

MAX_ITEMS = 1000
"""Items of a list."""
MAX_TEXT = 100_000
"""Characters of a string that is not an image."""
MAX_NAMES = 100
"""Names in an object, those of the arguments included."""
MAX_SEPARATORS = 20_000
"""Commas and opening brackets of JSON inside a string, which is how many values it holds at most."""
_DEPTH = 5
_BOX = 4
_IMAGES = frozenset(("image", "before", "after"))
"""The arguments that may hold an image as a data: URI, at any depth."""
_NOTHING = frozenset(("null", "none", "undefined"))


def normalize(arguments: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """Bring a tool's arguments into the form of its schema: unused ones left out, strings decoded, lists made.

    Names that the schema does not have are left out. What does not fit the schema is left for validation to refuse.

    Raises:
        InputError: a list, a string or an object is too large.
    """
    _check_size(arguments, MAX_NAMES, "the call", "arguments")
    known = {name: value for name, value in arguments.items() if name in schema["properties"]}
    return _Walk(schema.get("$defs", {})).properties(known, schema, "")


class _Walk:
    """A walk through values along their schemas; `where` is the name of a value in messages, as in examples[0].bbox."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions

    def properties(self, given: Mapping[str, Any], schema: Schema, where: str) -> dict[str, Any]:
        """Walk through an object, leaving out optional properties that are not used."""
        _check_size(given, MAX_NAMES, where, "names")
        required = schema.get("required", ())
        kept = {}
        for name, value in given.items():
            part = schema["properties"].get(name)
            walked = value if part is None else self.value(value, part, f"{where}.{name}" if where else name)
            if walked is None or (name not in required and self._is_unused(walked, part or {})):
                continue
            kept[name] = walked
        return kept

    def value(self, value: Any, schema: Schema, where: str) -> Any:  # noqa: ANN401 - whatever a client sends
        """Walk through a value of any kind."""
        choices = self._choices(schema)
        array = next((one for one in choices if one.get("type") == "array"), None)
        if isinstance(value, str):
            value = _decode(value, choices, array, where)
        if array is not None:
            value = self._listed(value, array, choices)
            if isinstance(value, list):
                return self._items(value, array, where)
        record = next((one for one in choices if "properties" in one), None)
        if record is not None and isinstance(value, dict):
            return self.properties(value, record, where)
        return value

    def _items(self, values: list[Any], array: Schema, where: str) -> list[Any]:
        if "prefixItems" in array:  # of fixed length, which validation checks first
            return values
        _check_size(values, MAX_ITEMS, where, "items")
        return [
            self.value(value, array["items"], f"{where}[{index}]")
            for index, value in enumerate(values)
            if value is not None and not (isinstance(value, str) and not value.strip())
        ]

    def _listed(self, value: object, array: Schema, choices: list[Schema]) -> object:
        """Make a list of one thing, where the schema has lists of such things."""
        if "prefixItems" in array or any(one.get("type") == "string" for one in choices):
            return value
        inner = self._choices(array["items"])[0]
        if inner.get("type") == "array":  # a list of boxes: four numbers are one box
            return [value] if isinstance(value, list) and _is_one_box(value) else value
        if "properties" in inner:
            return [value] if isinstance(value, dict) else value
        return [value] if isinstance(value, str | int | float) else value

    def _is_unused(self, value: object, schema: Schema) -> bool:
        """Return whether a value of an optional property stands for "not given"."""
        if _is_empty(value):
            return True
        if schema.get("default", ...) not in (None, []):
            return False
        if isinstance(value, str):
            return value.strip().casefold() in _NOTHING
        least = (one.get("minimum", 1) for one in (schema, *self._choices(schema)))
        return min(least) > 0 and _is_zero(value)

    def _choices(self, schema: Schema) -> list[Schema]:
        """List the schemas that a value may follow, without references, unions and null."""
        if "$ref" in schema:
            return self._choices(self._definitions[schema["$ref"].rpartition("/")[2]])
        if "anyOf" in schema:
            return [choice for one in schema["anyOf"] for choice in self._choices(one)]
        return [] if schema.get("type") == "null" else [schema]


def _decode(text: str, choices: list[Schema], array: Schema | None, where: str) -> Any:  # noqa: ANN401 - any JSON
    """Read JSON, or a list with commas, where the schema has no free string or the text is clearly a list."""
    free = any(one.get("type") == "string" and "enum" not in one for one in choices)
    inner = array["items"] if array and "items" in array else {}
    texts = inner.get("type") == "string"
    if not free or (array and text.lstrip().startswith("[")):
        parsed = _parse(text, where)
        if parsed is not text and (isinstance(parsed, list) or not (free or texts)):
            return parsed
    _check_length(text, where)
    if free or array is None or "," not in text:
        return text
    if texts and "enum" not in inner:
        return split_at_commas(text)
    if inner.get("type") in {"string", "integer"} or "prefixItems" in array:
        return [part.strip() for part in text.strip(" []()").split(",", MAX_ITEMS + 1)]
    return text


def _parse(text: str, where: str) -> Any:  # noqa: ANN401 - any JSON
    """Read JSON; text that is not JSON stays as it is, and too many values raise InputError."""
    values = sum(map(text.count, ",[{"))
    if values > MAX_SEPARATORS:
        raise InputError(f"{where} holds more than {MAX_SEPARATORS} values; send fewer, split over several calls")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _check_size(values: Mapping[str, Any] | list[Any], most: int, where: str, things: str) -> None:
    if len(values) > most:
        raise InputError(f"{where} has {len(values)} {things}, more than {most}; split them over several calls")


def _check_length(text: str, where: str) -> None:
    if len(text) > MAX_TEXT and where.rpartition(".")[2] not in _IMAGES:
        raise InputError(f"{where} has {len(text)} characters, more than {MAX_TEXT}; send a shorter text")


def _is_one_box(values: list[Any]) -> bool:
    return len(values) == _BOX and not any(
        isinstance(one, list) or (isinstance(one, str) and "," in one) for one in values
    )


def _is_empty(value: object, depth: int = 0) -> bool:
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, dict | list) and depth < _DEPTH:
        return all(_is_empty(one, depth + 1) for one in (value.values() if isinstance(value, dict) else value))
    return value is None


def _is_zero(value: object) -> bool:
    """Return whether a value is 0, or a box or a list of one object number with zeros only; a point may be [0, 0]."""
    if isinstance(value, list):
        return len(value) in {1, _BOX} and all(map(_is_zero, value))
    return isinstance(value, int | float) and not isinstance(value, bool) and value == 0


_LONGEST = 60
"""Characters of a name that may be a near miss; longer ones are not compared, as that takes time."""
_CLOSE = 0.82
"""Similarity from which on a name counts as misspelt: `minscore` does, `action` is not a misspelt `caption`."""
_OTHER_NAMES = {
    "prompts": ("classes", "classnames", "categories", "queries", "textprompt", "phrases"),
    "min_score": ("threshold", "score", "confidence", "conf", "minconfidence", "scorethreshold", "confidencethreshold"),
    "iou_threshold": ("iou", "nms", "nmsthreshold"),
    "max_objects": ("limit", "topk", "maxresults", "maxdetections"),
    "bbox": ("box", "boundingbox", "rect"),
    "boxes": ("bboxes", "regions", "boundingboxes"),
    "result": ("resultid",),
    "object": ("objectid", "objectnumber"),
    "to": ("folder", "outputfolder", "outputdir", "directory", "path"),
    "format": ("as", "kind"),
    "image": ("imagepath", "imageurl", "imageuri"),
    "images": ("folder", "directory", "files", "pattern", "glob", "imagepaths"),
}
"""Names that other vision tools have for our arguments, in lower case without underscores."""


def check_names(given: Iterable[str], known: Collection[str]) -> None:
    """Refuse the first name that is almost one of the tool's own; other unknown names are ignored.

    Raises:
        InputError: there is one; the message names the argument that it may stand for.
    """
    for name in given:
        if name not in known and (meant := _nearest(name, known)):
            raise InputError(
                f"there is no argument {name!r}; its arguments are {', '.join(known)}; did you mean {meant!r}?"
            )


def _nearest(name: str, known: Collection[str]) -> str | None:
    if len(name) > _LONGEST:
        return None
    from difflib import get_close_matches

    folded = {_fold(one): one for one in known}
    word = _fold(name)
    for one, others in _OTHER_NAMES.items():
        if one in known and word in others:
            return one
    close = get_close_matches(word, folded, n=1, cutoff=_CLOSE)
    return folded[close[0]] if close else None


def _fold(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "")


_SHORT = Repr()  # shows a value in a message without walking through all of it
_SHORT.maxstring = _SHORT.maxother = 80


def explain(error: ValidationError) -> str:
    """Describe the first wrong argument in one line; where several forms are accepted, it names all of them."""
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    *path, last = loc = first["loc"]
    if first["type"] == "missing" and not path:
        return f"the argument {last!r} is missing; pass it"
    got = _SHORT.repr(first["input"])
    if first["type"] == "missing" and isinstance(last, int):
        return f"{_name(path)}: {got} is too short; a box has 4 numbers, a point 2"
    if first["type"] == "missing":
        return f"{_name(path)}.{last} is missing; pass it"
    if first["type"] == "extra_forbidden":
        return f"{_name(path)} has no {last!r:.80}; leave it out, or correct its spelling"
    wanted = " or ".join(dict.fromkeys(_wanted(one["msg"]) for one in problems if one["loc"][0] == loc[0]))
    return (
        f"{_name(loc)}: {wanted}" if first["type"] == "value_error" else f"{_name(loc)}: {got} is not valid; {wanted}"
    )


def _name(loc: Sequence[int | str]) -> str:
    """Write the location of a value as in examples[0].bbox; the forms of a union, which pydantic adds, are left out."""
    inner = (
        f"[{part}]" if isinstance(part, int) else f".{part}" * isinstance(before, int) for before, part in pairwise(loc)
    )
    return str(loc[0]) + "".join(inner)


def _wanted(message: str) -> str:
    message = message.removeprefix("Value error, ").replace("tuple", "list")
    message = re.sub(r"dictionary or instance of \w+", "object", message)
    return message[0].lower() + message[1:]
