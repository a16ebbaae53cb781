"""The skill that `install` writes beside a host's configuration."""

import re
from pathlib import Path

import pytest

from dinox_mcp.detector import Detector
from dinox_mcp.install import setup
from dinox_mcp.install.hosts import HOSTS
from dinox_mcp.server.app import build_server
from dinox_mcp.settings import Settings
from tests.install.conftest import Install, machine, write

SHIPPED = Path(setup.__file__).with_name("SKILL.md").read_text()


@pytest.mark.parametrize(
    ("host", "file"),
    [
        ("claude-code", ".claude/skills/dinox/SKILL.md"),
        ("codex", ".agents/skills/dinox/SKILL.md"),
        ("opencode", ".config/opencode/skills/dinox/SKILL.md"),
    ],
)
def test_the_skill_is_written_where_the_host_reads_skills(host: str, file: str, home: Path, install: Install) -> None:
    assert f"skill: {home / file} is written" in install(host)
    assert (home / file).read_text().startswith(SHIPPED)
    assert "skill:" not in install(host), "the second time it is there"
    assert f"skill: {home / file} is removed" in install(host, "--uninstall")
    assert not (home / file).parent.exists()


@pytest.mark.parametrize("words", [("cursor", "--dry-run"), ("cursor", "--no-skill"), ("cursor", "--project")])
def test_no_skill_is_written(words: tuple[str, ...], home: Path, install: Install) -> None:
    install(*words)
    assert not (home / ".cursor" / "skills").exists()


def test_hosts_without_skills_get_none(home: Path) -> None:
    assert {name for name, host in HOSTS.items() if setup.skill_path(host, machine(home)) is None} == {
        "claude-desktop", "vscode", "zed", "kiro", "lm-studio"
    }  # fmt: skip


def test_a_skill_that_a_person_changed_stays(home: Path, install: Install) -> None:
    install("cursor")
    path = home / ".cursor/skills/dinox/SKILL.md"
    path.write_text(path.read_text().replace("# Using", "# My way of using"))
    assert "was changed by you and stays" in install("cursor")
    assert "was changed by you and stays" in install("cursor", "--uninstall")
    assert "# My way of using" in path.read_text()


def test_the_skill_of_an_earlier_version_is_replaced(home: Path, install: Install) -> None:
    path = write(home / ".cursor/skills/dinox/SKILL.md", setup._stamped("an earlier text\n"))
    install("cursor")
    assert path.read_text().startswith(SHIPPED)
    assert [file.name for file in path.parent.iterdir()] == ["SKILL.md"]


def test_the_skill_stays_as_long_as_the_host_has_the_server_under_another_name(home: Path, install: Install) -> None:
    install("cursor")
    install("cursor", "--name", "second")
    install("cursor", "--uninstall")
    assert (home / ".cursor/skills/dinox/SKILL.md").exists()


def test_the_skill_is_half_a_page_and_hosts_can_read_its_head() -> None:
    head, _, text = SHIPPED.removeprefix("---\n").partition("\n---\n")
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    assert fields["name"] == setup.NAME
    assert 1 <= len(fields["description"]) <= 1024
    assert len(text.split()) < 400


@pytest.mark.anyio
async def test_the_skill_names_tools_and_parameters_that_the_server_has() -> None:
    async with Detector(Settings(backend="dinox")) as detector:
        tools = {tool.name: tool.input_schema["properties"] for tool in await build_server(detector).list_tools()}
    named = re.findall(r"`(\w+)\((.*?)\)`", SHIPPED)
    assert {name for name, _ in named} <= set(tools)
    assert len(named) > 10
    for name, arguments in named:
        assert set(re.findall(r"(\w+)=", arguments)) <= set(tools[name]), name
