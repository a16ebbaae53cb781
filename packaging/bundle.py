"""Makes the MCP Bundle: `python packaging/bundle.py [FOLDER]` leaves dinox-mcp-VERSION.mcpb in a folder (dist).

It holds the package's source and its pyproject.toml, from which the host's uv installs it; nothing compiled, so that
one bundle serves every system. The official tool `mcpb` checks and packs it: `npm install -g @anthropic-ai/mcpb`.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tomlkit
from describe import ROOT, manifest
from PIL import Image, ImageDraw

from dinox_mcp import __version__

_SIDE = 512


def stage(folder: Path) -> None:
    """Put what the bundle holds into an empty folder."""
    shutil.copytree(ROOT / "dinox_mcp", folder / "dinox_mcp", ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    (folder / "pyproject.toml").write_text(project(), encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps(manifest(), indent=2, ensure_ascii=False), encoding="utf-8")
    icon().save(folder / "icon.png", optimize=True)


def project() -> str:
    """Give pyproject.toml without what only developers need: uv would install it too."""
    document = tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    del document["dependency-groups"]
    tools = document["tool"]
    for name in [name for name in tools if name != "hatch"]:
        del tools[name]
    return tomlkit.dumps(document)


def icon() -> Image.Image:
    """Draw the eye that is the server's icon."""
    large = Image.new("RGBA", (2 * _SIDE, 2 * _SIDE))
    draw = ImageDraw.Draw(large)
    steps = [step / 64 for step in range(65)]
    bow = [(2 * _SIDE * t, 3 * _SIDE * t * (1 - t)) for t in steps]  # the curve of the icon that hosts are given
    draw.polygon([(x, _SIDE - y) for x, y in bow] + [(x, _SIDE + y) for x, y in reversed(bow)], fill="#0066cc")
    draw.circle((_SIDE, _SIDE), 3 * _SIDE / 8, fill="white")
    return large.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)


def pack(folder: Path) -> Path:
    """Check and pack the bundle into a folder; gives its path."""
    target = folder / f"dinox-mcp-{__version__}.mcpb"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder_name:
        stage(Path(folder_name))
        _mcpb("validate", f"{folder_name}/manifest.json")
        _mcpb("pack", folder_name, str(target))
    return target


def _mcpb(*arguments: str) -> None:
    """Run the official tool."""
    tool = shutil.which("mcpb")
    npx = shutil.which("npx")
    if tool is None and npx is None:
        sys.exit("the tool mcpb is not found: npm install -g @anthropic-ai/mcpb")
    command = [tool] if tool else [str(npx), "--yes", "@anthropic-ai/mcpb"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"mcpb {arguments[0]} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.stdout.write(f"{pack(Path(sys.argv[1] if len(sys.argv) > 1 else 'dist').absolute())}\n")
