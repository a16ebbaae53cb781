"""Where each host keeps its servers, and what an entry looks like there."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from dinox_mcp.errors import SettingsError
from dinox_mcp.install.hosts import HOSTS, find
from dinox_mcp.install.jsonc import JSONC
from dinox_mcp.install.launch import Machine, Platform
from tests.install.conftest import UVX, Install, machine, write

MAC = "Library/Application Support"
ROAMING = "AppData/Roaming"
PATHS = [
    ("claude-desktop", "linux", ".config/Claude/claude_desktop_config.json"),
    ("claude-desktop", "darwin", f"{MAC}/Claude/claude_desktop_config.json"),
    ("claude-desktop", "win32", f"{ROAMING}/Claude/claude_desktop_config.json"),
    *[("claude-code", system, ".claude.json") for system in ("linux", "darwin", "win32")],
    *[("cursor", system, ".cursor/mcp.json") for system in ("linux", "darwin", "win32")],
    ("vscode", "linux", ".config/Code/User/mcp.json"),
    ("vscode", "darwin", f"{MAC}/Code/User/mcp.json"),
    ("vscode", "win32", f"{ROAMING}/Code/User/mcp.json"),
    *[("codex", system, ".codex/config.toml") for system in ("linux", "darwin", "win32")],
    *[("gemini", system, ".gemini/settings.json") for system in ("linux", "darwin", "win32")],
    *[("windsurf", system, ".codeium/windsurf/mcp_config.json") for system in ("linux", "darwin", "win32")],
    ("zed", "linux", ".config/zed/settings.json"),
    ("zed", "darwin", ".config/zed/settings.json"),
    ("zed", "win32", f"{ROAMING}/Zed/settings.json"),
    *[("copilot", system, ".copilot/mcp-config.json") for system in ("linux", "darwin", "win32")],
    *[("opencode", system, ".config/opencode/opencode.json") for system in ("linux", "darwin", "win32")],
    *[("kiro", system, ".kiro/settings/mcp.json") for system in ("linux", "darwin", "win32")],
    *[("lm-studio", system, ".lmstudio/mcp.json") for system in ("linux", "darwin", "win32")],
]


@pytest.mark.parametrize(("host", "platform", "path"), PATHS)
def test_the_file_of_a_host_on_each_system(host: str, platform: Platform, path: str, home: Path) -> None:
    assert find(host).path(machine(home, platform), project=False) == home / path


def test_the_table_above_has_every_host_on_every_system() -> None:
    assert {(host, system) for host, system, _ in PATHS} == {
        (host, system) for host in HOSTS for system in ("linux", "darwin", "win32")
    }


@pytest.mark.parametrize(
    ("host", "platform", "variable", "path"),
    [
        ("claude-desktop", "linux", "XDG_CONFIG_HOME", "Claude/claude_desktop_config.json"),
        ("claude-desktop", "win32", "APPDATA", "Claude/claude_desktop_config.json"),
        ("claude-code", "linux", "CLAUDE_CONFIG_DIR", ".claude.json"),
        ("vscode", "win32", "APPDATA", "Code/User/mcp.json"),
        ("codex", "darwin", "CODEX_HOME", "config.toml"),
        ("zed", "linux", "XDG_CONFIG_HOME", "zed/settings.json"),
        ("copilot", "linux", "COPILOT_HOME", "mcp-config.json"),
    ],
)
def test_variables_move_files(host: str, platform: Platform, variable: str, path: str, home: Path) -> None:
    elsewhere = home / "elsewhere"
    there = machine(home, platform, {variable: str(elsewhere)})
    assert find(host).path(there, project=False) == elsewhere / path


def test_claude_from_the_windows_store_has_a_folder_of_its_own(home: Path) -> None:
    own = home / "AppData/Local/Packages/Claude_pzs8sxrjxfjjc/LocalCache/Roaming/Claude"
    own.mkdir(parents=True)
    path = find("claude-desktop").path(machine(home, "win32"), project=False)
    assert path == own / "claude_desktop_config.json"


def test_opencode_with_comments_keeps_its_name(home: Path) -> None:
    path = write(home / ".config/opencode/opencode.jsonc", "{}")
    assert find("opencode").path(machine(home), project=False) == path


KEY = {"DINOX_API_KEY": "secret-1"}
PLAIN = {"command": UVX, "args": ["dinox-mcp"], "env": KEY}
ENTRIES: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
    ("claude-desktop", ("mcpServers", "dinox"), PLAIN),
    ("claude-code", ("mcpServers", "dinox"), {"type": "stdio", **PLAIN}),
    ("cursor", ("mcpServers", "dinox"), PLAIN),
    ("vscode", ("servers", "dinox"), {"type": "stdio", **PLAIN, "env": {"DINOX_API_KEY": "${input:dinox-key}"}}),
    ("codex", ("mcp_servers", "dinox"), {**PLAIN, "startup_timeout_sec": 120, "tool_timeout_sec": 300}),
    ("gemini", ("mcpServers", "dinox"), PLAIN),
    ("windsurf", ("mcpServers", "dinox"), PLAIN),
    ("zed", ("context_servers", "dinox"), {"source": "custom", **PLAIN}),
    ("copilot", ("mcpServers", "dinox"), {"type": "local", **PLAIN, "tools": ["*"]}),
    ("opencode", ("mcp", "dinox"), {"type": "local", "command": [UVX, "dinox-mcp"], "environment": KEY}),
    ("kiro", ("mcpServers", "dinox"), PLAIN),
    ("lm-studio", ("mcpServers", "dinox"), PLAIN),
]


def entry_in(path: Path, keys: tuple[str, ...]) -> Any:  # noqa: ANN401
    text = path.read_text()
    data: Any = tomllib.loads(text) if path.suffix == ".toml" else JSONC.read(text)
    for key in keys:
        data = data[key]
    return data


@pytest.mark.parametrize(("host", "keys", "entry"), ENTRIES, ids=[entry[0] for entry in ENTRIES])
def test_the_entry_of_a_host(
    host: str, keys: tuple[str, ...], entry: dict[str, Any], home: Path, install: Install
) -> None:
    install(host, key="secret-1")
    assert entry_in(find(host).path(machine(home), project=False), keys) == entry


@pytest.mark.parametrize(
    ("host", "path", "keys", "reference"),
    [
        ("claude-code", ".mcp.json", ("mcpServers", "dinox", "env", "DINOX_API_KEY"), "${DINOX_API_KEY:-}"),
        ("cursor", ".cursor/mcp.json", ("mcpServers", "dinox", "env", "DINOX_API_KEY"), "${env:DINOX_API_KEY}"),
        ("vscode", ".vscode/mcp.json", ("servers", "dinox", "env", "DINOX_API_KEY"), "${input:dinox-key}"),
        ("codex", ".codex/config.toml", ("mcp_servers", "dinox", "env_vars"), ["DINOX_API_KEY"]),
        ("gemini", ".gemini/settings.json", ("mcpServers", "dinox", "env", "DINOX_API_KEY"), "${DINOX_API_KEY}"),
        ("opencode", "opencode.json", ("mcp", "dinox", "environment", "DINOX_API_KEY"), "{env:DINOX_API_KEY}"),
        ("kiro", ".kiro/settings/mcp.json", ("mcpServers", "dinox", "env", "DINOX_API_KEY"), "${DINOX_API_KEY}"),
    ],
)
def test_a_project_refers_to_the_key_and_to_uvx_without_a_path(
    host: str, path: str, keys: tuple[str, ...], reference: object, home: Path, install: Install
) -> None:
    printed = install(host, "--project", key="secret-1")
    file = home / "project" / path
    assert entry_in(file, keys) == reference
    assert "secret-1" not in file.read_text() + printed
    assert UVX not in file.read_text()


def test_a_host_without_projects_says_so(install: Install) -> None:
    with pytest.raises(SettingsError, match="Zed has no settings for a project"):
        install("zed", "--project")


def test_another_name_is_no_host(install: Install) -> None:
    with pytest.raises(SettingsError, match=r"'emacs' is not a host that can be set up; choose from claude-desktop,"):
        install("emacs")


@pytest.mark.parametrize(
    ("made", "found"),
    [
        ((), ()),
        ((".cursor",), ("cursor",)),
        ((".claude.json/",), ("claude-code",)),
        ((".config/Claude", ".codex"), ("claude-desktop", "codex")),
    ],
)
def test_a_host_is_found_by_its_folder(made: tuple[str, ...], found: tuple[str, ...], home: Path) -> None:
    for folder in made:
        (home / folder).mkdir(parents=True)
    assert tuple(host.name for host in HOSTS.values() if host.found(machine(home))) == found


def test_a_host_is_found_by_its_program(home: Path) -> None:
    assert find("gemini").found(machine(home, programs={"gemini": "/usr/bin/gemini"}))


def test_this_machine_is_one() -> None:
    assert Machine.here().home.is_absolute()
