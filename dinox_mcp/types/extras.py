"""The extras of this package, where it was installed from, and the command that adds an extra to the installation."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

PACKAGE = "dinox-mcp"
MODULE_OF_EXTRA = {
    "local": "torch",
    "video": "av",
    "evaluate": "pycocotools",
    "redis": "redis",
    "ray": "ray",
    "batch": "pyarrow",
}
_UV_TOOL, _PIPX = ("uv", "tools"), ("pipx", "venvs")
"""Folders in the path of a Python that `uv tool install` or pipx made for one program."""


def extras_command(extras: Sequence[str], packages: Sequence[str] = (), python: Path | None = None) -> str:
    """Return the command that adds extras to this installation, for the shell.

    Args:
        extras: names of extras.
        packages: other packages that are needed beside them.
        python: the interpreter of the installation; by default the one that runs this program.
    """
    # uv and pipx make the environment anew: an extra that is installed and not named would be lost.
    kept = [name for name, module in MODULE_OF_EXTRA.items() if name in extras or find_spec(module)]
    requirement = with_extras(origin() or PACKAGE, kept)
    folders = list(pairwise((python or Path(sys.executable)).parts))
    if _UV_TOOL in folders:
        return _quoted(["uv", "tool", "install", requirement, *(f"--with={one}" for one in packages)])
    if _PIPX in folders:
        command = _quoted(["pipx", "install", "--force", requirement])
        return f"{command} && {_quoted(['pipx', 'inject', PACKAGE, *packages])}" if packages else command
    return _quoted(["pip", "install", with_extras(PACKAGE, extras), *packages])  # pip keeps what is installed


def with_extras(source: str, extras: Sequence[str]) -> str:
    """Add extras to a requirement: behind the package's name, or behind a path."""
    if not extras:
        return source
    at = len(PACKAGE) if source.startswith(PACKAGE) else len(source)
    return f"{source[:at]}[{','.join(extras)}]{source[at:]}"


def origin() -> str | None:
    """Return the folder, wheel or URL that this package was installed from; None for an index."""
    try:
        text = distribution(PACKAGE).read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    if not text:
        return None
    found: dict[str, Any] = json.loads(text)
    url = str(found["url"])
    if "vcs_info" in found:
        return f"{found['vcs_info']['vcs']}+{url}@{found['vcs_info']['commit_id']}"
    return _local_path(url) if url.startswith("file:") else url


def _local_path(url: str) -> str:
    """Return the path of a file: URL; on Windows it begins with the drive."""
    path = unquote(urlsplit(url).path)
    return path[1:] if re.match(r"/[A-Za-z]:", path) else path


def _quoted(command: Sequence[str]) -> str:
    return subprocess.list2cmdline(command) if sys.platform == "win32" else shlex.join(command)
