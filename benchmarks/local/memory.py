"""How much memory is in use before the first request, with a model, and when the model has left?"""

import time

from benchmarks.harness import family, rss_mib
from benchmarks.local.child import Child
from benchmarks.local.labels import FIVE
from benchmarks.local.setup import Setup
from benchmarks.tables import Table

GOAL_MB = 250
IDLE_S = 2
Moments = dict[str, float | None]
"""Memory by moment, in MB; None where there is no such process."""


def measure(setup: Setup) -> Table:
    """Ask, then wait until the models' process has ended because it is idle."""
    table = Table("Memory before, with and after a model (memory)", ["OWLv2 base", "Grounding DINO tiny"])
    columns = [_column(setup, name) for name in ("owlv2", "grounding-dino")]
    for moment in columns[0]:
        table.add(moment, *(_megabytes(column[moment]) for column in columns))
    more = [(column[_AFTER] or 0) + (column[_AFTER_MODELS] or 0) - (column[_BEFORE] or 0) for column in columns]
    table.add(
        "after unloading, more than before the first request",
        *map(_megabytes, more),
        goal=f"at most {GOAL_MB} MB",
        met=max(more) <= GOAL_MB,
    )
    table.remarks.append(
        "Resident memory of each process, code mapped from libraries included. The caller is "
        f"the server without MCP. After {IDLE_S} s without a request the models' process ends (the default is 600 s)."
    )
    return table


def _column(setup: Setup, name: str) -> Moments:
    moments: Moments = {}
    with setup.ours(setup.checkpoint(name), idle_s=IDLE_S) as child:
        child.ask("ready")
        moments[_BEFORE], _ = _memory(child)
        for _ in range(2):
            child.ask("ask", picture=setup.picture(), labels=FIVE)
        moments["after two requests"], moments["and the models' process"] = _memory(child)
        time.sleep(IDLE_S + 3)
        moments[_AFTER], moments[_AFTER_MODELS] = _memory(child)
    return moments


def _memory(child: Child) -> tuple[float, float | None]:
    """Read the memory of the calling process and of those that it has started."""
    caller, *models = (rss_mib(pid) * 1024**2 / 1e6 for pid in family(child.popen.pid))
    return caller, sum(models) if models else None


def _megabytes(value: float | None) -> str:
    return "ended" if value is None else f"{value:.0f} MB"


_BEFORE, _AFTER, _AFTER_MODELS = "before the first request", "after unloading", "and the models' process then"
