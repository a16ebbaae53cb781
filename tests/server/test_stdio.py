"""The real process, spoken to over its pipes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from tests.fakes import png

pytestmark = pytest.mark.slow
SERVER = [sys.executable, "-m", "dinox_mcp"]


class Process:
    """A server process and the plainest of clients: a line of JSON out, a line of JSON in."""

    def __init__(self, *arguments: str) -> None:
        self.popen = subprocess.Popen(  # noqa: S603 - our own program
            [*SERVER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": "1", "DINOX_MCP_BACKEND": "embedded"},
        )
        self.lines: list[bytes] = []
        self._number = 0

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        self._number += 1
        self.send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        while True:
            assert self.popen.stdout is not None
            self.lines.append(self.popen.stdout.readline())
            message: dict[str, Any] = json.loads(self.lines[-1])
            if message.get("id") == self._number:
                return message

    def answer_to(self, line: bytes) -> dict[str, Any]:
        """Write a line as it is, and give the next line that comes back."""
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.write(line + b"\n")
        self.popen.stdin.flush()
        answer: dict[str, Any] = json.loads(self.popen.stdout.readline())
        return answer

    def send(self, message: dict[str, Any]) -> None:
        """Send a message."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps(message).encode() + b"\n")
        self.popen.stdin.flush()

    def initialize(self) -> dict[str, Any]:
        """Open the session as hosts of the 2025 protocol do."""
        answer = self.ask(
            "initialize",
            {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            },
        )
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer


@pytest.fixture
def process() -> Iterator[Process]:
    server = Process()
    with server.popen:
        yield server
        server.popen.kill()


@pytest.fixture(scope="module")
def shared() -> Iterator[Process]:
    """One process for the tests after which a server goes on."""
    server = Process()
    with server.popen:
        server.initialize()
        yield server
        server.popen.kill()


def test_stdout_carries_nothing_but_the_protocol_until_stdin_is_closed(process: Process, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png(200, 200))
    assert process.initialize()["result"]["serverInfo"]["name"] == "dinox-mcp"
    process.ask("tools/list", {})
    reply = process.ask(
        "tools/call", {"name": "detect_prompt_free", "arguments": {"image": str(tmp_path / "photo.png")}}
    )
    assert reply["result"]["structuredContent"]["backend"] == "embedded"
    process.ask("tools/call", {"name": "detect_prompt_free", "arguments": {"image": "/nowhere.png"}})
    assert process.popen.stdin is not None
    assert process.popen.stdout is not None
    process.popen.stdin.close()
    rest = process.popen.stdout.read()
    for line in [*process.lines, *rest.splitlines()]:
        assert json.loads(line)["jsonrpc"] == "2.0"
    assert process.popen.wait(5) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals to send")
def test_a_signal_ends_an_idle_server_cleanly(process: Process, number: signal.Signals) -> None:
    process.initialize()
    process.popen.send_signal(number)
    assert process.popen.wait(5) == 0
    assert process.popen.stderr is not None
    assert process.popen.stderr.read() == b""


@pytest.mark.parametrize(
    "line",
    [
        '{"jsonrpc":"2.0","id":7,"method":"ping","params":{"x":"\\ud800"}}',
        '\ufeff{"jsonrpc":"2.0","id":7,"method":"ping"}',
        '{"jsonrpc":"2.0","id":7,"method":"ping","params":{"x":"\t"}}',
        '{"method":"ping","params":{"x":"\\ud800"},"jsonrpc":"2.0","id":7}',
    ],
)
def test_a_line_that_is_no_valid_json_is_answered_under_its_id(shared: Process, line: str) -> None:
    answer = shared.answer_to(line.encode())
    assert (answer["id"], answer["error"]["code"]) == (7, -32700)


@pytest.mark.parametrize(("line", "code"), [("hello?", -32700), ("[1, 2]", -32600), ('{"id": {}}', -32600)])
def test_a_line_that_has_no_id_to_answer_to_is_answered_all_the_same(shared: Process, line: str, code: int) -> None:
    answer = shared.answer_to(line.encode())
    assert (answer["id"], answer["error"]["code"]) == (None, code)
    assert shared.ask("ping", {})["result"] == {}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"object": [0] * 1_000_000}, "beside its images"),
        ({"objects": [[]] * 150_000}, "values"),
        ({"image": "data:" + "A" * 80_000_000}, "bytes; send a smaller image"),
    ],
)
def test_a_message_that_is_too_large_is_refused_unread(shared: Process, arguments: object, reason: str) -> None:
    answer = shared.ask("tools/call", {"name": "visualize", "arguments": arguments})
    assert reason in answer["error"]["message"]
    assert shared.ask("ping", {})["result"] == {}


def test_a_client_that_never_reads_is_read_from_no_further(process: Process) -> None:
    process.initialize()
    assert process.popen.stdin is not None
    os.set_blocking(process.popen.stdin.fileno(), False)
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode() + b"\n"
    written = 0
    quiet = time.monotonic()
    while time.monotonic() - quiet < 2:
        try:
            written += os.write(process.popen.stdin.fileno(), line * 100)
            quiet = time.monotonic()
        except BlockingIOError:
            time.sleep(0.05)
        assert written < 5_000_000


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals to send")
@pytest.mark.parametrize("how", ["end of input", "signal"])
def test_work_that_cannot_be_stopped_does_not_keep_the_process(how: str) -> None:
    program = (
        "import threading, time, anyio, anyio.to_thread\n"
        "from dinox_mcp.detector import Detector\n"
        "from dinox_mcp.server.serve import serve\n"
        "from dinox_mcp.settings import Settings\n"
        "async def load(self):\n"
        "    await anyio.to_thread.run_sync(time.sleep, 60)\n"
        "Detector.warm_up = load\n"
        "serve(Settings.load(warm_up=True))\n"
    )
    popen = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
    with popen:
        assert popen.stdin is not None
        assert popen.stdout is not None
        popen.stdin.write(b"?\n")
        popen.stdin.flush()
        popen.stdout.readline()  # it runs
        if how == "signal":
            popen.send_signal(signal.SIGTERM)
        else:
            popen.stdin.close()
        assert popen.wait(8) == 0


def test_a_backend_that_does_not_exist_stops_the_server_at_once() -> None:
    server = Process("--backend", "Imaginary")
    out, err = server.popen.communicate(timeout=10)
    assert server.popen.returncode == 2
    assert out == b""
    assert "there is no backend 'Imaginary'" in err.decode()
    assert err.count(b"\n") == 1


def test_starting_and_listing_tools_imports_nothing_heavy() -> None:
    program = (
        "import anyio, sys\n"
        "from mcp import Client\n"
        "from dinox_mcp.detector import Detector\n"
        "from dinox_mcp.server.serve import build_server\n"
        "async def main():\n"
        "    async with Client(build_server(Detector())) as client:\n"
        "        await client.list_tools()\n"
        "anyio.run(main)\n"
        "heavy = 'numpy', 'cv2', 'onnxruntime', 'rapidocr', 'torch', 'rich', 'pydantic_settings'\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)  # noqa: S603
    assert done.stdout.strip() == "[]"


@pytest.mark.anyio
async def test_the_sdks_client_detects_through_the_real_process(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png(200, 200))
    parameters = StdioServerParameters(command=SERVER[0], args=SERVER[1:], env={"DINOX_MCP_BACKEND": "embedded"})
    async with Client(parameters) as client:
        reply = await client.call_tool("detect_objects", {"image": str(tmp_path / "photo.png"), "prompts": "QR code"})
    assert reply.structured_content is not None
    assert reply.structured_content["image"] == {"width": 200, "height": 200}
