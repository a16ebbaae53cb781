"""Files as people have them: what stays, what is refused, what is masked."""

import os
from pathlib import Path

import pytest

from dinox_mcp.errors import DinoxError
from dinox_mcp.install.hosts import find
from dinox_mcp.install.launch import choose
from dinox_mcp.install.setup import add
from tests.install.conftest import Install, load, machine, write

SECRET = "sk-very-secret"


OTHERS = (
    '{\n  "mcpServers": {\n    "github": {\n      "url": "https://example.com"\n    }\n  },\n  "theme": "dark"\n}\n'
)


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


@pytest.mark.slow
def test_megabytes_of_history_are_no_obstacle(home: Path, install: Install) -> None:
    write(home / ".claude.json", '{"history": ["' + "key" * 100_000 + "a" * 300_000 + '"]}')
    assert '"mcpServers": {"dinox"' in install("claude-code", "--dry-run")


def test_a_reference_to_the_key_is_shown(install: Install) -> None:
    assert '"DINOX_API_KEY": "${env:DINOX_API_KEY}"' in install("cursor", "--project", "--dry-run")


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such pipes")
@pytest.mark.parametrize("host", ["cursor", "codex"])
def test_a_pipe_in_the_place_of_the_file_keeps_nobody_waiting(host: str, home: Path, install: Install) -> None:
    path = home / {"cursor": ".cursor/mcp.json", "codex": ".codex/config.toml"}[host]
    path.parent.mkdir()
    os.mkfifo(path)
    with pytest.raises(DinoxError, match=r"cannot be read \(it is not a regular file\)"):
        install(host)
    assert "it is not a regular file" in install("--list")


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
    change = add(find("cursor"), machine(home), choose(machine(home), {}))
    path.write_text('{"new": 1}')
    with pytest.raises(DinoxError, match="has changed meanwhile"):
        change.write()
    assert path.read_text() == '{"new": 1}'


def test_backups_of_one_second_do_not_replace_each_other(home: Path, install: Install) -> None:
    write(home / ".cursor/mcp.json", OTHERS)
    for backend in ("embedded", "auto", "dinox"):
        install("cursor", "--backend", backend)
    assert len(list((home / ".cursor").glob("*.bak"))) == 3
