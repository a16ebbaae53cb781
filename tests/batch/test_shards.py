"""A run survives its process: killed at any moment, by the system or by an image, it goes on with what is left."""

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.fakes import png

pytestmark = pytest.mark.slow
PROGRAM = """
import os, sys  # what is imported here is there in each attempt
from dataclasses import dataclass
from pathlib import Path

import anyio
import pyarrow.parquet
from anyio._backends import _asyncio
from dinox_mcp.batch import job
from dinox_mcp.detector import Detector
from dinox_mcp.settings import Settings
from tests.fakes import FakeBackend

photos, run, log, most, deadly, attempts = sys.argv[1:]

@dataclass
class Logged(FakeBackend):
    async def detect(self, image, request, call):
        if image.width == int(deadly):
            os._exit(9)
        while len(self.asked) >= int(most):
            await anyio.sleep(60)
        found = await super().detect(image, request, call)
        with open(log, "a") as file:
            file.write(f"{image.width}\\n")
        return found

async def main():
    async with Detector(Settings(backend="fake"), [Logged()]) as detector:
        result = await detector.batch(photos, Path(run), "dog", shard_size=10)
    print(result.total, result.done, result.detected, result.failed)

for _ in range(int(attempts) - 1):
    child = os.fork()
    if not child:
        anyio.run(main)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
anyio.run(main)
"""


def start(folder: Path, *, most: int = 1000, deadly: int = 0, attempts: int = 1) -> "subprocess.Popen[str]":
    """Begin or continue a run that hangs after `most` requests, and dies of an image of the width `deadly`.

    All `attempts` but the last are made in a process of their own, whose status is printed.
    """
    paths = (folder / "photos", folder / "run", folder / "detected")
    program = [sys.executable, "-c", PROGRAM, *map(str, (*paths, most, deadly, attempts))]
    return subprocess.Popen(program, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own program


def finish(folder: Path, **options: int) -> tuple[int, str]:
    """Run to the end; give the status and what was printed."""
    with start(folder, **options) as process:
        printed, _ = process.communicate()
    return process.returncode, printed


def rows(folder: Path) -> dict[int, dict[str, object]]:
    """Read the rows of a run by the number of their image; no image has two."""
    parts = sorted((folder / "run" / "parts").glob("*.parquet"))
    found = [row for part in parts for row in pq.read_table(part).to_pylist()]
    numbers = [int(Path(row["source"]).stem) for row in found]
    assert len(set(numbers)) == len(numbers)
    return dict(zip(numbers, found, strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty images of the widths 100 to 119."""
    (tmp_path / "photos").mkdir()
    for place in range(20):
        (tmp_path / "photos" / f"{place:02}.png").write_bytes(png(100 + place))
    return tmp_path


def test_a_run_that_is_killed_goes_on_and_detects_nothing_twice(folder: Path) -> None:
    def kept() -> tuple[int, int]:
        run = folder / "run"
        lines = sum(path.read_bytes().count(b'"objects":') for path in (run / "journals").glob("*"))
        return len(list((run / "parts").glob("part-*"))), lines

    with start(folder, most=14) as process:
        while kept() != (1, 4):
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()  # while four images are in hand
    assert process.returncode == -signal.SIGKILL
    (journal,) = (folder / "run" / "journals").glob("*")
    with journal.open("ab") as file:
        file.write(b'{"source": "/cut o')  # as if the kill had hit the middle of a line
    assert finish(folder) == (0, "20 20 6 0\n")
    assert list(rows(folder)) == list(range(20))
    detected = (folder / "detected").read_text().split()
    assert sorted(map(int, detected)) == list(range(100, 120))


def test_an_image_that_kills_its_process_each_time_gets_a_row_that_says_so(folder: Path) -> None:
    status, printed = finish(folder, deadly=113, attempts=4)
    *statuses, total, done, _, failed = printed.split()
    assert (statuses, status, total, done, failed) == (["9", "9", "9"], 0, "20", "20", "1")
    found = rows(folder)
    assert list(found) == list(range(20))
    assert {number: row["code"] for number, row in found.items() if row["error"]} == {13: "worker_died"}
    assert "died 2 times with only this image in hand; repair the file, or convert it" in str(found[13]["error"])
    times = Counter((folder / "detected").read_text().split())
    assert len(times) == 19
    assert max(times.values()) <= 2, "one that was answered when another killed the process may not be on the disk yet"
