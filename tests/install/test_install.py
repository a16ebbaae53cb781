"""`dinox-mcp install` as a person runs it, on files as persons have them."""

import os
import stat
from pathlib import Path

import pytest

from dinox_mcp.cli.main import main, parser
from dinox_mcp.errors import DinoxError, SettingsError
from dinox_mcp.install import jsonc
from dinox_mcp.install.hosts import find
from dinox_mcp.install.launch import choose
from dinox_mcp.install.setup import put_in
from tests.install.conftest import UVX, Install, load, machine, write

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
    assert "key: none: 80 kinds of things, text and codes are found on this machine" in printed


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
    assert ".bak, where the key still stands)" in printed


def test_the_second_time_there_is_nothing_to_do(home: Path, install: Install) -> None:
    install("cursor")
    assert "nothing to do" in install("cursor")
    assert len(list((home / ".cursor").iterdir())) == 1
    assert "nothing to do" in install("zed", "--uninstall")


def test_what_was_added_to_the_entry_stays(home: Path, install: Install) -> None:
    install("cursor", key=SECRET)
    path = home / ".cursor/mcp.json"
    keys = ("mcpServers", "dinox")
    text = jsonc.put(path.read_text(), (*keys, "env", "HTTPS_PROXY"), "http://proxy")
    path.write_text(jsonc.put(text, (*keys, "disabled"), value=True))
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


def test_the_local_backend_brings_its_extra(home: Path, install: Install) -> None:
    install("cursor", "--backend", "local", "--extra", "video")
    entry = load(home / ".cursor/mcp.json")["mcpServers"]["dinox"]
    assert entry["args"] == ["--from", "dinox-mcp[video,local]", "dinox-mcp"]


def test_a_command_to_copy_is_quoted_for_the_shell(install: Install) -> None:
    assert "`uvx --from 'dinox-mcp[local]' dinox-mcp --version`" in install("cursor", "--backend", "local")


def test_an_extra_that_is_not_here_is_said(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dinox_mcp.install.launch.find_spec", lambda _: None)
    printed = install("cursor", "--backend", "local", "--launcher", "python")
    assert printed.splitlines()[-1].endswith("pip install 'dinox-mcp[local]'")


def test_a_dry_run_shows_the_difference_and_no_secret(home: Path, install: Install) -> None:
    text = '{\n  "mcpServers": {\n    "github": {"env": {"GITHUB_TOKEN": "ghp-hidden"}, "x": "seen"}\n  }\n}\n'
    path = write(home / ".cursor/mcp.json", text)
    printed = install("cursor", "--dry-run", key=SECRET)
    assert path.read_text() == text
    assert '+        "DINOX_API_KEY": "********"' in printed
    assert '"x": "seen"' in printed
    assert SECRET not in printed
    assert "ghp-hidden" not in printed


@pytest.mark.parametrize(
    "server",
    [
        '{"env": {"GITHUB_PAT": "hidden"}}',
        '{"args": ["-y", "gh", "--access-token", "hidden"]}',
        '{"args": ["--api-key=hidden", "-y"]}',
        '{"url": "https://mcp.example/sse?v=1&apiKey=hidden&x=2"}',
        '{"url": "https://me:hidden@mcp.example"}',
        '{"args": ["--header", "X-Custom: Bearer hidden"]}',
    ],
)
def test_a_dry_run_shows_no_secret_of_other_servers(server: str, home: Path, install: Install) -> None:
    write(home / ".cursor/mcp.json", f'{{"mcpServers": {{"other": {server}}}}}')
    printed = install("cursor", "--dry-run", key=SECRET)
    assert '"other"' in printed
    assert "hidden" not in printed


def test_what_is_no_secret_is_shown(home: Path, install: Install) -> None:
    server = '{"args": ["/path/to/keys", "--compat", "x"], "url": "https://mcp.example:8080/path?q=1"}'
    write(home / ".cursor/mcp.json", f'{{"mcpServers": {{"other": {server}}}}}')
    assert server in install("cursor", "--dry-run")


def test_megabytes_of_history_are_no_obstacle(home: Path, install: Install) -> None:
    write(home / ".claude.json", '{"history": ["' + "key" * 100_000 + "a" * 300_000 + '"]}')
    assert '"mcpServers": {"dinox"' in install("claude-code", "--dry-run")


def test_a_reference_to_the_key_is_shown(install: Install) -> None:
    assert '"DINOX_API_KEY": "${env:DINOX_API_KEY}"' in install("cursor", "--project", "--dry-run")


def test_vs_code_asks_for_the_key_itself_once(home: Path, install: Install) -> None:
    path = write(
        home / ".config/Code/User/mcp.json", '{\n  // mine\n  "inputs": [{"id": "other"}],\n  "servers": {},\n}\n'
    )
    printed = install("vscode", key=SECRET)
    install("vscode", "--name", "second")
    data = jsonc.read(path.read_text())
    assert [one["id"] for one in data["inputs"]] == ["other", "dinox-key"]
    assert data["inputs"][1]["password"] is True
    assert "// mine" in path.read_text()
    assert "VS Code asks for it" in printed
    assert SECRET not in path.read_text()
    install("vscode", "--uninstall")
    assert len(jsonc.read(path.read_text())["inputs"]) == 2
    install("vscode", "--uninstall", "--name", "second")
    assert jsonc.read(path.read_text()) == {"inputs": [{"id": "other"}], "servers": {}}


@pytest.mark.parametrize(
    ("content", "after"),
    [
        (b"", b'{\n  "mcpServers": {'),
        (b"\xef\xbb\xbf{}", b'{\n  "mcpServers": {'),
        (b'{\r\n  "a": 1\r\n}\r\n', b'{\r\n  "a": 1,\r\n  "mcpServers": {\r\n    "dinox": {\r\n'),
        (b'{"a": "\xc3\xa9"}', b'{"a": "\xc3\xa9", "mcpServers": {"dinox": {'),
    ],
)
def test_a_file_keeps_how_it_is_written(content: bytes, after: bytes, home: Path, install: Install) -> None:
    path = home / ".cursor/mcp.json"
    path.parent.mkdir()
    path.write_bytes(content)
    install("cursor")
    assert path.read_bytes().startswith(after)


def test_a_byte_order_mark_is_taken_off_even_where_nothing_else_is_to_do(home: Path, install: Install) -> None:
    install("claude-desktop")
    path = home / ".config/Claude/claude_desktop_config.json"
    written = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + written)
    install("claude-desktop")
    assert path.read_bytes() == written


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
        assert "it reads nothing of the file until that is taken out" in printed


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such pipes")
@pytest.mark.parametrize("host", ["cursor", "codex"])
def test_a_pipe_in_the_place_of_the_file_keeps_nobody_waiting(host: str, home: Path, install: Install) -> None:
    path = home / {"cursor": ".cursor/mcp.json", "codex": ".codex/config.toml"}[host]
    path.parent.mkdir()
    os.mkfifo(path)
    with pytest.raises(DinoxError, match=r"cannot be read \(it is no regular file\)"):
        install(host)
    assert "it is no regular file" in install("--list")


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


def test_a_link_stays_one(home: Path, install: Install) -> None:
    target = write(home / "dotfiles" / "cursor.json", "{}")
    (home / ".cursor").mkdir()
    link = home / ".cursor" / "mcp.json"
    link.symlink_to(target)
    install("cursor")
    assert link.is_symlink()
    assert "dinox" in load(target)["mcpServers"]


def test_a_file_that_may_not_be_written_is_not(home: Path, install: Install) -> None:
    path = write(home / ".cursor/mcp.json", "{}")
    path.chmod(0o444)
    with pytest.raises(DinoxError, match="is read-only; make it writable"):
        install("cursor")
    assert path.read_text() == "{}"


def test_a_folder_in_the_place_of_the_file(home: Path, install: Install) -> None:
    (home / ".cursor" / "mcp.json").mkdir(parents=True)
    with pytest.raises(DinoxError, match="cannot be read"):
        install("cursor")


def test_a_file_in_the_place_of_the_folder(home: Path, install: Install) -> None:
    (home / ".codeium").touch()
    with pytest.raises(DinoxError, match=r"cannot be (read|written)"):
        install("windsurf")


def test_a_host_that_writes_meanwhile_loses_nothing(home: Path) -> None:
    path = write(home / ".cursor/mcp.json", "{}")
    change = put_in(find("cursor"), machine(home), choose(machine(home), {}))
    path.write_text('{"new": 1}')
    with pytest.raises(DinoxError, match="has changed meanwhile"):
        change.write()
    assert path.read_text() == '{"new": 1}'


def test_backups_of_one_second_do_not_replace_each_other(home: Path, install: Install) -> None:
    write(home / ".cursor/mcp.json", OTHERS)
    for backend in ("embedded", "auto", "dinox"):
        install("cursor", "--backend", backend)
    assert len(list((home / ".cursor").glob("*.bak"))) == 3


def test_the_key_is_asked_for_without_being_shown(
    home: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda _: True})())
    monkeypatch.setattr("getpass.getpass", lambda _: f" {SECRET} ")
    printed = install("cursor")
    assert load(home / ".cursor/mcp.json")["mcpServers"]["dinox"]["env"]["DINOX_API_KEY"] == SECRET
    assert SECRET not in printed
    install("windsurf", "--no-key")
    assert "env" not in load(home / ".codeium/windsurf/mcp_config.json")["mcpServers"]["dinox"]


def test_the_end_of_input_is_no_key(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda _: True})())
    monkeypatch.setattr("getpass.getpass", end)
    assert "key: none" in install("cursor")


def test_a_key_that_is_none_is_refused_unseen(install: Install) -> None:
    with pytest.raises(SettingsError, match="printable ASCII") as raised:
        install("cursor", key="two words")
    assert "two words" not in str(raised.value)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("cursor", "--name", "a b"), "--name: 'a b' is no name"),
        (("cursor", "--env", "DINOX_MCP_BACKEND"), "is no NAME=VALUE"),
        (("cursor", "--env", "PATH=/"), "is no NAME=VALUE of an option"),
        (("cursor", "--env", "DINOX_API_KEY=x"), "DINOX_API_KEY stays out of command lines"),
        (("cursor", "--env", "DINOX_MCP_PORT=x"), "DINOX_MCP_PORT"),
        (("cursor", "--backend", "magic"), "there is no backend 'magic'"),
        ((), r"name the host to set up, or all; found here: none"),
    ],
)
def test_wrong_usage_is_one_line(words: tuple[str, ...], says: str, install: Install) -> None:
    with pytest.raises(SettingsError, match=says):
        install(*words)


def test_all_hosts_that_are_here(home: Path, install: Install) -> None:
    (home / ".cursor").mkdir()
    (home / ".codex").mkdir()
    printed = install("all")
    assert [line.partition(":")[0] for line in printed.splitlines() if "is set up" in line] == ["Cursor", "Codex"]


def test_a_broken_host_does_not_keep_the_others_from_it(home: Path, install: Install) -> None:
    write(home / ".cursor/mcp.json", "{")
    with pytest.raises(DinoxError, match=r"^Cursor: .*mcp.json, line 1, column 2"):
        install("cursor", "windsurf")
    assert "dinox" in load(home / ".codeium/windsurf/mcp_config.json")["mcpServers"]


def test_all_hosts_where_there_are_none(install: Install) -> None:
    with pytest.raises(DinoxError, match="no host is found here"):
        install("all", programs={})


def test_the_list_shows_what_is_here_and_set_up(home: Path, install: Install) -> None:
    install("cursor")
    write(home / ".gemini/settings.json", "{")
    (home / ".codex").mkdir()
    lines = {line.split()[0]: line for line in install("--list").splitlines()}
    assert "set up as dinox" in lines["cursor"]
    assert "line 1, column 2" in lines["gemini"]
    assert "not found" in lines["zed"]
    assert " found" in lines["codex"]


def test_the_command_line_reaches_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setattr("pathlib.Path.home", lambda: home)
    main(["install", "windsurf", "--no-key"])
    assert "Windsurf: dinox is set up" in capsys.readouterr().out
    assert (home / ".codeium/windsurf/mcp_config.json").exists()
    with pytest.raises(SystemExit) as stop:
        main(["--port", "1", "install", "windsurf"])
    assert stop.value.code == 2


def test_a_backend_before_the_command_counts() -> None:
    given = parser().parse_args(["--backend", "embedded", "install", "cursor"])
    assert given.backend == "embedded"
