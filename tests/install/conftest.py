"""A home of one's own on any system."""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dinox_mcp.cli.install import run
from dinox_mcp.cli.main import parser
from dinox_mcp.install.files import Machine, Platform

UVX = "/opt/bin/uvx"

Install = Callable[..., str]


def machine(
    home: Path,
    platform: Platform = "linux",
    environ: Mapping[str, str] | None = None,
    programs: Mapping[str, str] | None = None,
) -> Machine:
    """Make a machine whose programs are those given, by default uvx alone, as uvx itself would run on it."""
    which = {"uvx": UVX} if programs is None else programs
    python = home / "archive-v0" / "bin" / "python"  # where uvx keeps what it runs
    return Machine(platform, home, environ or {}, home / "project", which.get, python)


def options(*words: str) -> argparse.Namespace:
    return parser().parse_args(["install", *words])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


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
