"""What do torch and ONNX Runtime take for the same model?"""

import time
from contextlib import ExitStack
from statistics import median

from benchmarks.harness import family, rss_mib
from benchmarks.local.child import Child
from benchmarks.local.labels import COCO, FIVE, unseen
from benchmarks.local.setup import Setup, seconds
from benchmarks.tables import Table

_RUNTIMES = {
    "torch": ("torch", "float32"),
    "ONNX Runtime": ("onnx", "float32"),
    "ONNX Runtime, int8": ("onnx", "int8"),
}
FASTER = 1.5
"""How many times faster than torch a first request in int8 shall be."""


def measure(setup: Setup) -> Table:
    """Ask all runtimes in turn, each about images and labels that it does not know."""
    table = Table("OWLv2 base in each runtime (runtimes)", list(_RUNTIMES))
    checkpoint = setup.checkpoint("owlv2")
    with ExitStack() as stack:
        children: dict[str, Child] = {}
        cold: dict[str, float] = {}
        for name, (runtime, precision) in _RUNTIMES.items():
            started = time.perf_counter()
            child = stack.enter_context(setup.ours(checkpoint, runtime=runtime, precision=precision))
            child.ask("ask", picture=setup.picture(), labels=FIVE)
            children[name], cold[name] = child, time.perf_counter() - started
        kinds = {
            "first request, 5 labels": (FIVE, True),
            "first request, 80 labels": (COCO, True),
            "the same image, 5 new labels": (FIVE, False),
        }
        table.add("from the start of the program to its first answer", *map(seconds, cold.values()))
        for kind, (labels, is_new) in kinds.items():
            took = _in_turn(setup, children, labels, is_new=is_new)
            ratio = took["torch"] / took["ONNX Runtime, int8"]
            goal = f"int8 {FASTER} x torch (now {ratio:.1f})" if is_new else ""
            table.add(kind, *map(seconds, took.values()), goal=goal, met=ratio >= FASTER if is_new else None)
        table.add("memory of both processes", *(f"{_memory(child):.0f} MiB" for child in children.values()))
    table.remarks.append(f"Medians of {setup.rounds}, in turn; the memory is what is resident after them.")
    return table


def _in_turn(setup: Setup, children: dict[str, Child], labels: list[str], *, is_new: bool) -> dict[str, float]:
    samples: dict[str, list[float]] = {name: [] for name in children}
    for number in range(setup.rounds):
        picture = setup.picture()
        for name, child in children.items():
            if not is_new:
                child.ask("ask", picture=picture, labels=["teddy bear"])
            took, _ = child.ask("ask", picture=picture, labels=unseen(labels, number))
            samples[name].append(took)
    return {name: median(values) for name, values in samples.items()}


def _memory(child: Child) -> float:
    return sum(rss_mib(pid) for pid in family(child.popen.pid))
