"""How tools are declared: from a typed function to the short schemas that hosts give their model.

A tool's full JSON schema, with ranges, defaults and all forms that are accepted, is what arguments are read by. The
list of tools shows a short one, as its tokens are in the context of every conversation.
"""

import inspect
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from mcp.types import Tool, ToolAnnotations
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from dinox_mcp.backends.base import Capabilities
from dinox_mcp.types.detection import Need

if TYPE_CHECKING:
    from dinox_mcp.server.protocol import DetectionServer

T = TypeVar("T", bound=Callable[..., Any])
Schema = dict[str, Any]
NEEDS = "needs"
"""The key in a parameter's schema that names the `Need` without which the parameter is not listed."""
_LISTED = ("type", "enum", "items", "properties", "required")


def tool(
    mcp: "DetectionServer",
    title: str,
    *,
    reply: type | None = None,
    needs: Need | None = None,
    meta: dict[str, Any] | None = None,
    read_only: bool = True,
    deletes: bool = False,
) -> Callable[[T], T]:
    """Add a tool to the server; its docstring is its description.

    Args:
        mcp: the server.
        title: what hosts show to their users.
        reply: the TypedDict of its structured content, for tools that have one.
        needs: the tool is not listed where no backend can do this.
        meta: `_meta` of the tool.
        read_only: it changes nothing on this machine.
        deletes: it may replace or delete something, so hosts ask their user before they call it.
    """

    def add(function: T) -> T:
        if needs is not None:
            mcp.needs[function.__name__] = needs
        if reply is not None:
            mcp.replies[function.__name__] = reply
        hints = ToolAnnotations(read_only_hint=read_only)
        if deletes or not read_only:
            hints = ToolAnnotations(read_only_hint=False, destructive_hint=deletes, idempotent_hint=True)
        return mcp.tool(
            title=title, description=inspect.getdoc(function), annotations=hints, meta=meta, structured_output=False
        )(spread(function))

    return add


def spread(function: T) -> T:
    """Give a function with `**options: Unpack[SomeTypedDict]` a signature with a parameter for each option.

    The default of a parameter is that of the `Field` in its annotation.
    """
    signature = inspect.signature(function, eval_str=True)
    parameters = list(signature.parameters.values())
    if parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
        (options,) = get_args(parameters.pop().annotation)
        for name, hint in get_type_hints(options, include_extras=True).items():
            (default,) = (part.default for part in get_args(hint) if isinstance(part, FieldInfo))
            one = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
            parameters.append(one)
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return function


def short_tool(tool: Tool, reply: type | None, able: Capabilities, said: set[tuple[str, str]]) -> Tool:
    """Make the form of a tool that is listed.

    Args:
        tool: the tool with its full schema.
        reply: the TypedDict of its structured content.
        able: what the backends can do; parameters and values that none of them serves are left out.
        said: names and descriptions of parameters in the tools before this one. A description is said once; this adds
            those of the tool.
    """
    schema = short(tool.input_schema)
    given = able.describes if tool.name == "describe_regions" else able.describes | able.outputs
    for name, full in tool.input_schema["properties"].items():
        part = schema["properties"][name]
        if name == "include":
            part["items"]["enum"] = [output for output in part["items"]["enum"] if output in given]
        needed = full.get(NEEDS)
        if (needed is not None and needed not in able.answers) or (name == "include" and not part["items"]["enum"]):
            del schema["properties"][name]
            continue
        description = full.get("description", "")
        if (name, description) not in said:
            part["description"] = description
            said.add((name, description))
    output = _reply_schema(reply) if reply else None
    return tool.model_copy(update={"input_schema": schema, "output_schema": output})


@cache
def _reply_schema(reply: type) -> Schema:
    return short(TypeAdapter(reply).json_schema(), optional=False)


def short(schema: Schema, *, optional: bool = True) -> Schema:
    """Leave the types, names and required names of a JSON schema, without references.

    Of several forms that are accepted, the first is left. A fixed number of equal values becomes a list, as some hosts
    do not know tuples. Where not `optional`, only required properties are left: no host shows its model the schema of
    a reply, and clients that check a reply by it accept more properties.
    """
    definitions = schema.get("$defs", {})

    def shorten(part: Schema) -> Schema:
        if "$ref" in part:
            return shorten(definitions[part["$ref"].rpartition("/")[2]])
        if "anyOf" in part:
            return shorten(part["anyOf"][0])
        lean = {key: part[key] for key in _LISTED if key in part}
        if "properties" in lean:
            lean["properties"] = {
                name: shorten(one)
                for name, one in lean["properties"].items()
                if optional or name in part.get("required", ())
            }
        if "prefixItems" in part:
            lean["items"] = part["prefixItems"][0]
        if "items" in lean:
            lean["items"] = shorten(lean["items"])
        return lean

    return shorten(schema)
