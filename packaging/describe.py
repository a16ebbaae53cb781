"""Writes the files that describe this server to others, from the version, the tools and the settings.

These are the manifest of the bundle, the entry of the MCP registry, and the configurations in examples/hosts.

python packaging/describe.py            write them
python packaging/describe.py --check    only report which are not up to date
"""

import asyncio
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from dinox_mcp import __version__
from dinox_mcp.detector import Detector
from dinox_mcp.install.hosts import HOSTS, KEY
from dinox_mcp.install.jsonc import APPEND
from dinox_mcp.install.launch import PUBLISHED, Launch
from dinox_mcp.install.setup import key_input
from dinox_mcp.server.app import build_server
from dinox_mcp.settings import Settings
from dinox_mcp.types.extras import PACKAGE

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = ROOT / "packaging" / "manifest.json"
REGISTRY = ROOT / "packaging" / "server.json"
EXAMPLES = ROOT / "examples" / "hosts"
NAME = "io.github.dinox-mcp/dinox-mcp"
REPOSITORY = "https://github.com/dinox-mcp/dinox-mcp"
ABOUT_KEY = "Key of the DINO-X cloud. Without one, 80 kinds of things, text and codes are found on this machine."
SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"


def manifest() -> dict[str, Any]:
    """Make the manifest of the MCP Bundle, version 0.4, for hosts that bring uv along.

    They run their own uv with `args` and leave `command` alone; the tool that checks manifests wants both.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {
        "manifest_version": "0.4",
        "name": "dinox-mcp",
        "display_name": "DINO-X: eyes for exact questions",
        "version": __version__,
        "description": project["description"],
        "author": {"name": project["authors"][0]["name"]},
        "repository": {"type": "git", "url": REPOSITORY},
        "icon": "icon.png",
        "license": project["license"],
        "keywords": project["keywords"],
        "server": {
            "type": "uv",
            "entry_point": "dinox_mcp/__main__.py",
            "mcp_config": {
                "command": "uv",
                "args": ["run", "--directory", "${__dirname}", "dinox-mcp"],
                "env": {
                    "DINOX_API_KEY": "${user_config.api_key}",
                    "DINOX_MCP_BACKEND": "${user_config.backend}",
                },
            },
        },
        "tools": asyncio.run(_tools()),
        "tools_generated": False,
        "prompts_generated": True,
        "compatibility": {
            "platforms": ["darwin", "win32", "linux"],
            "runtimes": {"python": project["requires-python"]},
        },
        "user_config": {
            "api_key": {
                "type": "string",
                "title": "DINO-X API key",
                "description": ABOUT_KEY,
                "sensitive": True,
                "required": False,
            },
            "backend": {
                "type": "string",
                "title": "Backend",
                "description": "auto, dinox (the cloud), or embedded (80 kinds of things and text, on this machine)",
                "required": False,
                "default": "auto",
            },
        },
    }


def registry(bundle_sha256: str | None = None) -> dict[str, Any]:
    """Make the entry for the MCP registry; with a bundle's digest, of a release, with the bundle too."""
    environment = [{"name": "DINOX_API_KEY", "description": ABOUT_KEY, "isRequired": False, "isSecret": True}]
    wheel = {
        "registryType": "pypi",
        "identifier": "dinox-mcp",
        "version": __version__,
        "runtimeHint": "uvx",
        "transport": {"type": "stdio"},
        "environmentVariables": environment,
    }
    bundle = {
        "registryType": "mcpb",
        "identifier": f"{REPOSITORY}/releases/download/v{__version__}/dinox-mcp-{__version__}.mcpb",
        "fileSha256": bundle_sha256,
        "transport": {"type": "stdio"},
    }
    return {
        "$schema": SCHEMA,
        "name": NAME,
        "title": "DINO-X: eyes for exact questions",
        "description": "Finds, counts, reads and shows objects in pictures: open-vocabulary, with boxes and masks.",
        "version": __version__,
        "repository": {"url": REPOSITORY, "source": "github"},
        "packages": [wheel, bundle] if bundle_sha256 else [wheel],
    }


def host_configurations() -> dict[Path, str]:
    """Return the configurations in examples/hosts, as `dinox-mcp install` would write them, with an empty key."""
    launch = Launch("uvx", (PACKAGE,), {}) if PUBLISHED else Launch(f"/full/path/to/{PACKAGE}", (), {})
    texts = {}
    for name in ("claude-desktop", "claude-code", "cursor", "vscode", "codex"):
        host = HOSTS[name]
        key = host.reference if name in ("claude-code", "vscode") else ""
        entry = host.entry(Launch(launch.command, launch.args, {KEY: key or ""})) | dict(host.defaults)
        text = host.format.put("", (*host.keys, "dinox"), entry)
        if host.asks_for_key:
            text = host.format.put(text, ("inputs", APPEND), key_input())
        texts[EXAMPLES / f"{name}{'.toml' if name == 'codex' else '.json'}"] = text
    return texts


def files() -> dict[Path, str]:
    """Return the text that each file should have."""
    return {
        MANIFEST: json.dumps(manifest(), indent=2, ensure_ascii=False) + "\n",
        REGISTRY: json.dumps(registry(), indent=2, ensure_ascii=False) + "\n",
        **host_configurations(),
    }


async def _tools() -> list[dict[str, str]]:
    """List all tools of the server, which the cloud can serve, each with the first sentence of its description."""
    async with Detector(Settings(backend="dinox")) as detector:
        tools = await build_server(detector).list_tools()
    return [{"name": tool.name, "description": _first_sentence(tool.description or tool.name)} for tool in tools]


def _first_sentence(text: str) -> str:
    sentence, stop, _ = " ".join(text.split()).partition(". ")
    return sentence + stop.strip()


def main() -> None:
    """Write the files, or report which are not up to date."""
    stale = {path: text for path, text in files().items() if not path.exists() or path.read_text("utf-8") != text}
    if "--check" in sys.argv[1:]:
        lines = [f"{path.relative_to(ROOT)} is stale: run python packaging/describe.py" for path in stale]
        sys.exit("\n".join(lines) or 0)
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
