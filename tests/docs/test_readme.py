"""What the documents promise."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from tests.emulator import Emulator, serve
from tests.readme import README, with_table

ROOT = README.parent
HOSTS = ROOT / "examples" / "hosts"


def test_the_readme_lists_the_settings_as_they_are() -> None:
    text = README.read_text()
    assert text == with_table(text), "run python -m tests.readme"


@pytest.mark.parametrize("path", sorted(HOSTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_host_configuration_starts_this_server(path: Path) -> None:
    configuration = json.loads(path.read_text())
    server = (configuration.get("mcpServers") or configuration["servers"])["dinox"]
    assert (server["command"], server["args"]) == ("uvx", ["dinox-mcp"])
    assert list(server["env"]) == ["DINOX_API_KEY"]


def test_the_codex_configuration_starts_this_server() -> None:
    server = tomllib.loads((HOSTS / "codex.toml").read_text())["mcp_servers"]["dinox"]
    assert (server["command"], server["args"]) == ("uvx", ["dinox-mcp"])


def run(example: str, *arguments: str, **variables: str) -> str:
    """Run an example and give what it prints; on the backend that needs nothing, unless variables say otherwise."""
    command = [sys.executable, str(ROOT / "examples" / example), *arguments]
    environment = os.environ | {"DINOX_MCP_BACKEND": "embedded"} | variables
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=120, env=environment)  # noqa: S603
    return done.stdout


def test_the_demo_shows_what_is_in_the_sample() -> None:
    printed = run("demo.py")
    assert "detect_objects, detect_prompt_free, detect_by_example" in printed
    assert "EXIT" in printed
    assert Path(printed.partition("Saved at full size: ")[2].splitlines()[0]).is_file()


def test_the_prompt_free_example_runs() -> None:
    assert "embedded found" in run("prompt_free.py")


def test_the_counting_example_runs() -> None:
    with Image.open(ROOT / "examples" / "sample.png") as sample:
        whole = [str(edge) for edge in (sample.width // 4, sample.height // 4, sample.width // 2, sample.height // 2)]
    printed = run("count_by_example.py", str(ROOT / "examples" / "sample.png"), *whole)
    assert "'one like it': 1" in printed
    assert "with min_score 0.25: 1" in printed


@pytest.mark.parametrize(
    ("example", "arguments", "words"),
    [
        ("open_vocabulary.py", ["person"], "'person': 1"),
        ("poses.py", [], "person 1: "),
        ("region_captions.py", ["person"], "person: a thing"),
    ],
)
def test_an_example_runs_on_the_cloud(example: str, arguments: list[str], words: str) -> None:
    with serve(Emulator()) as emulator:
        cloud = {"DINOX_MCP_BACKEND": "dinox", "DINOX_API_KEY": emulator.key, "DINOX_API_BASE_URL": emulator.url}
        assert words in run(example, str(ROOT / "examples" / "sample.png"), *arguments, **cloud)
