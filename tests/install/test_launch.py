"""What a host is told to start."""

from dataclasses import replace
from pathlib import Path

import pytest

from dinox_mcp.errors import SettingsError
from dinox_mcp.install.hosts import Launch
from dinox_mcp.install.launch import choose, is_ours, lacks
from tests.install.conftest import UVX, machine


def test_uvx_by_its_path_as_desktops_do_not_know_the_shells(home: Path) -> None:
    assert choose(machine(home), {"A": "b"}) == Launch(UVX, ("dinox-mcp",), {"A": "b"})


def test_a_file_that_others_get_names_no_path(home: Path) -> None:
    assert choose(machine(home), {}, shared=True).command == "uvx"


@pytest.mark.parametrize(
    ("source", "extras", "args"),
    [
        (None, ["local"], ("--from", "dinox-mcp[local]", "dinox-mcp")),
        ("dinox-mcp==1.2", [], ("--from", "dinox-mcp==1.2", "dinox-mcp")),
        ("dinox-mcp==1.2", ["local", "video"], ("--from", "dinox-mcp[local,video]==1.2", "dinox-mcp")),
        ("/w/dinox_mcp-1-py3-none-any.whl", [], ("--from", "/w/dinox_mcp-1-py3-none-any.whl", "dinox-mcp")),
        (
            "/w/dinox_mcp-1-py3-none-any.whl",
            ["local"],
            ("--from", "/w/dinox_mcp-1-py3-none-any.whl[local]", "dinox-mcp"),
        ),
    ],
)
def test_what_uvx_takes(source: str | None, extras: list[str], args: tuple[str, ...], home: Path) -> None:
    assert choose(machine(home), {}, source=source, extras=extras).args == args


@pytest.mark.parametrize(("platform", "program"), [("linux", "dinox-mcp"), ("win32", "dinox-mcp.exe")])
def test_without_uvx_the_program_beside_this_python(platform: str, program: str, home: Path) -> None:
    there = machine(home, platform, programs={})  # type: ignore[arg-type] # a platform
    (there.python.parent).mkdir(parents=True)
    (there.python.parent / program).touch()
    assert choose(there, {}) == Launch(str(there.python.parent / program), (), {})


def test_without_that_program_this_python(home: Path) -> None:
    there = machine(home)
    assert choose(there, {}, launcher="python") == Launch(str(there.python), ("-m", "dinox_mcp"), {})


class Distribution:
    """An installed package that may have come from elsewhere than an index."""

    def __init__(self, origin: str | None) -> None:
        self._origin = origin

    def read_text(self, name: str) -> str | None:
        return self._origin if name == "direct_url.json" else None


@pytest.mark.parametrize(
    ("python", "origin", "uvx"),
    [
        ("venv/bin/python", None, True),
        ("venv/bin/python", "{}", False),  # a version that is developed
        (".local/share/uv/tools/dinox-mcp/bin/python", None, False),
        (".local/share/pipx/venvs/dinox-mcp/bin/python", None, False),
        (".cache/uv/archive-v0/x/bin/python", "{}", True),  # uvx --from WHEEL
    ],
)
def test_a_program_that_stays_is_started_itself(
    python: str, origin: str | None, uvx: bool, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dinox_mcp.install.launch.distribution", lambda _: Distribution(origin))
    here = replace(machine(home), python=home / python)
    assert choose(here, {}).command == (UVX if uvx else str(home / python))
    assert choose(here, {}, launcher="uvx").command == UVX


def test_uvx_is_not_made_up(home: Path) -> None:
    with pytest.raises(SettingsError, match="uvx is not found; install uv"):
        choose(machine(home, programs={}), {}, launcher="uvx")
    with pytest.raises(SettingsError, match="leave --from"):
        choose(machine(home, programs={}), {}, source="dinox-mcp==1.2")


def test_extras_that_this_python_lacks_are_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dinox_mcp.install.launch.find_spec", lambda name: None if name == "torch" else name)
    own = choose(machine(home), {}, launcher="python")
    assert lacks(own, ["local", "video"]) == ["local"]
    assert lacks(choose(machine(home), {}, extras=["local"]), ["local"]) == []


@pytest.mark.parametrize(
    ("entry", "ours"),
    [
        ({"command": "uvx", "args": ["dinox-mcp"]}, True),
        ({"command": "uvx", "args": ["--from", "dinox-mcp[local]==1.0", "dinox-mcp"]}, True),
        ({"command": "uvx", "args": ["dinox-mcp@latest"]}, True),
        ({"command": "/opt/venv/bin/dinox-mcp"}, True),
        ({"command": "C:\\venv\\Scripts\\dinox-mcp.exe", "args": []}, True),
        ({"command": "/usr/bin/python", "args": ["-m", "dinox_mcp"]}, True),
        ({"command": ["uvx", "dinox-mcp"]}, True),
        ({"command": "npx", "args": ["-y", "@deepdataspace/dinox-mcp"]}, False),
        ({"command": "uvx", "args": ["other"]}, False),
        ({"url": "https://example.com/mcp"}, False),
        ({"command": 3, "args": "x"}, False),
        (["uvx", "dinox-mcp"], False),
        (None, False),
    ],
)
def test_an_entry_that_starts_this_server_is_known(entry: object, ours: bool) -> None:
    assert is_ours(entry) is ours
