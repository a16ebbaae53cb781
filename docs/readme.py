"""Writes the parts of README.md and docs/getting-started.md that follow the code: `python -m docs.readme`.

These are how to install (while the package is not published: from a checkout), the links that install with one click,
and what the command of the README prints. A test compares them.
"""

import base64
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, urlencode

from dinox_mcp.install.launch import PUBLISHED

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
GETTING_STARTED = ROOT / "docs" / "getting-started.md"
_INSTALL = "dinox-mcp install claude-desktop       # or claude-code, cursor, vscode, codex, gemini, …"
COMMANDS = {
    True: f"uvx {_INSTALL}",
    False: f"uv tool install .                      # in a checkout of this repository; or: pip install .\n{_INSTALL}",
}
"""How to install, by whether the package is published."""


def with_block(text: str, name: str, block: str) -> str:
    """Replace what is between `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ValueError: The text does not have these marks.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the text has no block {name}; put {begin.strip()} and {end.strip()} where it belongs")
    return before + begin + block + end + after


def pages(output: str) -> dict[Path, str]:
    """Return the pages as they should be; `output` is what `run_example` returns."""
    install = f"```sh\n{COMMANDS[PUBLISHED]}\n```\n"
    readme = README.read_text(encoding="utf-8")
    readme = with_block(readme, "install", install)
    readme = with_block(readme, "output", f"```text\n{output}```\n")
    readme = with_block(readme, "links", f"\nOr with one click: {links()}\n" if PUBLISHED else "")
    started = with_block(GETTING_STARTED.read_text(encoding="utf-8"), "install", install)
    return {README: readme, GETTING_STARTED: started}


def run_example() -> str:
    """Run the README's first `dinox-mcp detect`, as it is written there, and return what it prints."""
    line = next(line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("dinox-mcp detect"))
    with TemporaryDirectory() as folder:
        (Path(folder) / "examples").symlink_to(ROOT / "examples")
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "dinox_mcp", *shlex.split(line)[1:]],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if not name.startswith("DINOX_")},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
            encoding="utf-8",
        )
    return done.stdout.rstrip() + "\n"


def links() -> str:
    """Return the links that install the published server with one click."""
    server = {"command": "uvx", "args": ["dinox-mcp"]}
    cursor = {"name": "dinox", "config": base64.b64encode(_compact(server).encode()).decode()}
    key = {"id": "dinox-key", "type": "promptString", "description": "DINO-X API key (or Enter)", "password": True}
    env = {"DINOX_API_KEY": "${input:dinox-key}"}
    code = {"name": "dinox", "inputs": _compact([key]), "config": _compact({"type": "stdio", **server, "env": env})}
    return (
        f"[Add to Cursor](https://cursor.com/en/install-mcp?{_query(cursor)}) · "
        f"[Add to VS Code](https://insiders.vscode.dev/redirect/mcp/install?{_query(code)})"
    )


def _query(parameters: dict[str, str]) -> str:
    return urlencode(parameters, quote_via=quote, safe="")


def _compact(data: object) -> str:
    return json.dumps(data, separators=(",", ":"))


if __name__ == "__main__":
    for path, text in pages(run_example()).items():
        path.write_text(text, encoding="utf-8")
