"""The official Inspector's command line."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.conftest import MISSING, SAMPLE
from tests.hosts.environments import NODE_MODULES, node, plain_environment
from tests.hosts.report import Target

TOOL_ERROR = 5


class Inspector:
    """The Inspector, of one server."""

    def __init__(self, target: Target, home: Path) -> None:
        self._target = target
        self._home = home

    def ask(self, *options: str, code: int = 0) -> dict[str, Any]:
        """Run it; give what it prints."""
        program = [node(), str(NODE_MODULES / ".bin" / "mcp-inspector"), "--cli", "--format", "json"]
        done = subprocess.run(  # noqa: S603 - the client under test
            [*program, *self._where(), *options],
            env=plain_environment(self._home),
            cwd=self._home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
        answer: dict[str, Any] = json.loads(done.stdout or done.stderr)
        return answer

    def _where(self) -> list[str]:
        if "url" in self._target:
            return ["--server-url", self._target["url"], "--transport", "http"]
        environment = [word for name, value in self._target["env"].items() for word in ("-e", f"{name}={value}")]
        return [*environment, self._target["command"], *self._target["args"]]


@pytest.fixture
def inspector(target: Target, tmp_path: Path) -> Inspector:
    return Inspector(target, tmp_path)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_no_schema_has_what_some_host_rejects(inspector: Inspector, era: str) -> None:
    listed = inspector.ask("--method", "tools/list", "--strict", "--protocol-era", era)
    assert len(listed["result"]["tools"]) == 12
    assert not listed.get("warnings")


def test_the_viewer_is_announced(inspector: Inspector) -> None:
    found = inspector.ask("--method", "tools/call", "--tool-name", "detect_objects", "--app-info", "--advertise-apps")
    assert "ui://dinox/viewer.html" in json.dumps(found)


def test_a_detection_is_data_and_text(inspector: Inspector) -> None:
    call = ["--method", "tools/call", "--tool-name", "detect_objects"]
    answer = inspector.ask(*call, "--tool-arg", f"image={SAMPLE}", 'prompts=["QR code"]')["result"]
    assert answer["structuredContent"]["counts"] == {"QR code": 1}
    assert "https://example.com/parcel/4711" in answer["content"][0]["text"]


def test_a_tool_error_is_one(inspector: Inspector) -> None:
    call = ["--method", "tools/call", "--tool-name", "detect_objects"]
    answer = inspector.ask(*call, "--tool-arg", f"image={MISSING}", "prompts=text", code=TOOL_ERROR)
    assert "there is no file '" in json.dumps(answer)
    assert answer["result"]["_meta"]["code"] == "image_unreadable"


def test_resources_and_prompts_are_listed(inspector: Inspector) -> None:
    assert inspector.ask("--method", "resources/list")["result"]["resources"]
    assert inspector.ask("--method", "prompts/list")["result"]["prompts"]
