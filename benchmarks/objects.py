"""How long does it take to find objects of 80 kinds on this machine, beside OpenCV's DNN, and how much memory?"""

import os
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import NamedTuple

from PIL import Image

from benchmarks import pictures
from benchmarks.bench import Bench, milliseconds
from benchmarks.contenders import Ours
from benchmarks.harness import Process, rss_mib
from benchmarks.tables import Table
from dinox_mcp.types.boxes import iou

QUICK, THOROUGH = (608,), (416, 608)
GOAL_MS, GOAL_FIRST_MS = 60, 600
PHOTO = Path(__file__).parents[1] / "tests" / "pictures" / "astronaut.jpg"
Found = tuple[str, tuple[float, ...], float]
CONTENDERS = ("ours", "opencv")
_LEAST_MIB = 5  # less is not what a model takes
_PATIENCE_S = 10


class Memory(NamedTuple):
    """What the server holds in MiB, and the seconds of its first call."""

    idle: float
    used: float
    bodies: float
    unloaded: float
    first_s: float


class Took(NamedTuple):
    """Seconds of several runs, and what of them the network took."""

    seconds: list[float]
    network: list[float]


def measure(bench: Bench) -> Table:
    """Ask both in turn on one core and on all, then the whole product in new processes."""
    picture = _photo(bench.folder / "objects.jpg")
    table = Table("Objects of 80 kinds (objects)", ["ours", "OpenCV DNN"])
    rounds = bench.times(30, 3)
    cores = _cores()
    for number, widths in ((1, QUICK), (1, THOROUGH), *([(len(cores), QUICK)] if len(cores) > 1 else [])):
        contenders, different = _compare(picture, widths, rounds, cores[:number])
        name = f"{'+'.join(map(str, widths))} pixels, {number} core{'s' if number > 1 else ''}"
        has_goal = number == 1 and widths == QUICK
        table.add(
            name,
            *(milliseconds(one.seconds) for one in contenders),
            goal=f"about {GOAL_MS} ms" if has_goal else "",
            met=min(contenders[0].seconds) <= 1.1 * GOAL_MS / 1000 if has_goal else None,
        )
        table.add("the fastest", *(_fastest(one.seconds) for one in contenders))
        table.add("the network alone", *(milliseconds(one.network) for one in contenders))
        if different:
            table.remarks.append(f"THE CONTENDERS DIFFER at {name}: {different}.")
    first = _first(picture, bench.times(9, 2))
    table.add(
        "the first call", milliseconds(first), goal=f"{GOAL_FIRST_MS} ms", met=median(first) < GOAL_FIRST_MS / 1000
    )
    table.add("the fastest", _fastest(first))
    _add_memory(table, [_memory(picture) for _ in range(bench.times(3, 1))])
    table.remarks.append(
        f"Medians of {rounds} in turn, of a photograph of 4:3, decoded before: scaling, network and boxes. The goal of "
        "a call is for a quiet core, so that the fastest counts. OpenCV runs the same weights. The first call is a "
        "program's: from the question to the answer, with imports and the network's load, "
        f"{'with' if find_spec('torch') else 'without'} the extra `local`. Memory is the server's RSS."
    )
    return table


def _photo(path: Path) -> Path:
    """Write a photograph of 4:3, as cameras make them; where there is none, a made-up one."""
    if not PHOTO.exists():
        return pictures.write(pictures.photo((640, 480)), path)
    with Image.open(PHOTO) as photo:
        return pictures.write(photo.convert("RGB").crop((0, 0, photo.width, photo.width * 3 // 4)), path)


def _compare(picture: Path, widths: Sequence[int], rounds: int, cores: Sequence[int]) -> tuple[list[Took], str]:
    """Time both contenders in turn on the same cores, and say where they find other things."""
    times = {name: Took([], []) for name in CONTENDERS}
    found: dict[str, list[Found]] = {}
    with ExitStack() as stack:
        children = {name: stack.enter_context(_start(name, picture, cores)) for name in CONTENDERS}
        for turn in range(rounds + 2):
            for name in CONTENDERS if turn % 2 else reversed(CONTENDERS):
                children[name].say(widths)
                answer = children[name].hear()
                found[name] = answer["found"]
                if turn > 1:  # the first ones warm up
                    times[name].seconds.append(answer["seconds"])
                    times[name].network.append(answer["network"])
    return list(times.values()), _difference(*(found[name] for name in CONTENDERS))


def _first(picture: Path, rounds: int) -> list[float]:
    """Ask the product in new processes, on all cores."""
    seconds = []
    for turn in range(rounds + 1):
        with _start("first", picture, _cores()) as child:
            answer = child.hear()
            if turn:  # the first one warms the files' cache
                seconds.append(answer["seconds"])
    return seconds


def _difference(ours: Sequence[Found], theirs: Sequence[Found]) -> str:
    if len(ours) != len(theirs):
        return f"{len(ours)} and {len(theirs)} objects"
    pairs = [(one, other) for one, other in zip(ours, theirs, strict=True)]
    off = [one for one, other in pairs if one[0] != other[0] or iou(one[1], other[1]) < 0.99]
    return f"{off[0]}" if off else ""


def _start(contender: str, picture: Path, cores: Sequence[int]) -> Process:
    """Start a contender that may run on these cores only."""
    before = set(_cores())
    _pin(cores)
    try:
        return Process(
            [sys.executable, "-m", "benchmarks.finder", contender, str(picture)],
            {"PYTHONPATH": str(Path(__file__).parents[1])},
        )
    finally:
        _pin(before)


def _pin(cores: Iterable[int]) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _cores() -> list[int]:
    """Number the cores that this process may use, the last first: the first is often the busiest."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return sorted(usable, reverse=True)


def _add_memory(table: Table, samples: Sequence[Memory]) -> None:
    table.add("the server's first call", milliseconds([one.first_s for one in samples]))
    for what, name in (
        ("memory before the first call", "idle"),
        ("after it", "used"),
        ("after poses, faces and hands too", "bodies"),
        ("after the models have left", "unloaded"),
    ):
        table.add(what, f"{median(getattr(one, name) for one in samples):.0f} MiB")


def _memory(picture: Path) -> Memory:
    """Follow the memory of a server through its first calls, and until the models have left."""
    with Ours(DINOX_MCP_BACKEND="embedded", DINOX_MCP_IDLE_UNLOAD_S="1") as server:
        server.initialize()
        server.ask("tools/list")
        pid = server.popen.pid
        idle = rss_mib(pid)
        started = time.perf_counter()
        server.detect(picture, ["person"])
        first_s = time.perf_counter() - started
        used = rss_mib(pid)
        server.call("detect_objects", image=str(picture), prompts=["person", "face", "hand"], include=["pose", "hands"])
        bodies = rss_mib(pid)
        return Memory(idle, used, bodies, _after_unloading(pid, bodies), first_s)


def _after_unloading(pid: int, before: float) -> float:
    """Wait until memory falls, and no longer falls."""
    last, until = before, time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        time.sleep(0.5)
        now = rss_mib(pid)
        if now < before - _LEAST_MIB and now == last:
            break
        last = now
    return last


def _fastest(seconds: Sequence[float]) -> str:
    return f"{1000 * min(seconds):.0f} ms"
