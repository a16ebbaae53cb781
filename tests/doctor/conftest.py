"""Machines, hosts and settings for the checks."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dinox_mcp.doctor.report import Check
from dinox_mcp.install.jsonc import JSONC
from dinox_mcp.install.launch import Machine
from dinox_mcp.settings import Settings
from tests.emulator import Emulator

SECRET = "sk-very-secret"


def machine(home: Path, programs: Mapping[str, str] | None = None) -> Machine:
    return Machine("linux", home, {}, home / "project", (programs or {}).get, Path(sys.executable))


def settings_of(emulator: Emulator, key: str = "", **more: Any) -> Settings:  # noqa: ANN401 - any option
    return Settings.load(api_key=key or emulator.key, api_base_url=emulator.url, **more)


def put(home: Path, file: str, text: str, mode: int = 0o600) -> Path:
    path = home / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def cursor(home: Path, mode: int = 0o600, **entry: Any) -> Path:  # noqa: ANN401 - what a host holds
    text = JSONC.put("", ("mcpServers", "dinox"), {"command": "uvx", "args": ["dinox-mcp"], **entry})
    return put(home, ".cursor/mcp.json", text, mode)


def only(checks: list[Check], name: str) -> Check:
    (check,) = (check for check in checks if check.name.startswith(name))
    return check
