"""The real process, spoken to through a port."""

import base64
import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
from tests.server.conftest import Server, Start

DATA_URI = f"data:image/png;base64,{base64.b64encode(png(200, 200)).decode()}"
TOKEN = "let-me-in"
GUARDED = {
    "DINOX_MCP_TOKEN": TOKEN,
    "DINOX_MCP_ALLOWED_HOSTS": "mcp.example.com:*",
    "DINOX_MCP_ALLOWED_ORIGINS": "https://app.example",
}
JSON = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
pytestmark = [pytest.mark.anyio, pytest.mark.slow]


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
async def test_a_client_detects_through_a_port(running: Start, transport: str) -> None:
    server = running(transport)
    target = sse_client(server.url) if transport == "sse" else server.url
    async with Client(target) as client:
        reply = await client.call_tool("detect_objects", {"image": DATA_URI, "prompts": "QR code"})
        shown = await client.call_tool("visualize", {"result": (reply.structured_content or {})["result_id"]})
    assert (reply.structured_content or {})["image"] == {"width": 200, "height": 200}
    assert [block.type for block in shown.content] == ["text", "image"]


async def test_local_files_are_not_readable_over_http(running: Start, tmp_path: os.PathLike[str]) -> None:
    path = anyio.Path(tmp_path) / "photo.png"
    await path.write_bytes(png())
    async with Client(running().url) as client:
        reply = await client.call_tool("detect_prompt_free", {"image": str(path)})
    assert reply.is_error
    assert isinstance(reply.content[0], TextContent)
    assert "HTTP" in reply.content[0].text


async def test_health_needs_no_token_and_everything_else_does(running: Start) -> None:
    server = running(**GUARDED)
    async with httpx2.AsyncClient() as http:
        health = await http.get(f"{server.root}/health")
        statuses = [
            (await http.post(server.url, headers=headers, json={})).status_code
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN})
        ]
    assert health.json()["status"] == "ok"
    assert statuses == [401, 401, 401]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_the_right_token_opens(running: Start, scheme: str) -> None:
    async with connected(running(**GUARDED).url, {"Authorization": f"{scheme} {TOKEN}"}) as client:
        assert "detect_objects" in {tool.name for tool in (await client.list_tools()).tools}


async def upload(server: Server, content: bytes, **headers: str) -> httpx2.Response:
    """Send an image as `curl --data-binary @photo.jpg` does; headers have _ for -."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx2.AsyncClient() as http:
        return await http.post(f"{server.root}/images", content=content, headers=form | given)


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_an_uploaded_image_is_an_image(running: Start, transport: str) -> None:
    server = running(transport)
    bitmap = io.BytesIO()
    Image.open(io.BytesIO(png(1600, 1200))).save(bitmap, "BMP")  # of more bytes than a message may have
    reply = await upload(server, bitmap.getvalue())
    assert (reply.status_code, reply.json()["expires_s"]) == (201, 600)
    async with Client(sse_client(server.url) if transport == "sse" else server.url) as client:
        found = await client.call_tool("detect_objects", {"image": reply.json()["image"], "prompts": "QR code"})
    assert (found.structured_content or {})["image"] == {"width": 1600, "height": 1200}


async def test_a_page_of_an_uploaded_pdf_has_its_scale(running: Start) -> None:
    server = running()
    file = io.BytesIO()
    Image.open(io.BytesIO(png(200, 100))).convert("RGB").save(file, "PDF", resolution=72)
    image = (await upload(server, file.getvalue())).json()["image"]
    async with Client(server.url) as client:
        found = await client.call_tool("detect_objects", {"image": f"{image}#dpi=144", "prompts": "QR code"})
        wrong = await client.call_tool("visualize", {"image": f"{image}#page=2"})
    data = found.structured_content or {}
    assert data["image"] == {"width": 400, "height": 200, "pixels_per_point": 2.0}
    assert data["notes"][0].startswith("page 1 of 1 of a PDF at 144 dpi")
    assert "has only page 1" in str(wrong.content)


async def test_an_upload_belongs_to_its_caller(running: Start) -> None:
    server = running()
    image = (await upload(server, png(), X_DINOX_API_Key="alice")).json()["image"]
    seen = {}
    for key in ("alice", "bob"):
        async with connected(server.url, {"X-DINOX-API-Key": key}) as client:
            seen[key] = (await client.call_tool("visualize", {"image": image})).is_error
    assert seen == {"alice": False, "bob": True}


@pytest.mark.parametrize(
    ("content", "headers", "message"),
    [
        (b"GET / HTTP/1.1", {}, "the uploaded image is not an image; pass a JPEG, "),
        (b"", {}, "is not an image"),
        (b"--x\r\n", {"Content_Type": "multipart/form-data; boundary=x"}, "send the file alone"),
        (b"BM" + b"x" * 2000, {}, "the uploaded image has 2,002 bytes, more than the 1,000 allowed"),
        (png(), {"X_DINOX_API_Key": "two words"}, "X-DINOX-API-Key is not a key"),
    ],
)
async def test_what_is_not_an_image_is_not_kept(
    running: Start, content: bytes, headers: dict[str, str], message: str
) -> None:
    server = running(DINOX_MCP_MAX_IMAGE_BYTES="1000")
    reply = await upload(server, content, **headers)
    assert reply.status_code == 400
    assert message in reply.json()["error"]["message"]
    assert reply.json()["error"]["remedy"]


async def test_an_upload_needs_the_token_and_an_accepted_origin(running: Start) -> None:
    server = running(**GUARDED)
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert (await upload(server, png())).status_code == 401
    assert (await upload(server, png(), **right, Origin="https://evil.example")).status_code == 403
    assert (await upload(server, png(), **right, Host="evil.example")).status_code == 421
    assert (await upload(server, png(), **right)).status_code == 201


async def test_an_upload_of_more_than_a_message_is_refused_before_its_end(running: Start) -> None:
    server = running(DINOX_MCP_MAX_IMAGE_BYTES="1000")
    reply = await upload(server, b"x" * 2_000_000)
    assert reply.status_code == 413
    assert "more than" in reply.json()["error"]["message"]


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_results_of_one_key_cannot_be_read_with_another(running: Start, transport: str) -> None:
    server = running(transport)
    result_id = ""
    seen = {}
    for key in ("alice", "bob", "alice"):
        async with connected(server.url, {"X-DINOX-API-Key": key}) as client:
            if not result_id:
                reply = await client.call_tool("detect_objects", {"image": DATA_URI, "prompts": "QR code"})
                result_id = (reply.structured_content or {})["result_id"]
            seen[key] = not (await client.call_tool("visualize", {"result": result_id})).is_error
    assert seen == {"alice": True, "bob": False}


async def test_a_header_that_is_no_key_is_refused_without_repeating_it(running: Start) -> None:
    async with connected(running().url, {"X-DINOX-API-Key": "two words"}) as client:
        reply = await client.call_tool("detect_objects", {"image": DATA_URI, "prompts": "QR code"})
    assert reply.is_error
    assert "X-DINOX-API-Key is not a key" in str(reply.content)
    assert "two words" not in str(reply.content)


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
async def test_another_host_or_origin_is_refused(running: Start, headers: dict[str, str]) -> None:
    async with httpx2.AsyncClient() as http:
        reply = await http.post(running().url, headers=headers, json={})
    assert reply.status_code in {403, 421}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.0.0.1:8000", "mcp.example.com"])
async def test_a_host_without_its_port_is_the_same_host(running: Start, host: str) -> None:
    server = running(**GUARDED)
    async with httpx2.AsyncClient() as http:
        reply = await http.post(
            server.url, headers={"Host": host, **JSON, "Authorization": f"Bearer {TOKEN}"}, json=PING
        )
    assert reply.status_code == 200


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("https://app.example", True), ("http://localhost:5173", True), ("https://app.example.evil", False)],
)
async def test_pages_of_allowed_origins_may_call(running: Start, origin: str, allowed: bool) -> None:
    server = running(**GUARDED)
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    async with httpx2.AsyncClient(headers={"Origin": origin}) as http:
        preflight = await http.options(server.url, headers=asks)
        reply = await http.post(server.url, headers={**JSON, "Authorization": f"Bearer {TOKEN}"}, json=PING)
    assert (preflight.status_code, reply.status_code) == ((200, 200) if allowed else (400, 403))
    assert preflight.headers.get("access-control-allow-origin") == (origin if allowed else None)
    assert reply.headers.get("access-control-allow-origin") == (origin if allowed else None)


async def test_a_message_of_too_many_values_is_refused_unread(running: Start) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"prompts":[' + b"[]," * 7_000_000 + b"[]]}}"
    async with httpx2.AsyncClient() as http:
        reply = await http.post(running().url, headers=JSON, content=body)
    assert reply.status_code == 413
    assert (reply.json()["id"], reply.json()["error"]["code"]) == (1, -32600)


async def test_requests_that_stop_do_not_shut_out_others(running: Start) -> None:
    server = running()
    port = int(server.root.rpartition(":")[2])
    head = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    stopped = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
    for place, connection in enumerate(stopped):
        connection.sendall(head if place % 2 else head + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
    async with httpx2.AsyncClient() as http:
        reply = await http.post(server.url, headers=JSON, json=PING)
    assert reply.status_code == 200
    for connection in stopped:
        connection.close()


async def test_a_client_that_breaks_off_leaves_no_traceback(start: Start) -> None:
    server = start()
    port = int(server.root.rpartition(":")[2])
    head = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(head)
    async with httpx2.AsyncClient() as http:
        assert (await http.post(server.url, headers=JSON, json=PING)).status_code == 200
    await anyio.to_thread.run_sync(server.stop)
    assert server.popen.stderr is not None
    assert server.popen.stderr.read() == b""


async def test_a_picture_of_several_megabytes_fits_into_a_call(running: Start) -> None:
    bitmap = io.BytesIO()
    Image.new("RGB", (1600, 1200)).save(bitmap, "BMP")
    large = f"data:image/bmp;base64,{base64.b64encode(bitmap.getvalue()).decode()}"
    async with Client(running().url) as client:
        reply = await client.call_tool("detect_objects", {"image": large, "prompts": "QR code"})
    assert len(large) > 7_000_000
    assert (reply.structured_content or {})["image"] == {"width": 1600, "height": 1200}


@pytest.mark.parametrize(("transport", "number"), [("http", signal.SIGTERM), ("sse", signal.SIGINT)])
async def test_a_signal_ends_an_idle_server_cleanly(start: Start, transport: str, number: signal.Signals) -> None:
    server = start(transport)
    async with Client(sse_client(server.url) if transport == "sse" else server.url) as client:
        await client.list_tools()
    await anyio.to_thread.run_sync(server.stop, number)
    assert server.popen.returncode == 0


async def test_a_signal_ends_a_server_with_open_streams(start: Start) -> None:
    server = start("sse")
    try:
        async with Client(sse_client(server.url)) as client:
            await client.list_tools()
            await anyio.to_thread.run_sync(server.stop)
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


def test_a_taken_port_is_one_clear_line(running: Start) -> None:
    port = running().root.rpartition(":")[2]
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
