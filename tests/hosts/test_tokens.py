"""What the tool list and a reply cost, in tokens of o200k."""

import json

import pytest
from mcp import Client
from mcp.types import TextContent

from dinox_mcp.detector import Detector
from dinox_mcp.server.app import build_server
from dinox_mcp.settings import Settings
from tests.hosts.conftest import SAMPLE
from tests.hosts.tokens import count_tokens

pytestmark = pytest.mark.anyio
RESULT_ID = "h4f7xf47s3mas5ad"
"""An id as results have them; those of different ids differ by some tokens."""


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize(("settings", "most"), [({"backend": "dinox", "api_key": "any"}, 3600), ({}, 2700)])
async def test_the_tool_list_is_short(settings: dict[str, object], most: int) -> None:
    async with Detector(Settings.load(**settings)) as detector, Client(build_server(detector)) as client:
        tools = (await client.list_tools()).tools
    declared = [{"name": one.name, "description": one.description, "parameters": one.input_schema} for one in tools]
    assert count_tokens([compact(declared)])[0] <= most


async def test_data_costs_little_more_than_text() -> None:
    async with Detector(Settings.load(backend="embedded")) as detector, Client(build_server(detector)) as client:
        reply = await client.call_tool("detect_objects", {"image": str(SAMPLE), "prompts": ["text"]})
    (block,) = reply.content
    assert isinstance(block, TextContent)
    assert reply.structured_content is not None
    own_id = reply.structured_content["result_id"]
    texts = [block.text, compact(reply.structured_content)]
    text, data = count_tokens([one.replace(own_id, RESULT_ID) for one in texts])
    assert data <= 1.15 * text
