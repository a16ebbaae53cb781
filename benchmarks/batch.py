"""What does a batch take beyond the model itself, and what does it repeat when it is killed?

`python -m benchmarks.batch` measures the core with a backend that waits for 20 ms, a run that is killed at half,
and the planning of 200,000 files. With `--data FOLDER` it makes photographs of 2 megapixels from those in FOLDER, and
detects in them in a bare loop of the embedded model and as a batch, in turn. Time of the processor is counted beside
time of the clock, as others may use the machine at the same time. Not in CI.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TypeVar

import anyio
import numpy as np
from PIL import Image

from benchmarks.harness import clean_environment, status_mib
from benchmarks.search import PROMPTS, Cost, bare_loop, cost_of, make_photos
from benchmarks.tables import Table
from dinox_mcp.backends.base import Call
from dinox_mcp.backends.embedded import create
from dinox_mcp.batch import manifest as plans
from dinox_mcp.batch.inputs import list_inputs
from dinox_mcp.batch.parts import stream_rows
from dinox_mcp.detect.routing import Router
from dinox_mcp.detector import Detector
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest, Detections
from tests.fakes import DOG, FakeBackend

T = TypeVar("T")
WAIT_S = 0.02
AT_ONCE = 64
GOAL_S = 0.001
GOAL_SHARE = 0.95
SHARD = 500


@dataclass
class Waiting(FakeBackend):
    """Answers after 20 ms, and writes each answered image into a file, if it has one."""

    log: Path | None = None

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:  # noqa: ARG002 - as a backend has it
        """Wait, and find a dog."""
        await anyio.sleep(WAIT_S)
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{image.source}\n")
        return Detections(model="fake-1", objects=(DOG,))


def main() -> None:
    """Read the arguments, measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder of photographs, which are only read")
    parser.add_argument("--images", type=int, default=2000, help="images of each run (2000)")
    parser.add_argument("--planned", type=int, default=200_000, help="files to plan (200,000)")
    parser.add_argument("--child", nargs=3, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        anyio.run(_waiting_batch, *options.child)
        return
    with TemporaryDirectory() as folder:
        here = Path(folder)
        print(core(here / "core", options.images))
        print(killed(here / "killed", options.images))
        print(planning(here / "planning", options.planned))
        if options.data is not None:
            (here / "photos").mkdir()
            print(anyio.run(model, make_photos(options.data, here / "photos", options.images), here / "runs"))


def core(folder: Path, number: int) -> Table:
    """Measure what the core takes of the clock and of the processor, with a backend that only waits."""
    anyio.run(_waiting_batch, _small_images(folder / "warm", AT_ONCE), folder / "warm" / "run", None)
    photos = _small_images(folder, number)
    clock, cpu = time.perf_counter(), time.process_time()
    anyio.run(_waiting_batch, photos, folder / "run", None)
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    beyond = clock / number - WAIT_S / AT_ONCE
    table = Table("A batch with a backend that waits for 20 ms", ["measured"])
    table.add("images a second", f"{number / clock:.0f}")
    table.add(
        "ms an image beyond the backend",
        f"{beyond * 1000:.2f}",
        goal=f"at most {GOAL_S * 1000:g}",
        met=beyond <= GOAL_S,
    )
    table.add("ms an image of the processor", f"{cpu / number * 1000:.2f}")
    table.add("MiB at most", f"{status_mib(os.getpid(), 'VmHWM'):.0f}")
    table.remarks.append(
        f"{number} JPEG files of 100 x 100, {AT_ONCE} at once, shards of {SHARD}, all modules imported before; load "
        f"average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."
    )
    return table


def killed(folder: Path, number: int) -> Table:
    """Kill a run at half, start it again, and count what was detected in twice."""
    photos, log, run = _small_images(folder, number), folder / "log", folder / "run"
    command = [sys.executable, "-m", "benchmarks.batch", "--child", str(photos), str(run), str(log)]
    log.touch()
    with subprocess.Popen(command, env=clean_environment()) as process:
        while len(log.read_text().splitlines()) < number / 2 and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    subprocess.run(command, check=True, env=clean_environment())
    asked = Counter(log.read_text().splitlines())
    rows = Counter(
        row["source"]
        for shard in range(len(json.loads((run / plans.MANIFEST).read_text())["shards"]))
        for row in stream_rows(run, shard)
    )
    table = Table("A batch whose process is killed at half", ["measured"])
    exact = len(rows) == number and set(rows.values()) == {1}
    table.add(
        "images with exactly one row", str(sum(1 for times in rows.values() if times == 1)), met=exact, goal="all"
    )
    again = sum(times - 1 for times in asked.values())
    table.add("images detected in again", str(again), goal=f"at most a shard ({SHARD})", met=again <= SHARD)
    return table


def planning(folder: Path, number: int) -> Table:
    """Measure how a plan of very many files is made and read again."""
    photos = folder / "photos"
    for place in range(number):
        path = photos / f"{place // 1000:04}" / f"{place:07}.png"
        if not place % 1000:
            path.parent.mkdir(parents=True)
        path.touch()
    before = status_mib(os.getpid(), "VmRSS")
    listed, list_s = _timed(lambda: list_inputs(str(photos), Settings()))
    manifest = plans.open_manifest(folder, {})

    def plan() -> plans.Manifest:
        return plans.extend(folder, manifest, plans.compare(folder, manifest, listed.groups, ()).new, SHARD)

    manifest, plan_s = _timed(plan)
    _, compare_s = _timed(lambda: plans.compare(folder, plans.open_manifest(folder, {}), listed.groups, ()))
    table = Table("Planning a batch", [f"{number:,} files"])
    table.add("seconds to list them", f"{list_s:.2f}")
    table.add("seconds to plan them", f"{plan_s:.2f}")
    table.add("seconds to compare them with the plan", f"{compare_s:.2f}")
    table.add("MiB for all that", f"{status_mib(os.getpid(), 'VmHWM') - before:.0f}")
    table.add("MiB of images.jsonl", f"{(folder / plans.IMAGES).stat().st_size / 2**20:.1f}")
    table.add("KiB of manifest.json", f"{(folder / plans.MANIFEST).stat().st_size / 2**10:.0f}")
    return table


async def model(rounds: Sequence[Path], runs: Path) -> Table:
    """Detect in the images of each round in a loop of the model and as a batch, in turn."""
    alone: list[Cost] = []
    batch: list[Cost] = []
    settings = Settings(backend="embedded", cache_ttl_s=0)
    backend = create(settings)
    async with Detector(settings) as detector:
        request = Router(detector.backends).plan(DetectionRequest(prompts=PROMPTS)).request
        loop = partial(bare_loop, backend, request)
        for place, folder in enumerate([rounds[0], *rounds]):  # the first one loads the models, and does not count
            works = [(alone, loop), (batch, partial(_batch, detector, runs / str(place)))]
            for costs, work in works if place % 2 else works[::-1]:
                cost = await cost_of(work, folder)
                if place:
                    costs.append(cost)
    await backend.aclose()
    table = Table("A batch of photographs of 2 MP with the embedded model", ["bare loop", "batch"])
    for what, name in (("by the clock", "clock"), ("of the processor", "cpu")):
        share = median(getattr(a, name) / getattr(b, name) for a, b in zip(alone, batch, strict=True))
        table.add(
            f"seconds an image, {what}",
            *(f"{median(getattr(one, name) for one in costs):.4f}" for costs in (alone, batch)),
            goal=f"at least {GOAL_SHARE:g} of the loop's pace (now {share:.3f})",
            met=share >= GOAL_SHARE,
        )
    table.remarks.append(
        f"{sum(len(list(folder.iterdir())) for folder in rounds)} photographs in rounds, medians of the rounds and of "
        f"their ratios; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."
    )
    return table


async def _batch(detector: Detector, run: Path, folder: Path) -> None:
    await detector.batch(str(folder), run, PROMPTS)


def _small_images(folder: Path, number: int) -> Path:
    """Make small photographs of noise, no two with the same bytes."""
    photos = folder / "photos"
    photos.mkdir(parents=True)
    noise = np.random.default_rng(1).integers(0, 256, (100, 100, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    for place in range(number):
        (photos / f"{place:06}.jpg").write_bytes(buffer.getvalue()[:-2] + place.to_bytes(4) + b"\xff\xd9")
    return photos


async def _waiting_batch(photos: Path, run: Path, log: Path | None) -> None:
    async with Detector(Settings(backend="fake"), [Waiting(log=log)]) as detector:
        await detector.batch(str(photos), run, "dog", at_once=AT_ONCE, shard_size=SHARD)


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    return work(), time.perf_counter() - began


if __name__ == "__main__":
    main()
