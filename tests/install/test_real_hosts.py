"""Hosts that are on this machine read what was written for them; each is left out where it is not."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dinox_mcp.cli.main import main

ASK = {
    "claude-code": ("claude", "mcp", "get", "dinox"),
    "codex": ("codex", "mcp", "get", "dinox"),
    "copilot": ("copilot", "mcp", "get", "dinox"),
    "gemini": ("gemini", "mcp", "list"),
    "opencode": ("opencode", "mcp", "list"),
}


@pytest.mark.parametrize("host", ASK)
def test_a_host_knows_the_server(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *words = ASK[host]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on this machine")
    for name in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME", "COPILOT_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    main(["install", host, "--no-key", "--launcher", "python", "--backend", "embedded"])
    environment = os.environ | {"HOME": str(tmp_path), "NO_COLOR": "1"}
    done = subprocess.run(  # noqa: S603 - a host that is here
        [program, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "dinox" in done.stdout + done.stderr
    assert "not found" not in done.stdout + done.stderr
