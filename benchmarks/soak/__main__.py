"""`python -m benchmarks.soak`: thousands of mixed calls, then twelve callers at once; 1 if a goal is missed."""

import argparse
import logging
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import anyio

from benchmarks.soak.cloud import faulty_cloud
from benchmarks.soak.crowd import GOAL_MB, TIMEOUT_S, Crowd, crowd
from benchmarks.soak.run import Book, soak
from benchmarks.soak.servers import KEYS, Transport, serving
from benchmarks.tables import Table

GROWTH = 1.1
"""How far memory at the end may be above that of the middle."""
_ENOUGH = 1000  # calls of a transport, from which on the middle is no longer the beginning


def main() -> int:
    """Soak the servers and print what came of it; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--calls", type=int, default=3000, help="calls, of all transports together (3000)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--stdio", action="store_true", help="over stdio only")
    which.add_argument("--http", action="store_true", help="over HTTP only")
    parser.add_argument("--seed", type=int, default=1, help="of the mix and of its pictures (1)")
    parser.add_argument("--no-crowd", action="store_true", help="leave out the twelve callers at once")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end too
    logging.disable(logging.CRITICAL)  # the SDK's client tells of each call that it gives up
    transports: list[Transport] = ["http"] if options.http else ["stdio"] if options.stdio else ["stdio", "http"]
    books, crowds = {}, {}
    with faulty_cloud(KEYS) as cloud, tempfile.TemporaryDirectory(prefix="dinox-mcp-soak-") as folder:
        for transport in transports:
            chance = random.Random(f"{options.seed} {transport}")
            count = options.calls // len(transports)
            run = partial(_run, transport, cloud, Path(folder), count, chance, no_crowd=options.no_crowd)
            books[transport], crowds[transport] = anyio.run(run)
    tables = [_mix(books), _crowd(crowds)] if not options.no_crowd else [_mix(books)]
    print(*tables, sep="\n\n")
    print(f"\n{len(os.sched_getaffinity(0))} cores, load average of the last minute: {os.getloadavg()[0]:.1f}")
    return int(any(": MISSED" in row[-1] for table in tables for row in table.rows))


async def _run(
    transport: Transport, cloud: str, folder: Path, count: int, chance: random.Random, *, no_crowd: bool
) -> tuple[Book, Crowd]:
    async with serving(transport, cloud, folder / "prompts") as server:
        book = await soak(server, count, chance, folder)
    if no_crowd:
        return book, Crowd([], 0, 0)
    async with serving(transport, cloud, folder / "prompts", TIMEOUT_S) as server:
        return book, await crowd(server)


def _mix(books: dict[Transport, Book]) -> Table:
    table = Table("A soak: calls of all kinds (soak)", list(books))
    all_books = list(books.values())

    def count(what: str, name: str, *, goal: bool = False) -> None:
        numbers = [book.counts[name] for book in all_books]
        table.add(what, *map(str, numbers), goal="0" if goal else "", met=not any(numbers) if goal else None)

    table.add("calls", *(f"{book.done}" for book in all_books))
    count("answered", "answered")
    count("honest calls that failed", "failed", goal=True)
    count("answered with something else", "wrong", goal=True)
    count("hostile calls refused", "refused")
    count("hostile calls that found their answer", "taken")
    count("faults of the cloud that were got over", "recovered")
    count("faults of the cloud that the caller was told", "told")
    count("faults of the cloud that nobody was told", "hidden", goal=True)
    count("cancelled in flight", "cancelled")
    count("answered before they were cancelled", "too late")
    count("told to try again later", "busy")
    count("lost", "lost", goal=True)
    count("hung", "hung", goal=True)
    tracebacks = [book.tracebacks for book in all_books]
    table.add("tracebacks on stderr", *map(str, tracebacks), goal="0", met=not any(tracebacks))
    _add_memory(table, all_books)
    table.add("seconds from the last call until the server rests", *(f"{book.rest_s:.0f}" for book in all_books))
    table.add("calls a second", *(f"{book.done / book.took_s:.1f}" for book in all_books))
    for name in sorted({name for book in all_books for name, seconds in book.seconds.items() if len(seconds) > 9}):
        table.add(f"{name}: p50, p95, max", *(_latency(book.seconds[name]) for book in all_books))
    for transport, book in books.items():
        table.remarks += [f"{transport}: {problem}" for problem in book.problems[:20]]
        table.remarks.append(f"Errors over {transport}, by kind:\n{_listed(book.errors)}")
    return table


def _add_memory(table: Table, books: Sequence[Book]) -> None:
    middle = [_window(book, 0.45, 0.55) for book in books]
    end = [_window(book, 0.9, 1.0) for book in books]
    growth = [late / early for early, late in zip(middle, end, strict=True)]
    enough = min(book.done for book in books) >= _ENOUGH
    table.add("memory (RSS) at the start", *(f"{book.start_mib:.0f} MiB" for book in books))
    table.add("in the middle", *(f"{mib:.0f} MiB" for mib in middle))
    table.add("at the end", *(f"{mib:.0f} MiB" for mib in end))
    table.add(
        "end / middle",
        *(f"{part:.2f}" for part in growth),
        goal=f"at most {GROWTH:.2f}",
        met=max(growth) <= GROWTH if enough else None,
    )
    table.add("the most", *(f"{max(mib for _, mib in book.memory):.0f} MiB" for book in books))
    table.add("at rest afterwards", *(f"{book.rest_mib:.0f} MiB" for book in books))
    for book in books:
        curve = [_window(book, part / 10, (part + 1) / 10) for part in range(10)]
        table.remarks.append(f"MiB in each tenth of the calls: {', '.join(f'{mib:.0f}' for mib in curve)}")


def _crowd(crowds: dict[Transport, Crowd]) -> Table:
    table = Table("12 callers at once with the worst pictures (soak)", list(crowds))
    counts = [sum((one.counts for one in whole.rounds), Counter[str]()) for whole in crowds.values()]
    peaks = [max(one.peak_mb for one in whole.rounds) for whole in crowds.values()]
    rounds = [whole.rounds for whole in crowds.values()]
    for same in zip(*rounds, strict=True):
        table.add(f"{same[0].name}: peak, time", *(f"{one.peak_mb:.0f} MB, {one.seconds:.1f} s" for one in same))
    table.add(
        "the most memory (RSS)",
        *(f"{peak:.0f} MB" for peak in peaks),
        goal=f"under {GOAL_MB} MB",
        met=max(peaks) < GOAL_MB,
    )
    table.add("memory before", *(f"{whole.before_mb:.0f} MB" for whole in crowds.values()))
    table.add("memory at rest afterwards", *(f"{whole.after_mb:.0f} MB" for whole in crowds.values()))
    for name in ("answered", "busy", "refused"):
        table.add(name, *(str(one[name]) for one in counts))
    for name in ("lost", "hung"):
        numbers = [one[name] for one in counts]
        table.add(name, *map(str, numbers), goal="0", met=not any(numbers))
    for transport, whole in crowds.items():
        said = sum((one.said for one in whole.rounds), Counter[str]())
        table.remarks.append(f"Errors over {transport}:\n{_listed(said)}")
    return table


def _window(book: Book, first: float, last: float) -> float:
    """Give the median memory of a part of the calls."""
    inside = [mib for done, mib in book.memory if first * book.done <= done <= last * book.done]
    return median(inside or [book.start_mib])


def _latency(seconds: Sequence[float]) -> str:
    if len(seconds) < 2:
        return "-"
    late = quantiles(seconds, n=20, method="inclusive")[18]
    return f"{median(seconds):.2f}, {late:.2f}, {max(seconds):.2f} s ({len(seconds)})"


def _listed(counter: Counter[str]) -> str:
    return "\n".join(f"- {number} x {what}" for what, number in counter.most_common(40))


if __name__ == "__main__":
    sys.exit(main())
