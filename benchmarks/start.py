"""How long from starting the process to an answer, and how much memory does it take when idle?"""

from collections.abc import Callable, Sequence
from statistics import median

from benchmarks.bench import Bench, milliseconds
from benchmarks.contenders import Bare, Ours
from benchmarks.harness import Server, pss_mib, rss_mib
from benchmarks.tables import Table

GOAL = 1.05
Sample = tuple[float, float, float, float]


def measure(bench: Bench) -> Table:
    """Start every contender in turn, again and again."""
    start: dict[str, Callable[[], Server]] = {"ours": Ours, "bare SDK": Bare}
    if bench.vendor:
        start["vendor"] = bench.vendor.start
    samples: dict[str, list[Sample]] = {name: [] for name in start}
    rounds = bench.times(15, 5)
    for turn in range(rounds + 1):
        for name, contender in start.items():
            sample = _sample(contender)
            if turn:  # the first warms caches, of bytecode too
                samples[name].append(sample)
    return _table({name: list(zip(*rows, strict=True)) for name, rows in samples.items()}, rounds)


def _sample(start: Callable[[], Server]) -> Sample:
    with start() as server:
        server.initialize()
        initialized = server.seconds()
        server.ask("tools/list")
        listed = server.seconds()
        return initialized, listed, rss_mib(server.popen.pid), pss_mib(server.popen.pid)


def _table(columns: dict[str, list[Sequence[float]]], rounds: int) -> Table:
    table = Table("Start and idle memory (start)", ["ours", "bare SDK", "vendor"])
    initialized, listed, rss, pss = zip(*columns.values(), strict=True)
    ratio = median(ours / bare for ours, bare in zip(initialized[0], initialized[1], strict=True))
    table.add(
        "start to `initialize` answered",
        *map(milliseconds, initialized),
        goal=f"at most {GOAL} x bare, pair by pair (now {ratio:.2f})",
        met=ratio <= GOAL,
    )
    table.add("the fastest start", *(f"{1000 * min(times):.0f} ms" for times in initialized))
    table.add("start to `tools/list` answered", *map(milliseconds, listed))
    lean = median(rss[0]) < median(rss[2]) if "vendor" in columns else None
    table.add("idle memory (RSS)", *map(_mib, rss), goal="below the vendor's", met=lean)
    table.add("idle memory (PSS)", *map(_mib, pss))
    table.remarks.append(f"Medians of {rounds} interleaved starts, bytecode compiled.")
    return table


def _mib(values: Sequence[float]) -> str:
    return f"{median(values):.0f} MiB"
