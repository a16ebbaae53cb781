"""Hosts with MCP Apps get a page beside the answers; hosts without it see what they always saw."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import get_args

import pytest
from mcp import Client, MCPError
from mcp.client import advertise
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID

from dinox_mcp.backends.base import Capabilities
from dinox_mcp.detector import Detector
from dinox_mcp.server.app import build_server
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Need
from dinox_mcp.viewer.page import URI
from tests.fakes import FakeBackend, png
from tests.server.conftest import Connect, Era

pytestmark = pytest.mark.anyio

IMAGE = "data:image/png;base64," + base64.b64encode(png()).decode()
SHOWN = {
    "detect_objects",
    "detect_prompt_free",
    "detect_by_example",
    "count_objects",
    "describe_regions",
    "compare_images",
    "search_images",
}


@asynccontextmanager
async def host(era: Era, *, apps: bool) -> AsyncIterator[Client]:
    """Connect a host that has MCP Apps, or has not."""
    detector = Detector(Settings.load(backend="fake"), backends=[FakeBackend()])
    extensions = [advertise(EXTENSION_ID, {"mimeTypes": [APP_MIME_TYPE]})] if apps else []
    async with detector, Client(build_server(detector), mode=era, extensions=extensions) as client:
        yield client


@pytest.mark.slow
async def test_the_tools_that_answer_data_name_the_page(connect: Connect, backend: FakeBackend) -> None:
    backend.able = Capabilities(answers=frozenset(get_args(Need)))
    async with connect() as client:
        tools = (await client.list_tools()).tools
    named = {tool.name for tool in tools if (tool.meta or {}).get("ui") == {"resourceUri": URI}}
    assert named >= SHOWN
    assert not named & {"visualize", "zoom", "save_prompt"}, "what answers pictures shows them itself"


async def test_the_page_is_a_resource_that_asks_for_no_outside_domain(connect: Connect) -> None:
    async with connect() as client:
        (page,) = (await client.read_resource(URI)).contents
    assert page.mime_type == "text/html;profile=mcp-app"
    assert page.text.startswith("<!doctype html>")  # type: ignore[union-attr]
    assert page.meta == {"ui": {"prefersBorder": True}}


async def test_the_extension_is_announced() -> None:
    async with host("auto", apps=True) as client:
        assert EXTENSION_ID in (client.server_capabilities.extensions or {})


async def test_answers_are_the_same_with_and_without_the_extension(era: Era) -> None:
    answers = []
    for apps in (False, True):
        async with host(era, apps=apps) as client:
            result = await client.call_tool("detect_objects", {"image": IMAGE, "prompts": ["dog", "cat"]})
            root = result.structured_content["result_id"]  # type: ignore[index]
            answers.append(json.loads(result.model_dump_json(exclude={"meta"}).replace(root, "ID")))
    assert answers[0] == answers[1]
    assert [block["type"] for block in answers[0]["content"]] == ["text"]


async def test_the_picture_comes_small_enough_and_in_parts(connect: Connect) -> None:
    async with connect(preview_max_side=64) as client:
        result = await client.call_tool("detect_objects", {"image": IMAGE, "prompts": ["dog"]})
        root = result.structured_content["result_id"]  # type: ignore[index]
        (whole,) = (await client.read_resource(f"dinox://results/{root}/preview.jpg")).contents
        (part,) = (await client.read_resource(f"dinox://results/{root}/regions/10_10_40_30.jpg")).contents
    assert whole.mime_type == part.mime_type == "image/jpeg"
    assert whole.blob.startswith("/9j/")  # type: ignore[union-attr]
    assert part.blob.startswith("/9j/")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("path", "message"),
    [("nothere/preview.jpg", "there is no result"), ("{id}/regions/1_2.jpg", "is not a region")],
)
async def test_what_cannot_be_shown_is_said(connect: Connect, path: str, message: str) -> None:
    async with connect() as client:
        result = await client.call_tool("detect_objects", {"image": IMAGE, "prompts": ["dog"]})
        path = path.replace("{id}", result.structured_content["result_id"])  # type: ignore[index]
        with pytest.raises(MCPError, match=message):
            await client.read_resource(f"dinox://results/{path}")
