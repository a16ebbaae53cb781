"""Where clients and server live: environments of their own under .venv/hosts, made once and kept."""

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".venv" / "hosts"
NODE_MODULES = CACHE / "node_modules"
BIN = "Scripts" if sys.platform == "win32" else "bin"


@functools.cache
def installed_server() -> list[str]:
    """Install the package as users do, from a wheel, and give the command that starts it."""
    python = _environment("server", f"{ROOT}[video]", again=True)
    return [str(python.with_name("dinox-mcp"))]


@functools.cache
def python_of(client: str) -> Path:
    """Make the environment of a Python client, of the packages pinned in clients/CLIENT.txt."""
    return _environment(client, "--requirement", str(HERE / "clients" / f"{client}.txt"))


def node() -> str:
    """Give the Node that is installed with the Node clients; skips where they cannot be had."""
    if why_not := _install_node_clients():
        pytest.skip(why_not)
    return str(NODE_MODULES / "node" / "bin" / "node")


@functools.cache
def _install_node_clients() -> str:
    """Install what package-lock.json pins, unless it is there; give what went wrong, or nothing."""
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed"
    files = ("package.json", "package-lock.json", ".npmrc")
    if NODE_MODULES.exists() and all(_same(CACHE / name, HERE / name) for name in files):
        return ""
    staged = CACHE / "installing"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    for name in files:
        shutil.copy(HERE / name, staged)
    # Not `npm ci`: it wants the lock to name opencode's builds for other systems too, and some registries lack them.
    done = _run(npm, "install", "--no-progress", cwd=staged)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("npm error")]
        return f"npm install failed: {' '.join(errors[:3])}"
    shutil.rmtree(NODE_MODULES, ignore_errors=True)
    (staged / "node_modules").rename(NODE_MODULES)
    for name in files:
        shutil.copy(HERE / name, CACHE)
    return ""


def version(package: str) -> str:
    """Give the version of an installed npm package."""
    return str(json.loads((NODE_MODULES / package / "package.json").read_text())["version"])


def plain_environment(home: Path) -> dict[str, str]:
    """Give what a program needs of this machine's environment, and nothing of its user's: no key, no configuration."""
    keep = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LANG")
    # A client may look things up at its maker's: no test leaves this machine.
    own = {"HOME": str(home), "USERPROFILE": str(home), "NO_PROXY": "127.0.0.1,localhost", "CI": "1"}
    return {name: os.environ[name] for name in keep if name in os.environ} | own


def _environment(name: str, *requirements: str, again: bool = False) -> Path:
    python = CACHE / name / BIN / "python"
    wanted = "\n".join(Path(word).read_text() if word.endswith(".txt") else word for word in requirements)
    note = CACHE / name / "installed.txt"
    if again or not note.exists() or note.read_text() != wanted:
        made = _run(sys.executable, "-m", "venv", str(CACHE / name))
        made = made if made.returncode else _run(str(python), "-m", "pip", "install", "--quiet", *requirements)
        if made.returncode:
            pytest.skip(f"no environment for {name}: {(made.stderr or made.stdout).strip()[-300:]}")
        note.write_text(wanted)
    return python


def _same(copy: Path, original: Path) -> bool:
    return copy.exists() and copy.read_bytes() == original.read_bytes()


def _run(*command: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=900, check=False)  # noqa: S603
