"""What do torch and ONNX Runtime take for the same model?"""

import time
from contextlib import ExitStack, suppress
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path
from statistics import median

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.harness import family, processor_s, rss_mib
from benchmarks.local.child import Child
from benchmarks.local.labels import COCO, FIVE, unseen
from benchmarks.local.setup import Setup, seconds
from benchmarks.tables import Table
from dinox_mcp.backends.local.checkpoints import graph

_RUNTIMES = {
    "torch": ("torch", "float32"),
    "torch, bfloat16": ("torch", "bfloat16"),
    "ONNX Runtime": ("onnx", "float32"),
    "ONNX Runtime, int8": ("onnx", "int8"),
}
FASTER = 1.5
"""How many times faster than torch a first request in int8 shall be."""
READY_S = 1.5
"""How soon a model shall be loaded in ONNX Runtime."""
MORE_MB = 10
"""How much larger the package may be for its graphs."""


def measure(setup: Setup) -> Table:
    """Ask all runtimes in turn, each about images and labels that it does not know."""
    table = Table("OWLv2 base in each runtime (runtimes)", list(_RUNTIMES))
    checkpoint = setup.checkpoint("owlv2", full=True)  # of a small one there are no graphs
    with ExitStack() as stack:
        children: dict[str, Child] = {}
        cold: dict[str, float] = {}
        ready: dict[str, float] = {}
        for name, (runtime, precision) in _RUNTIMES.items():
            options = {"runtime": runtime, "precision": precision, "cache": name}
            with setup.ours(checkpoint, **options) as child:  # reads files from the disk, and tries the precision
                child.ask("ask", picture=setup.picture(), labels=["teddy bear"])
            started = time.perf_counter()
            child = stack.enter_context(setup.ours(checkpoint, **options))
            child.ask("load")
            ready[name] = time.perf_counter() - started
            child.ask("ask", picture=setup.picture(), labels=FIVE)
            children[name], cold[name] = child, time.perf_counter() - started
        soon = ready["ONNX Runtime"]
        table.add(
            "from the start of the program until the model is loaded",
            *map(seconds, ready.values()),
            goal=f"in ONNX Runtime under {READY_S} s (now {soon:.1f})",
            met=soon < READY_S,
        )
        kinds = {
            "first request, 5 labels": (FIVE, True),
            "first request, 80 labels": (COCO, True),
            "the same image, 5 new labels": (FIVE, False),
        }
        table.add("from the start of the program to its first answer", *map(seconds, cold.values()))
        for kind, (labels, is_new) in kinds.items():
            took, used = _in_turn(setup, children, labels, is_new=is_new)
            ratio = used["torch"] / used["ONNX Runtime, int8"]
            table.add(kind, *map(seconds, took.values()))
            goal = f"int8 {FASTER} x torch (now {ratio:.1f})" if is_new else ""
            met = ratio >= FASTER if is_new else None
            table.add(f"{kind}: processor time", *map(seconds, used.values()), goal=goal, met=met)
        table.add("memory of both processes", *(f"{_memory(child):.0f} MiB" for child in children.values()))
    graphs = sum(path.stat().st_size for path in graph.FOLDER.iterdir()) / 1e6
    of_torch = f"{_megabytes(_needed('local') - _needed()):.0f} MB"
    of_graphs = f"{graphs:.1f} MB"
    table.add(
        "more to install than without local models",
        *(of_torch if runtime == "torch" else of_graphs for runtime, _ in _RUNTIMES.values()),
        goal=f"for ONNX Runtime at most {MORE_MB} MB",
        met=graphs <= MORE_MB,
    )
    table.remarks.append(f"Medians of {setup.rounds}, in turn; the memory is what is resident after them.")
    return table


def _in_turn(
    setup: Setup, children: dict[str, Child], labels: list[str], *, is_new: bool
) -> tuple[dict[str, float], dict[str, float]]:
    """Ask all in turn; give the median time on the clock, and that of the processors, for each."""
    clock: dict[str, list[float]] = {name: [] for name in children}
    processors: dict[str, list[float]] = {name: [] for name in children}
    for number in range(setup.rounds):
        picture = setup.picture()
        for name, child in children.items():
            if not is_new:
                child.ask("ask", picture=picture, labels=["teddy bear"])
            before = _processor_s(child)
            took, _ = child.ask("ask", picture=picture, labels=unseen(labels, number))
            clock[name].append(took)
            processors[name].append(_processor_s(child) - before)
    return tuple({name: median(values) for name, values in of.items()} for of in (clock, processors))  # type: ignore[return-value]


def _processor_s(child: Child) -> float:
    return sum(processor_s(pid) for pid in family(child.popen.pid))


def _needed(extra: str = "") -> set[str]:
    """Name the installed packages that ours needs, with an extra, and those that they need."""
    found: set[str] = set()
    new = [(requirement, extra) for requirement in requires("dinox-mcp") or ()]
    while new:
        text, of_extra = new.pop()
        requirement = Requirement(text)
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": of_extra})
        name = canonicalize_name(requirement.name)
        if wanted and name not in found:
            with suppress(PackageNotFoundError):
                new += [(one, "") for one in requires(name) or ()]
                found.add(name)
    return found


def _megabytes(packages: set[str]) -> float:
    files = (file for name in packages for file in distribution(name).files or ())
    paths = (Path(str(file.locate())) for file in files)
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def _memory(child: Child) -> float:
    return sum(rss_mib(pid) for pid in family(child.popen.pid))
