"""Edits of TOML touch what they are about."""

import tomllib

import pytest

from dinox_mcp.install.files import TOML, ConfigError

ENTRY = {"command": "uvx", "args": ["a"], "env": {"K": "v"}}
TEXTS = [
    'model = "x" # mine\n',
    '[mcp_servers.a]\ncommand = "b" # why\n\n[other]\nx = 1\n',
    'mcp_servers = {a = {command = "b"}}\n',
    '[mcp_servers]\na.command = "b"\n',
    "# only this\n",
]


@pytest.mark.parametrize("text", TEXTS)
def test_all_else_stays(text: str) -> None:
    edited = TOML.put(text, ("mcp_servers", "dinox"), ENTRY)
    data = tomllib.loads(text)
    assert tomllib.loads(edited) == {**data, "mcp_servers": {**data.get("mcp_servers", {}), "dinox": ENTRY}}
    assert all(line in edited for line in text.splitlines() if "#" in line)
    restored = TOML.drop(edited, ("mcp_servers", "dinox"))
    assert {**tomllib.loads(restored), "mcp_servers": data.get("mcp_servers")} == {
        **data,
        "mcp_servers": data.get("mcp_servers"),
    }
    assert restored.strip() == text.strip()


def test_a_table_stands_apart_from_what_follows() -> None:
    text = '[mcp_servers.a]\ncommand = "b"\n\n[other]\nx = 1\n'
    assert TOML.put(text, ("mcp_servers", "dinox"), ENTRY) == (
        '[mcp_servers.a]\ncommand = "b"\n\n[mcp_servers.dinox]\ncommand = "uvx"\nargs = ["a"]\nenv = {K = "v"}\n\n'
        "[other]\nx = 1\n"
    )


def test_a_value_inside_a_table_is_set_where_it_is() -> None:
    text = '[mcp_servers.dinox]\ncommand = "old" # mine\nx = 1\n\n[mcp_servers.dinox.env]\nA = "1"\n'
    edited = TOML.put(text, ("mcp_servers", "dinox", "command"), "new")
    assert edited == text.replace("old", "new")
    assert TOML.put(edited, ("mcp_servers", "dinox", "env", "B"), "2") == edited + 'B = "2"\n'


@pytest.mark.parametrize("text", ["", 'mcp_servers = "x"\n', "[mcp_servers]\n"])
def test_what_is_not_there_is_not_dropped(text: str) -> None:
    assert TOML.drop(text, ("mcp_servers", "dinox")) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('a = 1\nb = "x\n', "line 2, column"),
        ("[a]\n[a]\n", "exists"),
        ("mcp_servers = 3\n", "'mcp_servers' is not a table"),
        ("[[mcp_servers]]\na = 1\n", "'mcp_servers' is not a table"),
    ],
)
def test_broken_text_is_named(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        TOML.put(text, ("mcp_servers", "dinox"), ENTRY)
