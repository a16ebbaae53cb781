"""How much of a 12-megapixel photo leaves the machine?"""

import time
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.cloud import Cloud
from benchmarks.contenders import Ours, Vendor
from benchmarks.tables import Table

GOAL_BYTES = 500_000
LABELS = ("person", "car", "tree", "dog")
MODEL_S = 0.4


def measure(bench: Bench) -> Table:
    """Let every contender ask about the photo several times, each time for something else."""
    figures = []
    with Ours(bench.cloud.url) as ours:
        figures.append(_ask(ours, bench.cloud, bench.photo))
    if bench.vendor:
        with bench.vendor.start() as vendor:
            figures.append(_ask(vendor, bench.vendor.cloud, bench.photo))

    table = Table("Upload of a 12-megapixel photo (upload)", ["ours", "vendor"])
    table.add(
        "bytes of the request",
        *(f"{uploaded:,}" for uploaded, _ in figures),
        goal=f"at most {GOAL_BYTES:,}",
        met=figures[0][0] <= GOAL_BYTES,
    )
    table.add(f"the call, {MODEL_S} s of it the model's", *(f"{seconds:.2f} s" for _, seconds in figures))
    table.add("the same on a line of 10 Mbit/s up", *(f"{s + 8 * n / 10e6:.2f} s" for n, s in figures))
    table.remarks.append(
        f"The photo is a file of {bench.photo.stat().st_size:,} bytes; base64 makes it a third longer. Times are "
        f"of the {len(LABELS)}th call; the last row is computed."
    )
    return table


def _ask(server: Ours | Vendor, cloud: Cloud, photo: Path) -> tuple[int, float]:
    """Give the bytes of a request, and the seconds that the last of some calls took."""
    cloud.configure(model_time=MODEL_S)
    server.initialize()
    seconds = 0.0
    for label in LABELS:
        started = time.perf_counter()
        server.detect(photo, (label,))
        seconds = time.perf_counter() - started
    return cloud.stats().upload_bytes // len(LABELS), seconds
