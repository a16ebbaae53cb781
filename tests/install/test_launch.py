"""What a host is told to start."""

from dataclasses import replace
from pathlib import Path

import pytest

from dinox_mcp.errors import SettingsError
from dinox_mcp.install.launch import Launch, choose, is_ours, missing_extras
from tests.install.conftest import UVX, Distribution, machine


def test_uvx_by_its_path_as_desktops_do_not_know_the_shells(home: Path) -> None:
    assert choose(machine(home), {"A": "b"}) == Launch(UVX, ("dinox-mcp",), {"A": "b"})


@pytest.mark.parametrize(
    ("published", "python", "command"),
    [
        (True, "venv/bin/python", "uvx"),
        (False, "venv/bin/python", "{home}/venv/bin/python"),  # uvx dinox-mcp would not resolve
        (False, "archive-v0/bin/python", "uvx"),
    ],
)
def test_a_file_that_others_get_names_a_path_only_where_uvx_cannot_work(
    published: bool, python: str, command: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dinox_mcp.install.launch.PUBLISHED", published)
    here = replace(machine(home), python=home / python)
    assert choose(here, {}, shared=True).command == command.format(home=home)


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


FOLDER = {"url": "file:///src/dinox%20mcp", "dir_info": {"editable": True}}
WHEEL = {"url": "file:///w/dinox_mcp-1-py3-none-any.whl", "archive_info": {}}
GIT = {"url": "https://example.com/x", "vcs_info": {"vcs": "git", "commit_id": "abc"}}


@pytest.mark.parametrize(
    ("python", "origin", "args"),
    [
        ("venv/bin/python", None, None),
        ("venv/bin/python", FOLDER, None),
        (".local/share/uv/tools/dinox-mcp/bin/python", None, None),
        (".cache/uv/archive-v0/x/bin/python", None, ("dinox-mcp",)),
        (".cache/uv/archive-v0/x/bin/python", FOLDER, ("--from", "/src/dinox mcp", "dinox-mcp")),
        (".cache/uv/archive-v0/x/bin/python", WHEEL, ("--from", "/w/dinox_mcp-1-py3-none-any.whl", "dinox-mcp")),
        (".cache/uv/archive-v0/x/bin/python", GIT, ("--from", "git+https://example.com/x@abc", "dinox-mcp")),
    ],
)
def test_a_host_starts_what_started_this_program(
    python: str,
    origin: dict[str, object] | None,
    args: tuple[str, ...] | None,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dinox_mcp.types.extras.distribution", lambda _: Distribution(origin))
    here = replace(machine(home), python=home / python)
    expected = (str(home / python), ("-m", "dinox_mcp")) if args is None else (UVX, args)
    launch = choose(here, {})
    assert (launch.command, launch.args) == expected


def test_uvx_installs_from_where_this_program_came(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dinox_mcp.types.extras.distribution", lambda _: Distribution(FOLDER))
    here = replace(machine(home), python=home / "venv" / "bin" / "python")
    assert choose(here, {}, launcher="uvx").args == ("--from", "/src/dinox mcp", "dinox-mcp")


def test_uvx_is_not_written_where_the_package_is_not_published(home: Path) -> None:
    here = replace(machine(home), python=home / "venv" / "bin" / "python")
    with pytest.raises(SettingsError, match="not published yet; name a folder or a wheel"):
        choose(here, {}, launcher="uvx")


def test_uvx_is_not_made_up(home: Path) -> None:
    with pytest.raises(SettingsError, match="uvx is not found; install uv"):
        choose(machine(home, programs={}), {}, launcher="uvx")
    with pytest.raises(SettingsError, match="leave --from"):
        choose(machine(home, programs={}), {}, source="dinox-mcp==1.2")


def test_extras_that_this_python_lacks_are_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dinox_mcp.install.launch.find_spec", lambda name: None if name == "torch" else name)
    own = choose(machine(home), {}, launcher="python")
    assert missing_extras(own, ["local", "video"]) == ["local"]
    assert missing_extras(choose(machine(home), {}, extras=["local"]), ["local"]) == []


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
