"""What README.md and the examples promise."""

import base64
import json
import re
import runpy
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from dinox_mcp.install import launch
from docs import readme
from docs.readme import GETTING_STARTED, README, ROOT
from tests.emulator import Emulator

HOSTS = ROOT / "examples" / "hosts"
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@pytest.fixture(scope="module")
def output() -> str:
    return readme.run_example()


@pytest.mark.slow
@pytest.mark.parametrize("page", [README, GETTING_STARTED], ids=lambda page: page.stem)
def test_a_page_follows_the_code(page: Path, output: str) -> None:
    text, wanted = page.read_text(), readme.pages(output)[page]
    assert _NUMBER.sub("", text) == _NUMBER.sub("", wanted), "run python -m docs.readme"
    numbers, computed = ([float(one) for one in _NUMBER.findall(one)] for one in (text, wanted))
    assert numbers == pytest.approx(computed, abs=2), "another processor may round in another way"


def test_the_readme_is_short() -> None:
    assert len(README.read_text().split()) < 1200


@pytest.mark.slow
def test_the_python_of_the_readme_runs_as_pasted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DINOX_MCP_BACKEND", "embedded")
    exec(compile(code, README, "exec"), {"__name__": "__main__"})  # noqa: S102 - our own document
    assert capsys.readouterr().out.splitlines()[-1] == "{'person': 1, 'face': 1}"


@pytest.mark.parametrize("published", [True, False])
def test_the_first_commands_work_whether_or_not_the_package_is_published(
    published: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readme, "PUBLISHED", published)
    for text in readme.pages("").values():
        assert ("uvx dinox-mcp install" in text) == published
        assert ("uv tool install ." in text) != published


def test_no_page_says_what_cannot_work_before_the_package_is_published() -> None:
    if launch.PUBLISHED:
        pytest.skip("the package is published")
    for page in (README, *sorted((ROOT / "docs").glob("*.md")), *HOSTS.iterdir()):
        for line in page.read_text().splitlines():
            assert not re.search(r"uvx dinox-mcp|install dinox-mcp\b(?!\[)|uv tool install 'dinox-mcp", line), (
                f"{page.name}: {line}"
            )


def test_the_links_lead_to_what_starts_the_server() -> None:
    cursor, code = (parse_qs(urlsplit(url).query) for url in re.findall(r"\[Add to [\w ]+\]\((.*?)\)", readme.links()))
    server = {"command": "uvx", "args": ["dinox-mcp"]}
    assert cursor["name"] == code["name"] == ["dinox"]
    assert json.loads(base64.b64decode(cursor["config"][0])) == server
    env = {"DINOX_API_KEY": "${input:dinox-key}"}
    assert json.loads(code["config"][0]) == {"type": "stdio", **server, "env": env}
    (asked,) = json.loads(code["inputs"][0])
    assert (asked["id"], asked["password"]) == ("dinox-key", True)


@pytest.mark.parametrize("path", sorted(HOSTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_host_configuration_starts_this_server(path: Path) -> None:
    configuration = json.loads(path.read_text())
    server = (configuration.get("mcpServers") or configuration["servers"])["dinox"]
    assert launch.is_ours(server)
    assert list(server["env"]) == ["DINOX_API_KEY"]


def test_the_codex_configuration_starts_this_server() -> None:
    server = tomllib.loads((HOSTS / "codex.toml").read_text())["mcp_servers"]["dinox"]
    assert launch.is_ours(server)


Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Give a function that runs an example and returns what it prints.

    It runs in this process, which has the packages already, on the backend that needs nothing, unless variables say
    otherwise.
    """

    def running(example: str, *arguments: str, **variables: str) -> str:
        for name, value in ({"DINOX_MCP_BACKEND": "embedded"} | variables).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", [example, *arguments])
        monkeypatch.setattr(sys, "path", [*sys.path])  # an example may add to it
        monkeypatch.chdir(tmp_path)
        runpy.run_path(str(ROOT / "examples" / example), run_name="__main__")
        return capfd.readouterr().out

    return running


@pytest.mark.slow
def test_the_demo_shows_what_is_in_the_sample(run: Run) -> None:
    printed = run("demo.py")
    assert "detect_objects, detect_prompt_free, detect_by_example" in printed
    assert "EXIT" in printed
    assert Path(printed.partition("Saved at full size: ")[2].splitlines()[0]).is_file()


@pytest.mark.slow
def test_the_prompt_free_example_runs(run: Run, tmp_path: Path) -> None:
    with Image.open(ROOT / "examples" / "sample.png") as sample:
        sample.crop((80, 80, 420, 400)).save(tmp_path / "sign.png")
    printed = run("prompt_free.py", str(tmp_path / "sign.png"))
    assert "embedded found" in printed
    assert "LOADING BAY 3" in printed


@pytest.mark.slow
def test_the_searching_example_makes_the_sheet_of_its_page(run: Run, tmp_path: Path) -> None:
    printed = run("search_folder.py", "--sheet", str(tmp_path / "sheet.jpg"))
    assert "in 5 of 9 images, 1 of them copies" in printed
    with Image.open(tmp_path / "sheet.jpg") as made, Image.open(ROOT / "docs" / "search.jpg") as shown:
        assert made.size == shown.size


@pytest.mark.slow
def test_the_counting_example_runs(run: Run) -> None:
    with Image.open(ROOT / "examples" / "sample.png") as sample:
        edges = [str(edge) for edge in (sample.width // 4, sample.height // 4, sample.width // 2, sample.height // 2)]
    printed = run("count_by_example.py", str(ROOT / "examples" / "sample.png"), *edges)
    assert "'one like it': 1" in printed
    assert "with min_score 0.25: 1" in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "arguments", "printed"),
    [
        ("open_vocabulary.py", ["person"], "'person': 1"),
        ("poses.py", [], "person 1: "),
        ("region_captions.py", ["person"], "person: a thing"),
    ],
)
def test_an_example_runs_on_the_cloud(
    example: str, arguments: list[str], printed: str, run: Run, emulator: Emulator
) -> None:
    cloud = {"DINOX_MCP_BACKEND": "dinox", "DINOX_API_KEY": emulator.key, "DINOX_API_BASE_URL": emulator.url}
    assert printed in run(example, str(ROOT / "examples" / "sample.png"), *arguments, **cloud)
