"""How long is a reply of many objects?"""

import json

from benchmarks.bench import Bench
from benchmarks.cloud import LABELS, crowd
from benchmarks.contenders import Ours
from benchmarks.harness import text_of
from benchmarks.tables import Table

GOAL_TEXT = 64
GOAL_DATA = 120


def measure(bench: Bench) -> Table:
    """Ask every contender for the same crowd on a 12-megapixel photo, whose coordinates have four digits."""
    bench.cloud.configure(scene=crowd, model_time=0.0)
    with Ours(bench.cloud.url) as ours:
        ours.initialize()
        reply = ours.detect(bench.photo, LABELS)
    number = len(reply["structuredContent"]["objects"])
    data = len(json.dumps(reply["structuredContent"], separators=(",", ":"), ensure_ascii=False))
    texts = [len(text_of(reply))]
    if bench.vendor:
        bench.vendor.cloud.configure(scene=crowd, model_time=0.0)
        with bench.vendor.start() as vendor:
            vendor.initialize()
            texts.append(len(text_of(vendor.detect(bench.photo, LABELS))))

    table = Table(f"Length of a reply of {number} objects (tokens)", ["ours", "vendor"])
    per_object = [length / number for length in texts]
    table.add(
        "characters of text an object",
        *(f"{length:.1f}" for length in per_object),
        goal=f"at most {GOAL_TEXT}",
        met=per_object[0] <= GOAL_TEXT,
    )
    table.add(
        "characters of structured content an object",
        f"{data / number:.1f}",
        goal=f"at most {GOAL_DATA}",
        met=data / number <= GOAL_DATA,
    )
    table.remarks.append(
        "The whole reply divided by its objects, so with counts, thresholds and links in ours. Structured content as "
        "compact JSON. The vendor's has no scores, no numbers and no structured content."
    )
    return table
