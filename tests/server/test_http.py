"""The real process, spoken to through a port."""

import base64
import io
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
import anyio.to_thread
import httpx2
import pytest
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent
from PIL import Image
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from dinox_mcp.server.http import BodyBudget
from tests.fakes import png
from tests.server.conftest import Start

DATA_URI = f"data:image/png;base64,{base64.b64encode(png(200, 200)).decode()}"
TOKEN = "let-me-in"
pytestmark = pytest.mark.anyio


@asynccontextmanager
async def connected(url: str, headers: dict[str, str]) -> AsyncIterator[Client]:
    """Connect a client that sends headers, over the transport that the URL says."""
    if url.endswith("/sse"):
        async with Client(sse_client(url, headers=headers)) as client:
            yield client
    else:
        async with (
            httpx2.AsyncClient(headers=headers) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            yield client


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_client_detects_through_a_port(start: Start, transport: str) -> None:
    server = start(transport, DINOX_MCP_BACKEND="embedded")
    target = sse_client(server.url) if transport == "sse" else server.url
    async with Client(target) as client:
        reply = await client.call_tool("detect_objects", {"image": DATA_URI, "prompts": "QR code"})
        shown = await client.call_tool("visualize", {"result": (reply.structured_content or {})["result_id"]})
    assert (reply.structured_content or {})["image"] == {"width": 200, "height": 200}
    assert [block.type for block in shown.content] == ["text", "image"]


async def test_local_files_are_not_readable_over_http(start: Start, tmp_path: os.PathLike[str]) -> None:
    path = anyio.Path(tmp_path) / "photo.png"
    await path.write_bytes(png())
    async with Client(start().url) as client:
        reply = await client.call_tool("detect_prompt_free", {"image": str(path)})
    assert reply.is_error
    assert isinstance(reply.content[0], TextContent)
    assert "HTTP" in reply.content[0].text


async def test_health_needs_no_token_and_everything_else_does(start: Start) -> None:
    server = start(DINOX_MCP_TOKEN=TOKEN)
    async with httpx2.AsyncClient() as http:
        health = await http.get(f"{server.root}/health")
        statuses = [
            (await http.post(server.url, headers=headers, json={})).status_code
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN})
        ]
    assert health.json()["status"] == "ok"
    assert statuses == [401, 401, 401]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_the_right_token_opens(start: Start, scheme: str) -> None:
    async with connected(start(DINOX_MCP_TOKEN=TOKEN).url, {"Authorization": f"{scheme} {TOKEN}"}) as client:
        assert "detect_objects" in {tool.name for tool in (await client.list_tools()).tools}


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_results_of_one_key_cannot_be_read_with_another(start: Start, transport: str) -> None:
    server = start(transport, DINOX_MCP_BACKEND="embedded")
    result_id = ""
    seen = {}
    for key in ("alice", "bob", "alice"):
        async with connected(server.url, {"X-DINOX-API-Key": key}) as client:
            if not result_id:
                reply = await client.call_tool("detect_objects", {"image": DATA_URI, "prompts": "QR code"})
                result_id = (reply.structured_content or {})["result_id"]
            seen[key] = not (await client.call_tool("visualize", {"result": result_id})).is_error
    assert seen == {"alice": True, "bob": False}


async def test_a_header_that_is_no_key_is_refused_without_repeating_it(start: Start) -> None:
    async with connected(start().url, {"X-DINOX-API-Key": "two words"}) as client:
        reply = await client.call_tool("detect_objects", {"image": DATA_URI, "prompts": "QR code"})
    assert reply.is_error
    assert "X-DINOX-API-Key is no key" in str(reply.content)
    assert "two words" not in str(reply.content)


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
async def test_another_host_or_origin_is_refused(start: Start, headers: dict[str, str]) -> None:
    async with httpx2.AsyncClient() as http:
        reply = await http.post(start().url, headers=headers, json={})
    assert reply.status_code in {403, 421}


async def test_a_picture_of_several_megabytes_fits_into_a_call(start: Start) -> None:
    bitmap = io.BytesIO()
    Image.new("RGB", (1600, 1200)).save(bitmap, "BMP")
    large = f"data:image/bmp;base64,{base64.b64encode(bitmap.getvalue()).decode()}"
    async with Client(start(DINOX_MCP_BACKEND="embedded").url) as client:
        reply = await client.call_tool("detect_objects", {"image": large, "prompts": "QR code"})
    assert len(large) > 7_000_000
    assert (reply.structured_content or {})["image"] == {"width": 1600, "height": 1200}


@pytest.mark.parametrize("headers", [{"content-length": "60"}, {"transfer-encoding": "chunked"}])
async def test_large_bodies_are_turned_away_while_there_is_no_room(headers: dict[str, str]) -> None:
    release = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await release.wait()
        await PlainTextResponse("done")(scope, receive, send)

    transport = httpx2.ASGITransport(BodyBudget(app, largest=60, total=100))
    async with (
        httpx2.AsyncClient(transport=transport, base_url="http://test") as http,
        anyio.create_task_group() as group,
    ):
        group.start_soon(partial(http.post, "/slow", content=b"x" * 60))
        await anyio.wait_all_tasks_blocked()
        turned_away = await http.post("/", headers=headers)
        small = await http.post("/", content=b"x" * 10)
        release.set()
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as http:
        afterwards = await http.post("/", content=b"x" * 60)
    assert (turned_away.status_code, small.status_code, afterwards.status_code) == (503, 200, 200)


@pytest.mark.parametrize("transport", ["http", "sse"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_an_idle_server_cleanly(start: Start, transport: str, number: signal.Signals) -> None:
    server = start(transport)
    async with Client(sse_client(server.url) if transport == "sse" else server.url) as client:
        await client.list_tools()
    assert await anyio.to_thread.run_sync(server.stop, number) < 1
    assert server.popen.returncode == 0


async def test_a_signal_ends_a_server_with_open_streams(start: Start) -> None:
    server = start("sse")
    try:
        async with Client(sse_client(server.url)) as client:
            await client.list_tools()
            assert await anyio.to_thread.run_sync(server.stop) < 2
    except* (httpx2.HTTPError, anyio.ClosedResourceError):
        pass  # the stream ended under the client, as it should
    assert server.popen.returncode == 0


async def test_a_model_that_cannot_be_loaded_ahead_is_told_and_the_server_serves_on(start: Start) -> None:
    server = start(DINOX_MCP_WARM_UP="1", DINOX_MCP_BACKEND="local", DINOX_MCP_MODEL="/nowhere/at-all")
    assert server.popen.stderr is not None
    line = await anyio.to_thread.run_sync(server.popen.stderr.readline)
    assert line.startswith(b"dinox-mcp: warming up failed: ")
    async with Client(server.url) as client:
        assert "detect_objects" in {tool.name for tool in (await client.list_tools()).tools}


def test_a_taken_port_is_one_clear_line(start: Start) -> None:
    port = start().root.rpartition(":")[2]
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "dinox_mcp", "serve", "--transport", "http", "--port", port],
        capture_output=True,
        check=False,
        text=True,
        timeout=20,
    )
    assert done.returncode == 2
    assert "choose another --host or --port" in done.stderr
    assert done.stderr.count("\n") == 1
