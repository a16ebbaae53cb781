"""Does the server start and list its tools as if the extra were not installed?"""

import sys
from pathlib import Path
from statistics import median

from benchmarks.harness import Server, rss_mib
from benchmarks.local.child import environment
from benchmarks.local.setup import Setup, seconds
from benchmarks.tables import Table

NOISE = 1.1
_HIDE = """
import importlib.machinery as machinery
hidden = ("torch", "transformers", "huggingface_hub", "safetensors")
find = machinery.PathFinder.find_spec
machinery.PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] in hidden else find(name, *rest)
"""


def measure(setup: Setup) -> Table:
    """Start the server with and without the extra in turn; without, its packages cannot be found."""
    folder = setup.folder / "without"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_HIDE, encoding="utf-8")
    rounds = 3 * setup.rounds
    samples: dict[str, list[tuple[float, float, bool]]] = {"with": [], "without": []}
    for number in range(rounds + 1):
        for name, paths in (("with", ()), ("without", (folder,))):
            sample = _sample(paths)
            if number:  # the first warms caches, of bytecode too
                samples[name].append(sample)
    times, memory, torch = zip(*(zip(*rows, strict=True) for rows in samples.values()), strict=True)
    table = Table("Start until the tools are listed (start)", ["with the extra", "without"])
    with_extra, without = map(median, times)
    table.add(
        "start to `tools/list` answered",
        *(seconds(median(values)) for values in times),
        goal=f"as without, {NOISE - 1:.0%} for noise (now {with_extra / without:.2f} x)",
        met=with_extra <= NOISE * without,
    )
    table.add("idle memory", *(f"{median(values):.0f} MiB" for values in memory))
    table.add("libraries of torch in the process", "yes" if any(torch[0]) else "no", goal="none", met=not any(torch[0]))
    table.remarks.append(f"Medians of {rounds} starts in turn, no key, backend `auto`: `local` with the extra.")
    return table


def _sample(paths: tuple[Path, ...]) -> tuple[float, float, bool]:
    """Start a server: seconds, memory in MiB, and whether a library of torch was loaded."""
    with Server([sys.executable, "-m", "dinox_mcp"], environment(paths)) as server:
        server.initialize()
        server.ask("tools/list")
        maps = Path(f"/proc/{server.popen.pid}/maps").read_text(encoding="utf-8")
        return server.seconds(), rss_mib(server.popen.pid), "libtorch" in maps
