"""How long does the embedded backend take for a picture? It has no peer."""

import asyncio
import time
from statistics import median

from benchmarks.bench import Bench
from benchmarks.pictures import PHOTO_SIZE, encode, shelf
from benchmarks.tables import Table
from dinox_mcp.backends.base import Backend, Call
from dinox_mcp.backends.registry import Backends
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest, Detections

SIZES = ((1280, 720), PHOTO_SIZE)
QUESTIONS: dict[str, tuple[str, ...] | None] = {
    "QR codes": ("QR code",),
    "barcodes": ("barcode",),
    "codes of all kinds": ("code",),
    "markers": ("marker",),
    "text": ("text",),
    "everything": None,
}


def measure(bench: Bench) -> Table:
    """Ask the backend itself, so that no answer comes from memory."""
    return asyncio.run(_measure(bench.times(7, 3)))


async def _measure(rounds: int) -> Table:
    pictures = [Picture.from_bytes(encode(shelf(size))) for size in SIZES]
    table = Table("The embedded backend (embedded)", [f"{width}x{height}" for width, height in SIZES])
    backends = Backends(Settings(backend="embedded"))
    backend = backends.get("embedded")
    first, _ = await _time(backend, pictures[0], None)
    for what, prompts in QUESTIONS.items():
        cells = []
        for picture in pictures:
            runs = [await _time(backend, picture, prompts) for _ in range(rounds)]
            found = len(runs[0][1].objects)
            cells.append(f"{1000 * median(seconds for seconds, _ in runs):.0f} ms, {found} found")
        table.add(what, *cells)
    await backends.aclose()
    table.remarks.append(
        f"Medians of {rounds} on a made-up shelf: ten lines of text, a QR code, a marker. The very first question, "
        f"which loads the models, took {first:.1f} s."
    )
    return table


async def _time(backend: Backend, picture: Picture, prompts: tuple[str, ...] | None) -> tuple[float, Detections]:
    started = time.perf_counter()
    found = await backend.detect(picture, DetectionRequest(prompts=prompts), Call())
    return time.perf_counter() - started, found
