"""How fast does a batch read images from tars and Parquet files, compared with plain files?

`python -m benchmarks.batch_sources` makes 1,000 JPEGs of 2 megapixels in a temporary folder, as files, as a tar, and as
Parquet files with row groups of 100 and of all rows, and reads each in order in four threads, as a batch does. Sources
take turns, each in a process of its own for its memory; the files are in the system's cache. Not in CI.
"""

import io
import os
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from benchmarks.harness import status_mib
from benchmarks.tables import Table
from dinox_mcp.batch.inputs import list_inputs
from dinox_mcp.batch.reader import Reader
from dinox_mcp.batch.sources import Entry
from dinox_mcp.images.files import read_file
from dinox_mcp.settings import Settings

IMAGES, ROUNDS = 1000, 5
SOURCES = {"files": "files", "a tar": "shard.tar", "Parquet, 100 rows a group": "groups.parquet"}
SOURCES |= {"Parquet, one group": "one.parquet"}


def main() -> None:
    """Make the sources, measure each in turn, and print the table; with a source, measure that one."""
    if len(sys.argv) > 1:
        print(*measure(Path(sys.argv[1])))
        return
    with TemporaryDirectory() as folder:
        make(Path(folder))
        figures: dict[str, list[list[float]]] = {name: [] for name in SOURCES}
        for _ in range(ROUNDS):
            for name, source in SOURCES.items():
                command = [sys.executable, "-m", "benchmarks.batch_sources", f"{folder}/{source}"]
                printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                figures[name].append([float(figure) for figure in printed.split()])
    title = "How fast does a batch read images from tars and Parquet files? (`batch_sources`)"
    table = Table(title, ("listed in", "images/s", "processor, ms an image", "peak memory"))
    for name, rounds in figures.items():
        listed, rate, processor, memory = (median(column) for column in zip(*rounds, strict=True))
        table.add(name, f"{listed * 1e3:.0f} ms", f"{rate:,.0f}", f"{processor * 1e3:.2f}", f"{memory:.0f} MiB")
    print(table)


def make(folder: Path) -> None:
    """Write the same images in each way."""
    noise = np.random.default_rng(0).integers(0, 255, (100, 150, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((1632, 1224)).save(buffer, "JPEG", quality=80)
    images = [buffer.getvalue() + number.to_bytes(4) for number in range(IMAGES)]
    (folder / "files").mkdir()
    with tarfile.open(folder / "shard.tar", "w") as tar:
        for number, data in enumerate(images):
            (folder / "files" / f"{number:04}.jpg").write_bytes(data)
            info = tarfile.TarInfo(f"{number:04}.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    parquet.write_table(pa.table({"image": images}), folder / "groups.parquet", row_group_size=100)
    parquet.write_table(pa.table({"image": images}), folder / "one.parquet")


def measure(source: Path) -> tuple[float, float, float, float]:
    """Give seconds to list, images a second, seconds of the processor an image, and the peak of memory in MiB."""
    settings = Settings()
    began = time.perf_counter()
    entries = [entry for group in list_inputs(str(source), settings).groups for entry in group]
    listed = time.perf_counter() - began
    with Reader(settings) as reader, ThreadPoolExecutor(4) as threads:

        def read(entry: Entry) -> int:
            data = reader.read(entry)
            return len(read_file(entry.source, settings)[0] if data is None else data)

        before, processor = time.perf_counter(), time.process_time()
        if not all(threads.map(read, entries)):
            raise RuntimeError("an image has no bytes")
        seconds, used = time.perf_counter() - before, time.process_time() - processor
    return listed, len(entries) / seconds, used / len(entries), status_mib(os.getpid(), "VmHWM")


if __name__ == "__main__":
    main()
