"""Writes docs/api.md: the public names of the package, from their docstrings and types."""

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, get_type_hints, is_typeddict

from pydantic import BaseModel

import dinox_mcp

_SECTIONS = {"Args", "Attributes", "Returns", "Raises", "Yields", "Example", "Examples", "Note"}
_ENTRY = re.compile(r"(\w[\w.]*): (.*)", re.DOTALL)


def api(notice: str) -> str:
    """Return the page; `notice` is the comment that it is generated."""
    lines = ["# Python reference", "", notice, ""]
    lines += [
        "Every public name: `from dinox_mcp import …`. Everything else in the package is internal and may change.",
        "The [guide](python.md) shows how they go together.",
        "",
    ]
    for name in sorted(dinox_mcp.__all__, key=_order):
        lines += [*_entry(name, getattr(dinox_mcp, name)), ""]
    return "\n".join(lines)


def _order(name: str) -> tuple[int, str]:
    """Sort: Detector, Settings, values and functions, errors."""
    value = getattr(dinox_mcp, name)
    is_error = isinstance(value, type) and issubclass(value, Exception)
    return (("Detector", "Settings").index(name) if name in ("Detector", "Settings") else 3 if is_error else 2, name)


def _entry(name: str, value: Any) -> list[str]:  # noqa: ANN401 - any public name
    lines = [f"## {name}", ""]
    if inspect.ismodule(value):
        return lines + _module(name, value)
    if inspect.isfunction(value):
        return [*lines, *_signature(name, value), "", *_docstring(value)]
    if not isinstance(value, type):
        return [*lines, f"```python\n{name} = {_plain(value)}\n```"]
    if issubclass(value, Exception):
        base = value.__bases__[0].__name__
        return [*lines, f"An error, a kind of `{base}`; code `{getattr(value, 'code', '')}`.", "", *_docstring(value)]
    if not _is_record(value) and not getattr(value, "_is_protocol", False):
        lines += [*_signature(name, value), ""]
    lines += _docstring(value)
    if fields := list(_fields(name, value)):
        lines += ["", "| field | type | |", "|---|---|---|", *fields]
    for method_name, method in _methods(value):
        lines += ["", *_function(f"{name}.{method_name}", method)]
    return lines


def _module(name: str, module: ModuleType) -> list[str]:
    """Document the functions of a module, and its errors in a table."""
    lines = _docstring(module)
    errors = [one for _, one in inspect.getmembers(module, inspect.isclass) if issubclass(one, Exception)]
    if errors:
        rows = [
            f"| `{one.__name__}` | `{one.code}` | {_cell(inspect.getdoc(one) or '').partition('. ')[0]} |"
            for one in errors
        ]
        lines += ["", "| error | code | |", "|---|---|---|", *rows]
    for function_name, function in inspect.getmembers(module, inspect.isfunction):
        if not function_name.startswith("_") and function.__module__ == module.__name__:
            lines += ["", *_function(f"{name}.{function_name}", function)]
    return lines


def _is_record(value: type) -> bool:
    return issubclass(value, BaseModel) or dataclasses.is_dataclass(value) or is_typeddict(value)


def _fields(name: str, value: type) -> Iterator[str]:
    """List the fields of a record; those of the settings have a page of their own."""
    if name == "Settings":
        yield "| | | [all options](settings.md) |"
    elif issubclass(value, BaseModel):
        for field_name, field in value.model_fields.items():
            yield f"| `{field_name}` | {_type(field.annotation)} | {_cell(field.description or '')} |"
    else:
        names = [one.name for one in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else None
        if names or is_typeddict(value):
            hints = get_type_hints(value)
            yield from (f"| `{one}` | {_type(hints[one])} | |" for one in names or hints)


def _methods(value: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """List the public methods that a class defines itself and documents, in their order."""
    for name, method in vars(value).items():
        function = method.__func__ if isinstance(method, classmethod | staticmethod) else method
        if inspect.isfunction(function) and not name.startswith("_") and function.__doc__:
            yield name, function


def _function(name: str, function: Callable[..., Any]) -> list[str]:
    return [f"### {name}", "", *_signature(name.rpartition(".")[2], function), "", *_docstring(function)]


def _signature(name: str, value: Callable[..., Any]) -> list[str]:
    """Write a signature without `self`, on several lines where it is long."""
    signature = inspect.signature(value)
    parts = [
        _plain(part.replace(annotation=_bare(part.annotation)))
        for key, part in signature.parameters.items()
        if key not in ("self", "cls")
    ]
    returned = (
        "" if signature.return_annotation is inspect.Signature.empty else f" -> {_name(signature.return_annotation)}"
    )
    prefix = "await " if inspect.iscoroutinefunction(value) else ""
    line = f"{prefix}{name}({', '.join(parts)}){returned}"
    if len(line) > 100:  # noqa: PLR2004 - the width of a page
        line = f"{prefix}{name}(\n    " + ",\n    ".join(parts) + f",\n){returned}"
    return ["```text", line, "```"]


def _docstring(value: Any) -> list[str]:  # noqa: ANN401 - any public name
    """Turn a docstring in Google style into Markdown: sections become lists."""
    lines: list[str] = []
    section = ""
    for block in re.split(r"\n\s*\n", inspect.getdoc(value) or ""):
        head, _, rest = block.partition("\n")
        if head.rstrip(":") in _SECTIONS and head.endswith(":"):
            section = head.rstrip(":")
            body = textwrap.dedent(rest)
            if section.startswith("Example"):
                lines += ["```python", body, "```", ""]
            else:
                lines += [f"**{section}**", "", *(f"- {_item(item)}" for item in re.split(r"\n(?=\S)", body)), ""]
        else:
            lines += [block, ""]
    return lines[:-1]


def _item(text: str) -> str:
    """Write an entry of a section: its name, which is often an argument, as code."""
    plain = " ".join(text.split())
    match = _ENTRY.fullmatch(plain)
    return f"`{match[1]}`: {match[2]}" if match else plain


def _type(annotation: object) -> str:
    return f"`{_name(annotation)}`".replace("|", "\\|")


def _name(annotation: object) -> str:
    annotation = _bare(annotation)
    return _plain(
        annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else annotation
    )


def _bare(annotation: Any) -> Any:  # noqa: ANN401 - any annotation
    """Return an annotation without the rules of pydantic in it, which only `get_type_hints` takes out at all depths."""
    if isinstance(annotation, str) or annotation in (None, inspect.Parameter.empty):
        return annotation
    return get_type_hints(SimpleNamespace(__annotations__={"value": annotation}))["value"]


def _plain(value: object) -> str:
    """Write a value without the names of modules, and without addresses, which differ from run to run."""
    text = re.sub(r"<(?:function|bound method|class) '?([\w.]+)'?[^>]*>", r"\1", str(value))
    text = re.sub(r"'Unpack\[(\w+)\]'", r"*\1", text)  # a string, where the types are imported late
    return re.sub(r"(?<![\w'])(?:[a-z_][\w]*\.)+(?=[A-Za-z_])", "", text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
