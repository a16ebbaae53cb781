"""What does looking in tiles cost beyond the backend's own time: cutting, one picture a tile, and making one list?"""

import time
from functools import partial
from statistics import median

import anyio

from benchmarks.bench import Bench
from benchmarks.tables import Table
from dinox_mcp.detector import Detector
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Detection
from tests.fakes import FakeBackend

FOUND = 100


def measure(bench: Bench) -> Table:
    """Ask a backend that answers at once, with as many objects a tile as a crowd has."""
    photo = bench.photo.read_bytes()
    table = Table("A 12-megapixel photo in tiles, beyond the backend's own time (tiles)", ["in all", "per tile"])
    for tiles in (1, 2, 3, 4):
        seconds, parts = anyio.run(partial(_ask, photo, tiles, bench.times(5, 2)))
        label = "the picture as a whole only" if tiles == 1 else f"tiles={tiles}: {parts} parts and the whole"
        table.add(label, f"{seconds:.2f} s", f"{seconds / parts:.3f} s" if tiles > 1 else "")
    table.remarks.append(f"Medians; each look finds {FOUND} objects. Tiles are cut without loss (BMP).")
    return table


async def _ask(photo: bytes, tiles: int, rounds: int) -> tuple[float, int]:
    objects = [
        Detection(label="box", bbox=(9.0 * i, 11.0 * i, 9.0 * i + 40, 11.0 * i + 40), score=0.5) for i in range(FOUND)
    ]
    backend = FakeBackend(objects)
    times = []
    for _ in range(rounds):
        backend.asked.clear()
        async with Detector(Settings.load(backend=backend.name), backends=[backend]) as detector:
            start = time.perf_counter()
            await detector.detect(Picture.from_bytes(photo), "box", tiles=tiles, max_objects=1000)
            times.append(time.perf_counter() - start)
    return median(times), max(1, len(backend.asked) - 1)
