"""How soon is the model free again when a request is cancelled?"""

import math
from statistics import median

from benchmarks.local.labels import FIVE
from benchmarks.local.setup import Setup, seconds
from benchmarks.tables import Table

GOAL_S = 0.3
MOMENTS = (0.2, 0.5, 0.8)


def measure(setup: Setup) -> Table:
    """Cancel at several moments of a request, and see when another piece of work is done."""
    table = Table("A request is cancelled: until the model is free (cancel)", ["a whole request", "median", "slowest"])
    for name in ("owlv2", "grounding-dino"):
        checkpoint = setup.checkpoint(name)
        with setup.ours(checkpoint) as child:
            child.ask("ask", picture=setup.picture(), labels=FIVE)
            whole, _ = child.ask("ask", picture=setup.picture(), labels=FIVE)
            times = [
                child.ask("cancel", picture=setup.picture(), labels=FIVE, after_s=whole * moment)
                for moment in MOMENTS
                for _ in range(setup.rounds)
            ]
        freed = [took for took in times if took is not None] or [math.nan]
        table.add(
            checkpoint.title,
            seconds(whole),
            seconds(median(freed)),
            seconds(max(freed)),
            goal=f"within {GOAL_S:g} s",
            met=max(freed) <= GOAL_S,
        )
    moments = ", ".join(f"{moment:.0%}" for moment in MOMENTS)
    table.remarks.append(f"Cancelled after {moments} of a request's time, {setup.rounds} times each.")
    return table
