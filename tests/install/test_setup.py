"""Entries of hosts: added, merged, removed."""

import stat
from pathlib import Path

import pytest

from dinox_mcp.errors import DinoxError
from dinox_mcp.install.jsonc import JSONC
from tests.install.conftest import UVX, Install, load, write

SECRET = "sk-very-secret"


OTHERS = (
    '{\n  "mcpServers": {\n    "github": {\n      "url": "https://example.com"\n    }\n  },\n  "theme": "dark"\n}\n'
)


def test_a_new_file_is_for_its_owner_alone_where_a_key_is_inside(home: Path, install: Install) -> None:
    printed = install("cursor", key=SECRET)
    path = home / ".cursor" / "mcp.json"
    assert load(path)["mcpServers"]["dinox"]["env"] == {"DINOX_API_KEY": SECRET}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SECRET not in printed
    assert f"starts: {UVX} dinox-mcp" in printed
    assert "next: switch the server on in Cursor's settings" in printed


def test_without_a_key_it_says_what_works(home: Path, install: Install) -> None:
    printed = install("cursor")
    assert load(home / ".cursor/mcp.json")["mcpServers"]["dinox"] == {"command": UVX, "args": ["dinox-mcp"]}
    assert "key: none; 80 kinds of things, text and codes are found on this machine" in printed


def test_everything_else_stays_and_a_backup_is_kept(home: Path, install: Install) -> None:
    path = write(home / ".cursor/mcp.json", OTHERS)
    path.chmod(0o640)
    install("cursor")
    data = load(path)
    assert list(data) == ["mcpServers", "theme"]
    assert list(data["mcpServers"]) == ["github", "dinox"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    (backup,) = path.parent.glob("mcp.json.*.bak")
    assert backup.read_text() == OTHERS


def test_taking_out_restores_the_file(home: Path, install: Install) -> None:
    path = write(home / ".cursor/mcp.json", OTHERS)
    install("cursor", key=SECRET)
    printed = install("cursor", "--uninstall")
    assert path.read_text() == OTHERS
    assert ".bak, where the key still is)" in printed


def test_the_second_time_there_is_nothing_to_do(home: Path, install: Install) -> None:
    install("cursor")
    assert "nothing to do" in install("cursor")
    assert not list((home / ".cursor").glob("*.bak"))
    assert "nothing to do" in install("zed", "--uninstall")


def test_what_was_added_to_the_entry_stays(home: Path, install: Install) -> None:
    install("cursor", key=SECRET)
    path = home / ".cursor/mcp.json"
    keys = ("mcpServers", "dinox")
    text = JSONC.put(path.read_text(), (*keys, "env", "HTTPS_PROXY"), "http://proxy")
    path.write_text(JSONC.put(text, (*keys, "disabled"), value=True))
    install("cursor", "--backend", "embedded", "--env", "DINOX_MCP_TIMEOUT_S=30")
    entry = load(path)["mcpServers"]["dinox"]
    assert entry["disabled"] is True
    assert entry["env"] == {
        "DINOX_API_KEY": SECRET,
        "HTTPS_PROXY": "http://proxy",
        "DINOX_MCP_TIMEOUT_S": "30",
        "DINOX_MCP_BACKEND": "embedded",
    }


def test_timeouts_that_were_chosen_stay(home: Path, install: Install) -> None:
    install("codex")
    path = home / ".codex/config.toml"
    path.write_text(path.read_text().replace("120", "7"))
    install("codex", "--backend", "embedded")
    assert "startup_timeout_sec = 7" in path.read_text()


def test_extras_are_installed_with_the_server(home: Path, install: Install) -> None:
    install("cursor", "--extra", "video", "--extra", "local")
    entry = load(home / ".cursor/mcp.json")["mcpServers"]["dinox"]
    assert entry["args"] == ["--from", "dinox-mcp[video,local]", "dinox-mcp"]


def test_the_local_backend_needs_no_extra(home: Path, install: Install) -> None:
    install("cursor", "--backend", "local")
    entry = load(home / ".cursor/mcp.json")["mcpServers"]["dinox"]
    assert entry["args"] == ["dinox-mcp"]


def test_vs_code_asks_for_the_key_itself_once(home: Path, install: Install) -> None:
    path = write(
        home / ".config/Code/User/mcp.json", '{\n  // mine\n  "inputs": [{"id": "other"}],\n  "servers": {},\n}\n'
    )
    printed = install("vscode", key=SECRET)
    install("vscode", "--name", "second")
    data = JSONC.read(path.read_text())
    assert [one["id"] for one in data["inputs"]] == ["other", "dinox-key"]
    assert data["inputs"][1]["password"] is True
    assert "// mine" in path.read_text()
    assert "VS Code asks for it" in printed
    assert SECRET not in path.read_text()
    install("vscode", "--uninstall")
    assert len(JSONC.read(path.read_text())["inputs"]) == 2
    install("vscode", "--uninstall", "--name", "second")
    assert JSONC.read(path.read_text()) == {"inputs": [{"id": "other"}], "servers": {}}


COMMENTED = '{\n  // my servers\n  "mcpServers": {\n    "fs": {"command": "npx"},\n  },\n}\n'


@pytest.mark.parametrize(
    ("host", "file", "text", "says"),
    [
        ("cursor", ".cursor/mcp.json", COMMENTED, "line 2, column 3 has a comment, which Cursor does not read"),
        ("gemini", ".gemini/settings.json", COMMENTED, "has a comma behind the last value, which Gemini CLI does"),
        ("zed", ".config/zed/settings.json", COMMENTED, ""),
        ("cursor", ".cursor/mcp.json", '{"url": "https://example.com"}', ""),
    ],
)
def test_what_the_host_cannot_read_in_its_file_is_said(
    host: str, file: str, text: str, says: str, home: Path, install: Install
) -> None:
    path = write(home / file, text)
    printed = install(host)
    assert "dinox" in path.read_text()
    assert ("  but: " in printed) == bool(says)
    assert says in printed
    if says:
        assert "it reads nothing of the file until that is removed" in printed


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"mcpServers": {}', "line 1, column 18: a comma or } is missing; nothing was changed"),
        (b'{"mcpServers": []}', "line 1, column 16: 'mcpServers' is a list, not an object"),
        (b"[]", "line 1, column 1: the file holds a list"),
        (b"\xff\xfe{\x00}\x00", r"is not UTF-8 \(byte 0\); save it as UTF-8"),
    ],
)
def test_a_broken_file_is_never_touched(content: bytes, says: str, home: Path, install: Install) -> None:
    path = home / ".cursor/mcp.json"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DinoxError, match=says) as raised:
        install("cursor")
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_broken_toml_is_never_touched(home: Path, install: Install) -> None:
    path = write(home / ".codex/config.toml", "model = \n")
    with pytest.raises(DinoxError, match=r"config.toml, line 1, column \d+: .*; nothing was changed"):
        install("codex")
    assert path.read_text() == "model = \n"


def test_another_server_of_the_name_is_left_alone(home: Path, install: Install) -> None:
    text = '{"mcpServers": {"dinox": {"command": "npx", "args": ["-y", "@deepdataspace/dinox-mcp"]}}}'
    path = write(home / ".cursor/mcp.json", text)
    for words in (("cursor",), ("cursor", "--uninstall")):
        with pytest.raises(DinoxError, match="--replace"):
            install(*words)
    assert path.read_text() == text
    install("cursor", "--name", "mine")
    assert list(load(path)["mcpServers"]) == ["dinox", "mine"]
    install("cursor", "--replace")
    assert load(path)["mcpServers"]["dinox"] == {"command": UVX, "args": ["dinox-mcp"]}
