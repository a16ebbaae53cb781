"""Does the embedded backend find what looks like an example, and how long does it take? It has no peer."""

import asyncio
import time
from statistics import median
from typing import NamedTuple

from benchmarks.bench import Bench
from benchmarks.pictures import PHOTO_SIZE
from benchmarks.tables import Table
from dinox_mcp.backends.base import Backend, Call
from dinox_mcp.backends.registry import Backends
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import iou
from dinox_mcp.types.detection import DetectionRequest, Example
from tests.backends.embedded.planted import KINDS, encode, planted

COPIES = 20
SIZE = (1600, 1200)
LARGE = {"icon, 20 pixels": ("icon", 20), "icon, 40 pixels": ("icon", 40), "screw, 160 pixels": ("screw", 160)}


class _Run(NamedTuple):
    found: int
    false: int
    least_score: float
    least_iou: float
    wall_s: float
    cpu_s: float


def measure(bench: Bench) -> Table:
    """Ask the backend itself for planted copies."""
    return asyncio.run(_measure(bench.times(5, 2)))


async def _measure(seeds: int) -> Table:
    columns = ("found", "false hits a picture", "lowest score", "lowest IoU", "time", "CPU time per megapixel")
    table = Table("Does the embedded backend find what looks like an example? (templates)", columns)
    backends = Backends(Settings(backend="embedded"))
    backend = backends.get("embedded")
    await _ask(backend, "logo", 0, (400, 400), None, 1)
    for kind in KINDS:
        runs = [await _ask(backend, kind, seed, SIZE, None, COPIES) for seed in range(seeds)]
        _add(table, kind, runs, SIZE)
    for what, (kind, side) in LARGE.items():
        runs = [await _ask(backend, kind, seed, PHOTO_SIZE, side, COPIES) for seed in range(min(2, seeds))]
        _add(table, f"{what}, in {PHOTO_SIZE[0]}x{PHOTO_SIZE[1]}", runs, PHOTO_SIZE)
    await backends.aclose()
    table.remarks.append(
        f"{COPIES} copies in clutter of {SIZE[0]}x{SIZE[1]} pixels, scaled by 0.7 to 1.4, turned by up to 15 degrees, "
        f"15% lighter or darker, with noise, as JPEG; {seeds} seeds a kind. The first copy is the example. Found means "
        "an IoU above 0.5. Times are medians of the whole call, decoding a PNG included."
    )
    return table


def _add(table: Table, what: str, runs: list[_Run], size: tuple[int, int]) -> None:
    false = [run.false for run in runs]
    table.add(
        what,
        f"{sum(run.found for run in runs)} of {COPIES * len(runs)}",
        f"{sum(false) / len(runs):.1f}, at most {max(false)}",
        f"{min(run.least_score for run in runs):.2f}",
        f"{min(run.least_iou for run in runs):.2f}",
        f"{median(run.wall_s for run in runs):.1f} s",
        f"{median(run.cpu_s for run in runs) / (size[0] * size[1] / 1e6):.2f} s",
        goal="all, at most 1",
        met=all(run.found == COPIES and run.false <= 1 for run in runs),
    )


async def _ask(backend: Backend, kind: str, seed: int, size: tuple[int, int], side: int | None, copies: int) -> _Run:
    scene, truth = planted(kind, seed, size, copies=copies, side=side)
    left, top, right, bottom = (float(round(edge)) for edge in truth[0])
    picture = encode(scene)
    request = DetectionRequest(examples=(Example(label=kind, bbox=(left, top, right, bottom)),))
    started, worked = time.perf_counter(), time.process_time()
    found = await backend.detect(picture, request, Call())
    wall, cpu = time.perf_counter() - started, time.process_time() - worked
    hits: dict[int, tuple[float, float]] = {}
    for thing in found.objects:
        overlap, place = max((iou(box, thing.bbox), place) for place, box in enumerate(truth))
        if overlap > 0.5 and place not in hits:
            hits[place] = overlap, thing.score or 0.0
    overlaps, scores = zip(*hits.values(), strict=True)
    return _Run(len(hits), len(found.objects) - len(hits), min(scores), min(overlaps), wall, cpu)
