"""What is published says what the server is."""

import asyncio
import importlib
import json
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import pytest
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from dinox_mcp import __version__
from dinox_mcp.cli.main import parser
from dinox_mcp.detector import Detector
from dinox_mcp.server.app import build_server
from dinox_mcp.server.http import HEALTH
from dinox_mcp.settings import Settings, environment_name

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """The scripts of packaging/, as they find each other when they are run."""
    sys.path.insert(0, str(ROOT / "packaging"))
    yield {name: importlib.import_module(name) for name in ("describe", "bundle", "release")}
    sys.path.remove(str(ROOT / "packaging"))


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    data: dict[str, Any] = json.loads((ROOT / "packaging/manifest.json").read_text())
    return data


def test_what_is_committed_is_up_to_date(scripts: dict[str, ModuleType]) -> None:
    stale = [path.name for path, text in scripts["describe"].files().items() if path.read_text() != text]
    assert stale == [], "run python packaging/describe.py"


@pytest.mark.slow
def test_the_bundle_lists_the_tools_of_the_server(manifest: dict[str, Any]) -> None:
    tools = asyncio.run(build_server(Detector(Settings(backend="dinox"))).list_tools())
    assert [tool["name"] for tool in manifest["tools"]] == [tool.name for tool in tools]
    assert all(tool["description"].endswith(".") for tool in manifest["tools"])


def test_the_bundle_asks_for_the_key_as_a_secret(manifest: dict[str, Any]) -> None:
    assert manifest["user_config"]["api_key"]["sensitive"] is True
    assert manifest["user_config"]["api_key"]["required"] is False
    server = manifest["server"]
    assert (manifest["manifest_version"], server["type"]) == ("0.4", "uv")
    assert server["mcp_config"]["args"][0] == "run"  # hosts put their own uv before it
    assert (ROOT / server["entry_point"]).is_file()
    env = server["mcp_config"]["env"]
    assert set(env) <= {environment_name(field) for field in Settings.model_fields}
    asked = re.findall(r"\$\{user_config\.(\w+)\}", " ".join(env.values()))
    assert sorted(asked) == sorted(manifest["user_config"])


def test_one_place_says_the_version(manifest: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "dinox_mcp/__init__.py"
    registry = json.loads((ROOT / "packaging/server.json").read_text())
    assert {manifest["version"], registry["version"], registry["packages"][0]["version"]} == {__version__}


@pytest.mark.slow
def test_the_bundle_holds_what_uv_needs_and_no_more(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    scripts["bundle"].stage(tmp_path)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"dinox-mcp": "dinox_mcp.cli.main:main"}
    assert "dependency-groups" not in project
    assert list(project["tool"]) == ["hatch"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "LICENSE",
        "README.md",
        "dinox_mcp",
        "icon.png",
        "manifest.json",
        "pyproject.toml",
    }
    assert not list(tmp_path.rglob("__pycache__"))
    with Image.open(tmp_path / "icon.png") as icon:
        assert icon.size == (512, 512)


@pytest.mark.skipif(shutil.which("mcpb") is None, reason="needs the tool: npm install -g @anthropic-ai/mcpb")
def test_the_official_tool_takes_the_bundle(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    assert scripts["bundle"].pack(tmp_path).stat().st_size > 100_000


Name = Annotated[str, Field(min_length=3, max_length=200, pattern=r"^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Variable(Strict):
    name: str
    description: str
    isRequired: bool  # noqa: N815 - the registry's own name
    isSecret: bool  # noqa: N815


class Transport(Strict):
    type: Literal["stdio"]


class Package(Strict):
    registryType: Literal["pypi", "mcpb"]  # noqa: N815
    identifier: str
    transport: Transport
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] | None = None
    runtimeHint: Literal["uvx"] | None = None  # noqa: N815
    fileSha256: Annotated[str, Field(pattern=r"^[a-f0-9]{64}$")] | None = None  # noqa: N815
    environmentVariables: list[Variable] = []  # noqa: N815 - pydantic copies it


class Repository(Strict):
    url: Annotated[str, Field(pattern=r"^https://github\.com/[\w.-]+/[\w.-]+$")]
    source: Literal["github"]


class Registry(Strict):
    """The rules of the registry's schema of 2025-12-11 for what we use of it."""

    schema_url: Annotated[str, Field(alias="$schema", pattern=r"/2025-12-11/server\.schema\.json$")]
    name: Name
    title: Annotated[str, Field(min_length=1, max_length=100)]
    description: Annotated[str, Field(min_length=1, max_length=100)]
    version: Annotated[str, Field(max_length=255, pattern=r"^\d+\.\d+\.\d+$")]
    repository: Repository
    packages: list[Package]


@pytest.mark.parametrize("digest", [None, "a" * 64])
def test_the_registry_would_take_the_entry(digest: str | None, scripts: dict[str, ModuleType]) -> None:
    entry = Registry.model_validate(scripts["describe"].registry(digest))
    assert [package.registryType for package in entry.packages] == ["pypi", "mcpb"][: 2 if digest else 1]
    assert all(("mcp" in one.identifier) and (one.version or one.fileSha256) for one in entry.packages)
    assert entry.packages[0].environmentVariables[0].isSecret


def test_the_readme_proves_whose_package_it_is() -> None:
    assert (
        f"<!-- mcp-name: {json.loads((ROOT / 'packaging/server.json').read_text())['name']} -->"
        in (ROOT / "README.md").read_text()
    )


def test_a_release_of_another_version_is_refused(
    scripts: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["release.py", "v0.0.0"])
    with pytest.raises(SystemExit, match=r"the tag v0\.0\.0 is not that of version"):
        scripts["release"].main()


def test_the_container_starts_a_server_that_wants_a_token() -> None:
    text = (ROOT / "packaging/Containerfile").read_text().replace("\\\n", "")
    _, *words = json.loads(re.findall(r"^ENTRYPOINT (\[.*\])$", text, re.MULTILINE)[0])
    options = parser().parse_args(words)
    assert (options.transport, options.host, options.no_auth) == ("http", "0.0.0.0", None)
    assert re.search(r"^USER (?!root)", text, re.MULTILINE)
    assert f"127.0.0.1:{options.port}{HEALTH}" in text
