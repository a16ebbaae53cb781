"""What a host of either protocol era relies on: initialize, list, call, errors, resources."""

import json
from pathlib import Path

import pytest
from mcp import MCPError
from mcp.types import TextContent, TextResourceContents

from tests.fakes import png
from tests.server.conftest import Connect, Era

pytestmark = pytest.mark.anyio
TOOLS = {
    "detect_objects",
    "detect_prompt_free",
    "count_objects",
    "describe_regions",
    "visualize",
    "zoom",
    "compare_images",
    "export_objects",
    "detect_video",
    "search_images",
}


@pytest.fixture(params=["auto", "legacy"], ids=["2026-07-28", "2025-11-25"])
def era(request: pytest.FixtureRequest) -> Era:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "photo.png"
    path.write_bytes(png(100, 100))
    return str(path)


async def test_the_server_introduces_itself(connect: Connect) -> None:
    async with connect() as client:
        assert client.server_info.name == "dinox-mcp"
        assert "detect_objects" in (client.instructions or "")
        assert "dinox://results/{result_id}, and below it /annotated.jpg" in (client.instructions or "")


async def test_tools_resources_and_prompts_are_listed(connect: Connect) -> None:
    async with connect() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        templates = [one.uri_template for one in (await client.list_resource_templates()).resource_templates]
        prompts = [one.name for one in (await client.list_prompts()).prompts]
    assert tools.keys() == TOOLS
    assert tools["detect_objects"].output_schema
    assert tools["visualize"].output_schema is None
    assert "dinox://results/{result_id}" in templates
    assert "count_objects" in prompts


async def test_a_call_replies_with_data_and_text_and_keeps_a_resource(connect: Connect, photo: str) -> None:
    async with connect() as client:
        reply = await client.call_tool("detect_objects", {"image": photo, "prompts": ["dog", "cat"]})
        assert reply.structured_content is not None
        result_id = reply.structured_content["result_id"]
        (kept,) = (await client.read_resource(f"dinox://results/{result_id}")).contents
        shown = await client.call_tool("visualize", {"result": result_id})
    assert reply.structured_content["counts"] == {"dog": 1, "cat": 1}
    assert isinstance(reply.content[0], TextContent)
    assert "Found 2 objects in the 100x100 image: 1 dog, 1 cat" in reply.content[0].text
    assert isinstance(kept, TextResourceContents)
    assert json.loads(kept.text)["counts"] == {"dog": 1, "cat": 1}
    assert [block.type for block in shown.content] == ["text", "image"]


@pytest.mark.parametrize(
    ("tool", "arguments", "text", "meta"),
    [
        (
            "detect_objects",
            {"image": "/nowhere/at-all.jpg", "prompts": "dog"},
            "at-all.jpg",
            {"code": "image_unreadable"},
        ),
        ("detect_objects", {"image": "PHOTO", "prompts": 7}, "prompts: ", {"code": "invalid_input"}),
        (
            "visualize",
            {"result": "gone"},
            "no result 'gone'",
            {"code": "not_found"},
        ),
        (
            "detect-all-objects",
            {"imageFileUri": "PHOTO"},
            "there is no tool 'detect-all-objects' here; call detect_prompt_free",
            {"code": "invalid_input", "remedy": "call detect_prompt_free"},
        ),
        (
            "ground_phrases",
            {"image": "PHOTO", "caption": "a dog"},
            "there is no tool 'ground_phrases' here; call detect_objects with caption=",
            {"code": "invalid_input", "remedy": "call detect_objects with caption=…"},
        ),
        (
            "delete_prompt",
            {"name": "x"},
            "call save_prompt with delete=true",
            {"code": "invalid_input", "remedy": "call save_prompt with delete=true"},
        ),
        ("find_by_description", {}, "call detect_objects with description=", {"code": "invalid_input"}),
        ("dance", {}, "there is no tool 'dance'; the tools are detect_objects, ", {"code": "invalid_input"}),
    ],
)
@pytest.mark.slow
async def test_a_mistake_is_one_line_with_a_code_and_a_remedy(
    connect: Connect, photo: str, tool: str, arguments: dict[str, object], text: str, meta: dict[str, str]
) -> None:
    given = {name: photo if value == "PHOTO" else value for name, value in arguments.items()}
    async with connect() as client:
        reply = await client.call_tool(tool, given)
    assert reply.is_error
    assert isinstance(reply.content[0], TextContent)
    assert text in reply.content[0].text
    assert "\n" not in reply.content[0].text
    assert reply.meta is not None
    assert meta.items() <= reply.meta.items()


async def test_a_resource_that_is_not_there_is_an_error(connect: Connect) -> None:
    async with connect() as client:
        with pytest.raises(MCPError, match="no result 'gone'"):
            await client.read_resource("dinox://results/gone")
