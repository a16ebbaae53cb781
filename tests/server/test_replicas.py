"""Replicas behind Ray Serve: what is refused before Ray starts, and two of them that read each other's results."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from dinox_mcp.errors import SettingsError
from dinox_mcp.server.replicas import app
from dinox_mcp.settings import Settings
from tests.fakes import png

TOKEN = "a-token"
CALLS = 12


@pytest.mark.parametrize(
    ("environment", "arguments", "message"),
    [
        ({}, {}, "they need a token; set DINOX_MCP_TOKEN"),
        ({"TOKEN": "t"}, {}, "would not find the results of each other; set DINOX_MCP_STORE"),
        ({"TOKEN": "t", "TRANSPORT": "sse"}, {}, "serve no SSE"),
        ({"TOKEN": "t"}, {"replicas": "none"}, "replicas='none' is not valid"),
        ({"TOKEN": "t"}, {"replica": "2"}, r"replica='2' is not valid.*; the arguments are replicas, cpus, gpus"),
        ({"TOKEN": "t", "STORE": "redis://:word@x"}, {}, "set DINOX_MCP_STORE_PASSWORD"),
    ],
)
def test_settings_that_would_let_strangers_in_or_lose_results_are_refused(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], arguments: dict[str, str], message: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"DINOX_MCP_{name}", value)
    with pytest.raises(SettingsError, match=message):
        app(arguments)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("DINOX_MCP_TOKEN", "t")
    monkeypatch.setenv("DINOX_MCP_STORE", str(tmp_path))
    with pytest.raises(SettingsError, match=r"pip install 'dinox-mcp\[ray\]'"):
        app({})


def test_settings_for_another_process_hold_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DINOX_API_KEY", "DINOX_MCP_TOKEN", "DINOX_MCP_STORE_PASSWORD"):
        monkeypatch.setenv(name, "secret")
    settings = Settings.load(allowed_folders=(tmp_path,), private_hosts=("a.example",), port=9000)
    plain = settings.without_secrets()
    assert "secret" not in str(plain)
    assert "upload_max_side" not in plain, "what is not set stays so"
    assert Settings.load(**plain) == settings


SERVE = """
import sys
from dinox_mcp.batch.cluster import join
from dinox_mcp.server.replicas import app
ray = join(namespace="serve")
from ray import serve
serve.start(http_options={"port": int(sys.argv[1])})
serve.run(app({"replicas": "2", "cpus": "0.5"}))
print("ready", flush=True)
sys.stdin.read()
serve.shutdown()
ray.shutdown()
"""


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start two replicas on this machine; their address."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: make test-ray")
    tmp_path = tmp_path_factory.mktemp("replicas")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "DINOX_MCP_STORE": str(tmp_path / "store"),
        "DINOX_MCP_TOKEN": TOKEN,
        "DINOX_MCP_BACKEND": "embedded",
    }
    command = [sys.executable, "-c", SERVE, str(port)]
    log = tmp_path / "log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(  # noqa: S603 - our own program
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment
        ) as process,
    ):
        assert process.stdin
        assert process.stdout
        lines = iter(process.stdout.readline, b"")
        assert b"ready\n" in lines, log.read_text()
        yield f"http://127.0.0.1:{port}"
        process.stdin.close()
        process.stdout.read()


@pytest.mark.ray
@pytest.mark.anyio
async def test_a_result_of_any_replica_is_used_through_any_other(replicas: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        image = (await http.post(f"{replicas}/images", content=png())).json()["image"]
        failed = []
        async with Client(streamable_http_client(f"{replicas}/mcp", http_client=http)) as client:
            # Each call goes to one of the two by chance: that all of these go to one is not to be expected.
            for _ in range(CALLS):
                found = await client.call_tool("detect_objects", {"image": image, "prompts": "QR code"})
                result = (found.structured_content or {})["result_id"]
                failed += [await client.call_tool("visualize", {"result": result})]
    assert [reply.is_error for reply in failed] == [False] * CALLS


@pytest.mark.ray
@pytest.mark.anyio
async def test_replicas_want_the_token_and_bound_bodies_as_one_server_does(replicas: str) -> None:
    async with httpx2.AsyncClient(timeout=60) as http:
        health = await http.get(f"{replicas}/health")
        stranger = await http.post(f"{replicas}/mcp", json={})
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json, text/event-stream"}
        large = await http.post(f"{replicas}/mcp", headers=headers, content=b'{"a":"' + b"x" * 100_000_000 + b'"}')
    assert health.json()["status"] == "ok"
    assert stranger.status_code == 401
    assert large.status_code == 413
