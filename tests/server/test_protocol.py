"""The list of tools is short, and what is said of mistakes is harmless."""

import inspect
from pathlib import Path
from typing import Annotated, TypedDict, Unpack

import pytest
from mcp.types import Tool
from pydantic import Field

from dinox_mcp.backends.base import Capabilities
from dinox_mcp.detector import Detector
from dinox_mcp.server.app import build_server
from dinox_mcp.server.protocol import short, short_tool, spread
from dinox_mcp.settings import Settings
from tests.fakes import FakeBackend, png
from tests.server.conftest import Connect
from tests.server.test_tools import data_of, text_of

HOSTILE = "cat\x1b[31m\u202e\u2028x"


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
    @spread
    def tool(image: str, **options: Unpack[Options]) -> None: ...

    parameters = inspect.signature(tool).parameters
    assert list(parameters) == ["image", "size"]
    assert parameters["size"].default == 3


@pytest.mark.anyio
async def test_notes_and_errors_are_clean(connect: Connect, backend: FakeBackend, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png())
    backend.notes = (f"nobody knows {HOSTILE}",)
    async with connect() as client:
        reply = await client.call_tool("detect_prompt_free", {"image": str(tmp_path / "photo.png")})
        error = await client.call_tool("detect_prompt_free", {"image": f"/nowhere/{HOSTILE}.png"})
    assert r"nobody knows cat\u001b[31m\u202e\u2028x" in text_of(reply)
    assert all(note.isprintable() for note in data_of(reply)["notes"])
    assert error.is_error
    assert text_of(error).isprintable()


@pytest.mark.parametrize(("transport", "named"), [("stdio", True), ("http", False)])
def test_errors_name_folders_only_to_the_user_of_this_machine(transport: str, named: bool) -> None:
    server = build_server(Detector(Settings.load(transport=transport, backend="embedded")))
    assert (str(Path.home()) in server.clean(f"no such file {Path.home()}/x.png")) is named
