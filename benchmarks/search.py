"""What does searching a folder take beyond the model itself, in time and memory?

`python -m benchmarks.search --data FOLDER` makes photographs of 2 megapixels from those in FOLDER, in a temporary
folder. Each round detects in some of them in a bare loop of the model, and searches the same ones as a job. Time of the
processor is counted beside time of the clock, as others may use the machine at the same time. Not in CI.
"""

import argparse
import io
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import anyio
from PIL import Image

from benchmarks.harness import rss_mib, status_mib
from benchmarks.tables import Table
from dinox_mcp.backends.base import Backend, Call
from dinox_mcp.backends.embedded import create
from dinox_mcp.detect.routing import Router
from dinox_mcp.detector import Detector
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest
from tests.fakes import FakeBackend

SIZE = (1632, 1224)
ROUND = 25
GOAL = 1.10
PROMPTS = ("person", "dog", "car")


class Cost(NamedTuple):
    """Seconds of an image by the clock and of the processor."""

    clock: float
    cpu: float


def make_photos(data: Path, folder: Path, number: int) -> list[Path]:
    """Write photographs of 2 megapixels, no two with the same bytes, into a folder for each round."""
    originals = [path for path in sorted(data.rglob("*")) if path.suffix.lower() in {".jpg", ".jpeg", ".png"}]
    if not originals:
        sys.exit(f"there is no photograph in {data}; name a folder with some")
    rounds = []
    for place in range(number):
        with Image.open(originals[place % len(originals)]) as image:
            photo = image.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
        photo.putpixel((place % SIZE[0], 0), (place % 256, place // 256, 0))
        path = folder / f"{place // ROUND:03}" / f"{place:05}.jpg"
        path.parent.mkdir(exist_ok=True)
        if path.parent not in rounds:
            rounds.append(path.parent)
        buffer = io.BytesIO()
        photo.save(buffer, "JPEG", quality=88)
        path.write_bytes(buffer.getvalue())
    return rounds


async def measure(rounds: Sequence[Path], jobs: Path) -> Table:
    """Detect in the images of each round in a loop and as a job, in turn."""
    alone: list[Cost] = []
    job: list[Cost] = []
    core: list[Cost] = []
    memory: list[float] = []
    settings = Settings(backend="embedded", jobs_folder=jobs, cache_ttl_s=0)
    fake = FakeBackend()
    async with (
        Detector(settings) as detector,
        Detector(Settings(backend="fake", jobs_folder=jobs), [fake]) as nothing,
    ):
        request = Router(detector.backends).plan(DetectionRequest(prompts=PROMPTS)).request
        backend = create(settings)

        async def loop(folder: Path) -> None:
            await bare_loop(backend, request, folder)

        async def search(folder: Path) -> None:
            await detector.search(str(folder), PROMPTS)

        async def search_nothing(folder: Path) -> None:
            await nothing.search(str(folder), PROMPTS)

        await loop(rounds[0])  # loads the model
        await detector.detect(str(files_of(rounds[0])[0]), PROMPTS)
        memory.append(rss_mib(os.getpid()))
        for place, folder in enumerate(rounds):
            pair = [(alone, loop), (job, search)]
            for costs, work in pair if place % 2 else pair[::-1]:
                costs.append(await cost_of(work, folder))
            core.append(await cost_of(search_nothing, folder))
            fake.asked.clear()  # it keeps the images of its requests
            memory.append(rss_mib(os.getpid()))
        await backend.aclose()
    return _table(alone, job, core, memory, sum(len(files_of(folder)) for folder in rounds))


def files_of(folder: Path) -> list[Path]:
    """List the images of a folder in order."""
    return sorted(folder.iterdir())


async def bare_loop(backend: Backend, request: DetectionRequest, folder: Path) -> None:
    """Detect in each image of a folder by the model alone, one after another."""
    for path in files_of(folder):
        await backend.detect(Picture.from_bytes(path.read_bytes(), path.name), request, Call())


async def cost_of(work: Callable[[Path], Awaitable[object]], folder: Path) -> Cost:
    """Measure what work on a folder of images takes for each of them."""
    number = len(files_of(folder))
    clock, cpu = time.perf_counter(), time.process_time()
    await work(folder)
    return Cost((time.perf_counter() - clock) / number, (time.process_time() - cpu) / number)


def _table(
    alone: Sequence[Cost], job: Sequence[Cost], core: Sequence[Cost], memory: Sequence[float], number: int
) -> Table:
    table = Table("A folder of photographs of 2 MP (search)", ["model alone", "as a job", "job without a model"])
    clock = median(one.clock / other.clock for one, other in zip(job, alone, strict=True))
    cpu = median(one.cpu / other.cpu for one, other in zip(job, alone, strict=True))
    columns = (alone, job, core)
    table.add(
        "seconds an image, by the clock",
        *(f"{median(one.clock for one in costs):.4f}" for costs in columns),
        goal=f"at most {GOAL:g} x the model (now {clock:.3f})",
        met=clock <= GOAL,
    )
    table.add(
        "seconds an image, of the processor",
        *(f"{median(one.cpu for one in costs):.4f}" for costs in columns),
        goal=f"the same (now {cpu:.3f})",
        met=cpu <= GOAL,
    )
    level = memory[-1] / memory[len(memory) // 2]
    table.add(
        "memory, MiB",
        "",
        f"{memory[-1]:.0f}",
        "",
        goal=f"at the end at most {GOAL:g} x that of the middle (now {level:.2f})",
        met=level <= GOAL,
    )
    shown = ", ".join(f"{one:.0f}" for one in memory)
    table.remarks.append(
        f"{number} photographs in rounds of {ROUND}, embedded backend, medians of the rounds; load average "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores. Memory before and after each round: {shown} MiB; most: "
        f"{status_mib(os.getpid(), 'VmHWM'):.0f} MiB."
    )
    return table


def main() -> None:
    """Read the arguments, measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of photographs, which are only read")
    parser.add_argument("--images", type=int, default=1000, help="photographs to make of them (1000)")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        photos, jobs = Path(folder) / "photos", Path(folder) / "jobs"
        photos.mkdir()
        rounds = make_photos(options.data, photos, options.images)
        print(anyio.run(measure, rounds, jobs))


if __name__ == "__main__":
    main()
