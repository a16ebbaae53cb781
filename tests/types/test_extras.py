"""The command that adds an extra to this installation."""

import json
from pathlib import Path

import pytest

from dinox_mcp.types import extras
from dinox_mcp.types.extras import extras_command

ORIGIN = {"url": "file:///src/dinox%20mcp", "dir_info": {"editable": True}}


class Distribution:
    """This package, installed from a folder."""

    def read_text(self, _: str) -> str:
        return json.dumps(ORIGIN)


@pytest.mark.parametrize(
    ("python", "installed", "command"),
    [
        ("venv/bin/python", {"av"}, "pip install 'dinox-mcp[batch]' s3fs"),
        (".local/share/uv/tools/dinox-mcp/bin/python", set(), "uv tool install '/src/dinox mcp[batch]' --with=s3fs"),
        (
            ".local/share/uv/tools/dinox-mcp/bin/python",
            {"av"},
            "uv tool install '/src/dinox mcp[video,batch]' --with=s3fs",
        ),
        (
            ".local/share/pipx/venvs/dinox-mcp/bin/python",
            set(),
            "pipx install --force '/src/dinox mcp[batch]' && pipx inject dinox-mcp s3fs",
        ),
    ],
)
def test_an_extra_is_added_in_the_way_of_the_installation_and_others_are_kept(
    python: str, installed: set[str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: name if name in installed else None)
    monkeypatch.setattr(extras, "distribution", lambda _: Distribution())
    assert extras_command(["batch"], ["s3fs"], Path("/home/me") / python) == command
