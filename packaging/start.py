"""Measures how long it takes from nothing to the first detection under uvx: `python packaging/start.py WHEEL`.

Prints the rows of the table in docs/install.md. Needs uv, an index, and a network: the first row is mostly that.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SAMPLE = Path(__file__).resolve().parents[1] / "examples" / "sample.png"
VERSION = ("--version",)
DETECT = ("detect", str(SAMPLE), "text", "--backend", "embedded", "--json")


def measure(wheel: str) -> None:
    """Print seconds: with nothing there, with the packages in uv's cache, with the environment made."""
    sys.stdout.write("| what is there | bytecode | `--version` | first detection |\n|---|---|---|---|\n")
    for compiled in (False, True):
        with tempfile.TemporaryDirectory() as cache:
            fresh = [_run(wheel, words, Path(cache) / str(number), compiled) for number, words in enumerate(_BOTH)]
            _row("nothing", compiled, fresh)
            _row("packages in uv's cache", compiled, [_median(_isolated(w), wheel, cache, compiled) for w in _BOTH])
            _row("environment made", compiled, [_median(w, wheel, cache, compiled) for w in _BOTH])


_BOTH = (VERSION, DETECT)


def _isolated(words: tuple[str, ...]) -> tuple[str, ...]:
    return ("--isolated", *words)


def _row(what: str, compiled: bool, seconds: list[float]) -> None:
    numbers = " | ".join(f"{one:.1f} s" for one in seconds)
    sys.stdout.write(f"| {what} | {'compiled' if compiled else 'as it comes'} | {numbers} |\n")
    sys.stdout.flush()


def _median(words: tuple[str, ...], wheel: str, cache: str, compiled: bool) -> float:
    return statistics.median(_run(wheel, words, Path(cache) / "0", compiled) for _ in range(3))


def _run(wheel: str, words: tuple[str, ...], cache: Path, compiled: bool) -> float:
    uvx = shutil.which("uvx")
    if uvx is None:
        sys.exit("uvx is not found: pip install uv")
    options = [one for one in words if one == "--isolated"]
    rest = [one for one in words if one != "--isolated"]
    environment = os.environ | {"UV_CACHE_DIR": str(cache), "UV_COMPILE_BYTECODE": str(int(compiled))}
    begin = time.perf_counter()
    command = [uvx, *options, "--python", sys.executable, "--from", wheel, "dinox-mcp", *rest]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - begin


if __name__ == "__main__":
    measure(sys.argv[1])
