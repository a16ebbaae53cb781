"""How much memory is left in use when a model has left?"""

import time
from pathlib import Path

from benchmarks.local.child import Child
from benchmarks.local.labels import FIVE
from benchmarks.local.setup import Setup
from benchmarks.tables import Table

GOAL_MB = 250
Moments = dict[str, tuple[float, float]]
"""Memory by moment, in MB: all that is resident, and what of it is no library's code but data."""


def measure(setup: Setup) -> Table:
    """Ask, then wait until the model has left because nobody asks."""
    table = Table("Memory before, with and after a model (memory)", ["OWLv2 base", "Grounding DINO tiny"])
    columns = [_column(setup, name) for name in ("owlv2", "grounding-dino")]
    for moment in columns[0]:
        table.add(moment, *(f"{column[moment][0]:.0f} MB ({column[moment][1]:.0f})" for column in columns))
    for before, goal in (("before the first question", GOAL_MB), ("with the imports alone", GOAL_MB)):
        more = [[after - less for after, less in zip(column["after unloading"], column[before], strict=True)]
                for column in columns]  # fmt: skip
        table.add(
            f"after unloading, more than {before}",
            *(f"{resident:.0f} MB ({data:.0f})" for resident, data in more),
            goal=f"at most {goal} MB",
            met=max(resident for resident, _ in more) <= goal,
        )
    table.remarks.append(
        "Resident memory of the process, in brackets what of it is data, not code mapped from libraries, which the "
        "system takes back when it needs to. The imports alone (torch, transformers, the model's classes) are another "
        "process's. Nothing that was imported can leave; what was loaded is to."
    )
    return table


def _column(setup: Setup, name: str) -> Moments:
    checkpoint = setup.checkpoint(name)
    moments: Moments = {}
    with setup.ours(checkpoint, idle_s=1) as child:
        child.ask("ready")
        moments["before the first question"] = _memory(child)
        for _ in range(2):
            child.ask("ask", picture=setup.picture(), labels=FIVE)
        moments["after two questions"] = _memory(child)
        moments["after unloading"] = _settled(child)
    with setup.ours(checkpoint) as child:
        child.ask("imports")
        moments["with the imports alone"] = _memory(child)
    return moments


def _settled(child: Child) -> tuple[float, float]:
    """Wait until memory falls no more, some seconds after the last question at the earliest."""
    time.sleep(3)
    before = _memory(child)
    while (now := _wait(child)) < before:
        before = now
    return now


def _wait(child: Child) -> tuple[float, float]:
    time.sleep(1)
    return _memory(child)


def _memory(child: Child) -> tuple[float, float]:
    lines = Path(f"/proc/{child.popen.pid}/status").read_text(encoding="ascii").splitlines()
    kib = {name: int(value.split()[0]) for name, value in (line.split(":", 1) for line in lines) if name in _NAMES}
    resident, data = (kib[name] * 1024 / 1e6 for name in _NAMES)
    return resident, data


_NAMES = ("VmRSS", "RssAnon")
