"""How long does a cloud call take beyond the model's own time, and how many polls?"""

import random
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from statistics import mean, median

from benchmarks.bench import Bench
from benchmarks.cloud import Cloud
from benchmarks.contenders import Ours, Vendor
from benchmarks.harness import median_s
from benchmarks.pictures import different, write
from benchmarks.tables import Table

GOAL_S = 0.1
GOAL_POLLS = 4
LEARNING = 5
LABELS = ("person", "traffic light")
MODEL_S = 0.4
JITTER_S = (0.3, 1.2)


class Calls:
    """What some calls took: seconds beyond the model's, and polls."""

    def __init__(self) -> None:
        self.over: list[float] = []
        self.polls: list[int] = []

    def make(self, server: Ours | Vendor, cloud: Cloud, picture: Path, model_s: float) -> None:
        """Make one call that takes the model `model_s`."""
        cloud.set(model_time=model_s)
        before = cloud.stats().polls
        started = time.perf_counter()
        server.detect(picture, LABELS)
        self.over.append(time.perf_counter() - started - model_s)
        self.polls.append(cloud.stats().polls - before)

    def learned(self) -> tuple[list[float], list[int]]:
        """Leave out the calls that taught the server how long they take."""
        return self.over[LEARNING:], self.polls[LEARNING:]


def measure(bench: Bench) -> Table:
    """Call with a steady model, then with one whose time nobody can know."""
    calls = LEARNING + bench.times(15, 4)
    folder = bench.folder
    photos = [write(image, folder / f"call{n}.jpg") for n, image in enumerate(islice(different((1280, 720)), calls))]
    chance = random.Random(5)
    steady = _compare(bench, photos, [MODEL_S] * calls)
    wild = _compare(bench, photos, [chance.uniform(*JITTER_S) for _ in photos])

    table = Table(f"A cloud call, {MODEL_S} s of model time (call)", ["ours", "vendor"])
    _add(table, "beyond the model's time", steady, GOAL_S, GOAL_POLLS)
    table.add("the slowest of these", *(_seconds(max(one.learned()[0])) for one in steady))
    table.add("the very first call", *(_seconds(one.over[0]) for one in steady))
    table.add(f"polls of the first {LEARNING} calls", *(f"{mean(one.polls[:LEARNING]):.1f}" for one in steady))
    low, high = JITTER_S
    _add(table, f"beyond {low} to {high} s of model time, at random", wild, None, None)
    table.add("the same question again", _seconds(_again(bench, photos[0])))
    table.remarks.append(
        f"Medians and means of the {calls - LEARNING} calls after the first {LEARNING}, from which ours learns; a "
        "different picture (1280x720) each time. The vendor's server keeps no answers."
    )
    return table


def _compare(bench: Bench, photos: Sequence[Path], model_times: Iterable[float]) -> list[Calls]:
    """Let all contenders make the same calls in turn."""
    ours, vendors = Calls(), Calls()
    bench.cloud.configure()
    with Ours(bench.cloud.url) as server:
        server.initialize()
        if not bench.vendor:
            for photo, model_s in zip(photos, model_times, strict=True):
                ours.make(server, bench.cloud, photo, model_s)
            return [ours]
        bench.vendor.cloud.configure()
        with bench.vendor.start() as vendor:
            vendor.initialize()
            for photo, model_s in zip(photos, model_times, strict=True):
                ours.make(server, bench.cloud, photo, model_s)
                vendors.make(vendor, bench.vendor.cloud, photo, model_s)
    return [ours, vendors]


def _again(bench: Bench, photo: Path) -> float:
    """Time a question that was answered before."""
    bench.cloud.configure()
    with Ours(bench.cloud.url) as server:
        server.initialize()
        server.detect(photo, LABELS)
        return median_s(lambda: server.detect(photo, LABELS), 5)


def _add(table: Table, what: str, calls: Sequence[Calls], goal_s: float | None, goal_polls: int | None) -> None:
    over, polls = zip(*(one.learned() for one in calls), strict=True)
    table.add(
        what,
        *(_seconds(median(times)) for times in over),
        goal=f"at most {goal_s} s" if goal_s else "",
        met=median(over[0]) <= goal_s if goal_s else None,
    )
    table.add(
        "polls of these calls, mean and most",
        *(f"{mean(numbers):.1f}, {max(numbers)}" for numbers in polls),
        goal=f"at most {goal_polls}" if goal_polls else "",
        met=max(polls[0]) <= goal_polls if goal_polls else None,
    )


def _seconds(value: float) -> str:
    return f"{value:.3f} s"
