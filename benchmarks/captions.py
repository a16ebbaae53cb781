"""What do captions for 50 objects cost: how many more tasks and requests, and how much more time?"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import mean, median

from benchmarks.bench import Bench
from benchmarks.cloud import Cloud, fifty
from benchmarks.contenders import Ours, Vendor
from benchmarks.pictures import different, write
from benchmarks.tables import Table

OBJECTS = 50
LABELS = ("person", "traffic light")
LEARNING = 5
MODEL_S = 0.4


@dataclass
class Calls:
    """What some calls took: seconds, and of the service, tasks, requests and bytes."""

    seconds: list[float] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    uploaded: list[int] = field(default_factory=list)

    def make(self, server: Ours | Vendor, cloud: Cloud, picture: Path, *, captions: bool) -> None:
        """Make one call."""
        before = cloud.stats()
        started = time.perf_counter()
        server.detect(picture, LABELS, captions=captions)
        self.seconds.append(time.perf_counter() - started)
        after = cloud.stats()
        self.tasks.append(after.paid - before.paid)
        self.requests.append(after.requests - before.requests)
        self.uploaded.append(after.upload_bytes - before.upload_bytes)


def measure(bench: Bench) -> Table:
    """Ask without and with captions in turn, each time about another picture."""
    rounds = LEARNING + bench.times(10, 3)
    pictures = different((1280, 720))
    photos = [write(image, bench.folder / f"captions{n}.jpg") for n, image in enumerate(islice(pictures, 2 * rounds))]
    figures = []
    bench.cloud.configure(scene=fifty, model_time=MODEL_S)
    with Ours(bench.cloud.url) as ours:
        figures.append(_ask(ours, bench.cloud, photos))
    if bench.vendor:
        bench.vendor.cloud.configure(scene=fifty, model_time=MODEL_S)
        with bench.vendor.start() as vendor:
            figures.append(_ask(vendor, bench.vendor.cloud, photos))

    table = Table(
        f"Captions for {OBJECTS} objects, {MODEL_S} s of model time for each task (captions)", ["ours", "vendor"]
    )
    tasks = [max(told.tasks) - min(plain.tasks) for plain, told in figures]
    table.add("more tasks paid", *map(str, tasks), goal="1", met=tasks[0] == 1)
    over = [median(told.seconds) - median(plain.seconds) - MODEL_S for plain, told in figures]
    table.add("more time beyond the model's", *(f"{seconds:.3f} s" for seconds in over))
    table.add("the whole call with captions", *(f"{median(told.seconds):.2f} s" for _, told in figures))
    table.add("more requests, polls included", *(f"{mean(t.requests) - mean(p.requests):.1f}" for p, t in figures))
    table.add("more bytes uploaded", *(f"{mean(t.uploaded) - mean(p.uploaded):,.0f}" for p, t in figures))
    table.remarks.append(
        f"Medians and means of {rounds - LEARNING} calls without and as many with captions, in turn, after {LEARNING} "
        "each, from which ours learns; a different picture (1280x720) each time. The service cannot refer to an "
        "earlier upload, so that the picture goes there twice; ours encodes it once."
    )
    return table


def _ask(server: Ours | Vendor, cloud: Cloud, photos: Sequence[Path]) -> tuple[Calls, Calls]:
    """Give the calls without and with captions."""
    server.initialize()
    plain, told = Calls(), Calls()
    for number, photo in enumerate(photos):
        (told if number % 2 else plain).make(server, cloud, photo, captions=bool(number % 2))
    for calls in (plain, told):
        for figures in (calls.seconds, calls.tasks, calls.requests, calls.uploaded):
            del figures[:LEARNING]
    return plain, told
