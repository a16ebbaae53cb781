"""The real process, spoken to through a port."""

import base64
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import anyio
import anyio.to_thread
import httpx2
import pytest
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent
from PIL import Image

from tests.fakes import png

DATA_URI = f"data:image/png;base64,{base64.b64encode(png(200, 200)).decode()}"
TOKEN = "let-me-in"
pytestmark = pytest.mark.anyio


class Server:
    """A server process on a free port."""

    def __init__(self, transport: str, **environment: str) -> None:
        self.popen = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "dinox_mcp", "serve", "--transport", transport, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | environment,
        )
        assert self.popen.stderr is not None
        line = self.popen.stderr.readline().decode()
        match = re.search(r"http://\S+", line)
        assert match, line + self.popen.stderr.read().decode()
        self.url = match[0]
        self.root = self.url.rpartition("/")[0]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send a signal; give the seconds until the process ended."""
        started = time.monotonic()
        self.popen.send_signal(number)
        self.popen.wait(10)
        return time.monotonic() - started


Start = Callable[..., Server]


@pytest.fixture
def start() -> Iterator[Start]:
    """Give a function that starts servers, which end with the test."""
    servers: list[Server] = []

    def starting(transport: str = "http", **environment: str) -> Server:
        servers.append(Server(transport, **environment))
        return servers[-1]

    yield starting
    for server in servers:
        with server.popen:
            server.popen.kill()


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
    server = start(DINOX_MCP_TOKEN=TOKEN)
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"{scheme} {TOKEN}"}) as http,
        Client(streamable_http_client(server.url, http_client=http)) as client,
    ):
        assert len((await client.list_tools()).tools) == 4


async def test_results_of_one_key_cannot_be_read_with_another(start: Start) -> None:
    server = start(DINOX_MCP_BACKEND="embedded")
    result_id = ""
    seen = {}
    for key in ("alice", "bob", "alice"):
        async with (
            httpx2.AsyncClient(headers={"X-DINOX-API-Key": key}) as http,
            Client(streamable_http_client(server.url, http_client=http)) as client,
        ):
            if not result_id:
                reply = await client.call_tool("detect_objects", {"image": DATA_URI, "prompts": "QR code"})
                result_id = (reply.structured_content or {})["result_id"]
            seen[key] = not (await client.call_tool("visualize", {"result": result_id})).is_error
    assert seen == {"alice": True, "bob": False}


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
