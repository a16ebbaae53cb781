"""What others are told of this server: the manifest of the bundle, the registry's entry, the links that install it.

python packaging/describe.py            write them, from the version, the tools and the settings as they are
python packaging/describe.py --check    only say whether they are up to date
"""

import asyncio
import base64
import json
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from dinox_mcp import __version__
from dinox_mcp.detector import Detector
from dinox_mcp.server.app import build_server
from dinox_mcp.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = ROOT / "packaging" / "manifest.json"
REGISTRY = ROOT / "packaging" / "server.json"
README = ROOT / "README.md"
BEGIN, END = "<!-- links -->\n", "<!-- /links -->\n"
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


def links() -> str:
    """Make the links that install the server with one click, for the README."""
    server = {"command": "uvx", "args": ["dinox-mcp"]}
    cursor = {"name": "dinox", "config": base64.b64encode(_compact(server).encode()).decode()}
    key = {"id": "dinox-key", "type": "promptString", "description": "DINO-X API key (or Enter)", "password": True}
    env = {"DINOX_API_KEY": "${input:dinox-key}"}
    code = {"name": "dinox", "inputs": _compact([key]), "config": _compact({"type": "stdio", **server, "env": env})}
    return (
        f"[Add to Cursor](https://cursor.com/en/install-mcp?{_query(cursor)}) · "
        f"[Add to VS Code](https://insiders.vscode.dev/redirect/mcp/install?{_query(code)})\n"
    )


def with_links(text: str) -> str:
    """Put the links between their marks in the README."""
    before, begin, rest = text.partition(BEGIN)
    return before + begin + links() + END + rest.partition(END)[2] if begin else text


def files() -> dict[Path, str]:
    """Give what each file should say."""
    return {
        MANIFEST: json.dumps(manifest(), indent=2, ensure_ascii=False) + "\n",
        REGISTRY: json.dumps(registry(), indent=2, ensure_ascii=False) + "\n",
        README: with_links(README.read_text(encoding="utf-8")),
    }


async def _tools() -> list[dict[str, str]]:
    """List all tools of the server, which the cloud can serve, each with the first sentence of its description."""
    async with Detector(Settings(backend="dinox")) as detector:
        tools = await build_server(detector).list_tools()
    return [{"name": tool.name, "description": _first_sentence(tool.description or tool.name)} for tool in tools]


def _first_sentence(text: str) -> str:
    sentence, stop, _ = " ".join(text.split()).partition(". ")
    return sentence + stop.strip()


def _query(parameters: dict[str, str]) -> str:
    return urlencode(parameters, quote_via=quote, safe="")


def _compact(data: object) -> str:
    return json.dumps(data, separators=(",", ":"))


def main() -> None:
    """Write the files, or say which are not up to date."""
    stale = {path: text for path, text in files().items() if not path.exists() or path.read_text("utf-8") != text}
    if "--check" in sys.argv[1:]:
        lines = [f"{path.relative_to(ROOT)} is stale: run python packaging/describe.py" for path in stale]
        sys.exit("\n".join(lines) or 0)
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
