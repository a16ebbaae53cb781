"""The commands in the documents are ones that the program takes."""

import re
import shlex
from pathlib import Path

import pytest

from dinox_mcp.cli.main import parser
from docs.site import ROOT, listed

_FENCED = re.compile(r"^```(?:sh|console)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^(?:\$ )?(?:[A-Z_]+=(?:\$\(.*?\)|\S+) )*(?:uvx )?dinox-mcp\b(.*)$", re.MULTILINE)


def commands(page: Path) -> list[str]:
    return [line for block in _FENCED.findall(page.read_text()) for line in _COMMAND.findall(block)]


COMMANDS = [(page.relative_to(ROOT), command) for page in listed() if page.is_file() for command in commands(page)]


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=str)
def test_a_command_of_a_page_is_understood(page: Path, command: str) -> None:
    words = shlex.split(command, comments=True)
    assert parser().parse_args(words), page


def test_pages_have_commands() -> None:
    assert len(COMMANDS) > 20
