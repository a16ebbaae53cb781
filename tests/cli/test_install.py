"""`dinox-mcp install` as a person runs it."""

from pathlib import Path

import pytest

from dinox_mcp.cli.main import main, parser
from dinox_mcp.errors import DinoxError, SettingsError
from tests.install.conftest import Install, load, write

SECRET = "sk-very-secret"


def test_a_command_to_copy_is_quoted_for_the_shell(install: Install) -> None:
    assert "`uvx --from 'dinox-mcp[local]' dinox-mcp --version`" in install("cursor", "--extra", "local")


def test_an_extra_that_is_not_here_is_said(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dinox_mcp.install.launch.find_spec", lambda _: None)
    printed = install("cursor", "--extra", "local", "--launcher", "python")
    assert printed.splitlines()[-1].endswith("pip install 'dinox-mcp[local]'")


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
        (("cursor", "--name", "a b"), "--name: 'a b' is not a name"),
        (("cursor", "--env", "DINOX_MCP_BACKEND"), "is not NAME=VALUE"),
        (("cursor", "--env", "PATH=/"), "is not NAME=VALUE of an option"),
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


@pytest.mark.parametrize(("published", "noted"), [(False, True), (True, False)])
def test_a_path_in_a_file_that_others_get_is_noted(
    published: bool, noted: bool, home: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dinox_mcp.install.launch.PUBLISHED", published)
    monkeypatch.setattr("dinox_mcp.install.launch._by_uvx", lambda _: False)
    printed = install("cursor", "--project")
    assert ("others who get the file must change it" in printed) == noted
    assert ('"command": "uvx"' in (home / "project/.cursor/mcp.json").read_text()) == published
