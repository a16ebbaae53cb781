from typing import Annotated, TypedDict, Unpack

from mcp.types import Tool
from pydantic import Field

from dinox_mcp.backends.base import Capabilities
from dinox_mcp.server.protocol import short, short_tool, spread


def test_only_types_and_names_are_left() -> None:
    schema = {"title": "Tool", "properties": {"title": {"title": "Title", "type": "string", "default": "x"}}}
    assert short(schema) == {"properties": {"title": {"type": "string"}}}


def test_of_several_forms_the_first_is_left() -> None:
    choices = [{"type": "array", "items": {"type": "string"}}, {"type": "string"}, {"type": "null"}]
    assert short({"properties": {"prompts": {"anyOf": choices, "default": None}}}) == {
        "properties": {"prompts": {"type": "array", "items": {"type": "string"}}}
    }


def test_a_tuple_of_equals_is_a_list() -> None:
    schema = {"type": "array", "prefixItems": [{"type": "number"}] * 4, "minItems": 4, "maxItems": 4}
    assert short(schema) == {"type": "array", "items": {"type": "number"}}


def test_references_are_replaced() -> None:
    schema = {
        "$defs": {"Box": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}},
        "properties": {"boxes": {"type": "array", "items": {"$ref": "#/$defs/Box"}}},
    }
    box = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}
    assert short(schema) == {"properties": {"boxes": {"type": "array", "items": box}}}


def test_a_parameter_is_described_in_the_first_tool_that_has_it() -> None:
    schema = {"properties": {"image": {"type": "string", "description": "A path."}}}
    tools = [Tool(name=name, input_schema=schema) for name in ("one", "two")]
    said: set[tuple[str, str]] = set()
    listed = [short_tool(tool, None, Capabilities(), said).input_schema["properties"]["image"] for tool in tools]
    assert listed == [{"type": "string", "description": "A path."}, {"type": "string"}]


class Options(TypedDict, total=False):
    """Options with their defaults."""

    size: Annotated[int, Field(default=3)]


def test_options_become_parameters_with_their_defaults() -> None:
    import inspect

    @spread
    def tool(image: str, **options: Unpack[Options]) -> None: ...

    parameters = inspect.signature(tool).parameters
    assert list(parameters) == ["image", "size"]
    assert parameters["size"].default == 3
