"""A home of one's own on any system."""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dinox_mcp.cli.install import run
from dinox_mcp.cli.main import parser
from dinox_mcp.install.launch import Machine, Platform

UVX = "/opt/bin/uvx"

Install = Callable[..., str]


def machine(
    home: Path,
    platform: Platform = "linux",
    environ: Mapping[str, str] | None = None,
    programs: Mapping[str, str] | None = None,
) -> Machine:
    """Make a machine whose programs are those given, by default uvx alone, where uvx runs this program."""
    which = {"uvx": UVX} if programs is None else programs
    python = home / "archive-v0" / "bin" / "python"  # where uvx keeps what it runs
    return Machine(platform, home, environ or {}, home / "project", which.get, python)


def options(*words: str) -> argparse.Namespace:
    return parser().parse_args(["install", *words])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and a package that came from an index."""
    monkeypatch.setattr("dinox_mcp.types.extras.distribution", lambda _: Distribution(None))
    return tmp_path


class Distribution:
    """An installed package, with the direct_url.json that pip and uv write where it did not come from an index."""

    def __init__(self, origin: dict[str, Any] | None) -> None:
        self._origin = origin

    def read_text(self, name: str) -> str | None:
        return json.dumps(self._origin) if self._origin and name == "direct_url.json" else None


@pytest.fixture
def install(home: Path, capsys: pytest.CaptureFixture[str]) -> Install:
    """Run `dinox-mcp install WORDS` at home, and give what it prints."""

    def run_it(*words: str, key: str = "", **more: Any) -> str:  # noqa: ANN401 - what `machine` takes
        environ = {"DINOX_API_KEY": key} if key else {}
        run(options(*words), machine(home, environ=environ, **more))
        return capsys.readouterr().out

    return run_it


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def load(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return data
