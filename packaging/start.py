"""Measures what it takes from nothing to the first answer under uvx: `python packaging/start.py WHEEL`.

Prints the table in docs/install.md: seconds on the clock, the best of some runs, and seconds of processor time, which
other work on the machine changes less. Needs uv, an index and a network; the first rows are mostly downloads.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_SAMPLE = Path(__file__).resolve().parents[1] / "examples" / "sample.png"
_DETECT = ("detect", str(_SAMPLE), "text", "--backend", "embedded", "--json")
_HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "start", "version": "1"}},
}
_RUNS = 5


def measure(wheel: str) -> None:
    """Print rows for what is there already, without and with compiled bytecode, and one for an installed tool."""
    uvx = shutil.which("uvx") or sys.exit("uvx is not found: pip install uv")
    start = [uvx, "--python", sys.executable]
    serve = ["--from", wheel, "dinox-mcp"]
    sys.stdout.write("| what is there | bytecode | server answers | first detection |\n|---|---|---|---|\n")
    for compiled in ("0", "1"):
        with tempfile.TemporaryDirectory() as folder:
            # A cache of its own for each command, as the first run leaves an environment.
            caches = [_environment(Path(folder) / name, compiled) for name in ("serve", "detect")]
            how = "compiled" if compiled == "1" else "as it comes"
            _row(f"nothing | {how}", [*start, *serve], caches, 1)
            _row(f"an environment | {how}", [*start, *serve], caches, _RUNS)
            install = [str(Path(uvx).with_name("uv")), "tool", "install", "--python", sys.executable, wheel]
            subprocess.run(install, env=caches[0], check=True, capture_output=True)
            _row(f"`uv tool install` | {how}", [f"{folder}/serve/bin/dinox-mcp"], caches, _RUNS)


def _environment(cache: Path, compiled: str) -> dict[str, str]:
    """Make uv keep everything in one folder; Python may write bytecode, as it does by default."""
    own = {"UV_CACHE_DIR": cache / "cache", "UV_TOOL_DIR": cache / "tools", "UV_TOOL_BIN_DIR": cache / "bin"}
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | {name: str(path) for name, path in own.items()} | {"UV_COMPILE_BYTECODE": compiled}


def _row(title: str, command: list[str], environments: list[dict[str, str]], runs: int) -> None:
    """Print the best of some runs of the server and of a detection."""
    cells = []
    for arguments, environment in zip(([], _DETECT), environments, strict=True):
        clock, work = min(_run([*command, *arguments], environment) for _ in range(runs))
        cells.append(f"{clock:.1f} s ({work:.1f} s)")
    sys.stdout.write(f"| {title} | {' | '.join(cells)} |\n")
    sys.stdout.flush()


def _run(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a command to its end and say hello to it; gives seconds on the clock and of processor time."""
    before, begin = _work(), time.perf_counter()
    hello = json.dumps(_HELLO).encode() + b"\n"
    subprocess.run(command, input=hello, env=environment, check=True, capture_output=True)
    return time.perf_counter() - begin, _work() - before


def _work() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    measure(sys.argv[1])
