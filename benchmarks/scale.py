"""What do workers on Ray, and replicas behind Ray Serve, take beyond the model itself?

`python -m benchmarks.scale --data FOLDER` makes photographs of 2 megapixels from those in FOLDER, and detects in them
in a bare loop of the embedded model, as a batch in one process, and as a batch of two workers on a local Ray, in turn.
Then it calls one server, and two replicas of it behind Ray Serve that share a folder. It needs the extra `ray`: run it
with .venv/ray/bin/python, which `make test-ray` makes. Time of the processor is counted beside time of the clock, as
others may use the machine at the same time. Not in CI.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from benchmarks.harness import clean_environment
from benchmarks.search import PROMPTS, Cost, bare_loop, cost_of, files_of, make_photos
from benchmarks.tables import Table
from dinox_mcp.backends.embedded import create
from dinox_mcp.batch.cluster import join
from dinox_mcp.detect.routing import Router
from dinox_mcp.detector import Detector
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest
from tests.fakes import png

GOAL_SHARE = 0.85
WORKERS = 2
ROUNDS, SHARD = 4, 10
TICKS = os.sysconf("SC_CLK_TCK")
SERVE = """
import sys
from dinox_mcp.batch.cluster import join
from dinox_mcp.server.replicas import app
join(namespace="serve")
from ray import serve
serve.start(http_options={"port": int(sys.argv[1])})
serve.run(app({"replicas": "2", "cpus": "0.5"}))
sys.stdin.read()
serve.shutdown()
"""


def main() -> None:
    """Read the arguments, measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of photographs, which are only read")
    parser.add_argument("--images", type=int, default=600, help="images in all (600)")
    parser.add_argument("--calls", type=int, default=200, help="calls of each client to the servers (200)")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "photos").mkdir()
        print(anyio.run(batches, _rounds(options.data, here / "photos", options.images), here / "runs"))
        if options.calls:
            print(servers(here, options.calls))


def _rounds(data: Path, folder: Path, number: int) -> list[Path]:
    """Make photographs, in a folder for each round."""
    made = sorted(path for one in make_photos(data, folder, number) for path in one.iterdir())
    each = len(made) // ROUNDS
    for place, path in enumerate(made[: each * ROUNDS]):
        into = folder / f"round {place // each}"
        into.mkdir(exist_ok=True)
        path.rename(into / path.name)
    return sorted(folder.glob("round *"))


async def batches(rounds: Sequence[Path], runs: Path) -> Table:
    """Detect in the images of each round in a loop, as a batch in this process, and on Ray, in turn."""
    began = time.perf_counter()
    ray = join(log_to_driver=False)
    started = time.perf_counter() - began
    settings = Settings(backend="embedded", cache_ttl_s=0)
    backend = create(settings)
    loops: list[Cost] = []
    locals_: list[Cost] = []
    rays: list[Cost] = []
    firsts: list[float] = []
    async with Detector(settings) as detector:
        request = Router(detector.backends).plan(DetectionRequest(prompts=PROMPTS)).request

        async def local(folder: Path) -> None:
            await detector.batch(str(folder), runs / f"local {folder.name}", PROMPTS, shard_size=SHARD)

        loop = partial(bare_loop, backend, request)
        await loop(rounds[0])  # loads the models
        for place, folder in enumerate(rounds):
            loops.append(await cost_of(loop, folder))
            locals_.append(await cost_of(local, folder))
            heard = _Heard()
            await detector.batch(
                str(folder),
                runs / f"ray {place}",
                PROMPTS,
                engine="ray",
                workers=WORKERS,
                shard_size=SHARD,
                progress=heard,
            )
            firsts.append(heard.first_s)
            rays.append(heard.cost(len(files_of(folder))))
    await backend.aclose()
    ray.shutdown()
    number = len(files_of(rounds[0]))
    table = Table(
        f"A batch of photographs of 2 MP, two workers on {os.cpu_count()} cores", ["bare loop", "local", "ray"]
    )
    all_costs = (loops, locals_, rays)
    table.add("images a second", *(f"{1 / median(one.clock for one in own):.2f}" for own in all_costs))
    cpus = [median(one.cpu for one in own) for own in all_costs]
    table.add("ms an image of the processor", *(f"{cpu * 1000:.0f}" for cpu in cpus))
    shares = [median(a.clock / b.clock for a, b in zip(loops, own, strict=True)) for own in all_costs]
    table.add(
        "of the loop's pace, by the clock",
        *(f"{share:.2f}" for share in shares),
        goal=f"ray at least {GOAL_SHARE:g}",
        met=shares[-1] >= GOAL_SHARE,
    )
    table.add("of the loop's pace, by the processor", *(f"{cpus[0] / cpu:.2f}" for cpu in cpus))
    table.remarks.append(
        f"{len(rounds)} rounds of {number} photographs, medians. Ray takes {started:.1f} s to start, and its workers "
        f"{median(firsts):.1f} s to their first image, which is not counted. Load average {os.getloadavg()[0]:.1f}: "
        "others use this machine."
    )
    return table


class _Heard:
    """Hears the progress of a batch, and what the images between the first and the last report took."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.first_s = 0.0
        self._reports: list[tuple[float, float, float]] = []

    async def __call__(self, share: float, _message: str) -> None:
        """Take the first report and the last one, when the workers are still there: summing up takes time itself."""
        if share and (not self._reports or share >= 1):
            self._reports.append((share, time.perf_counter(), _processor()))
            self.first_s = self.first_s or time.perf_counter() - self._began

    def cost(self, images: int) -> Cost:
        """Give the seconds of each of so many images at the pace between the two reports."""
        (share, clock, cpu), (end, clock_end, cpu_end) = self._reports[0], self._reports[-1]
        between = (end - share) * images
        return Cost((clock_end - clock) / between, (cpu_end - cpu) / between)


def servers(folder: Path, calls: int) -> Table:
    """Call one server, and two replicas behind Ray Serve, with one client and with eight."""
    table = Table("A call of detect_objects, the same image each time", ["ms, one client", "calls a second, eight"])
    for name, start in (("one server", _server), ("two replicas on Ray Serve", _replicas)):
        with start(folder) as root:
            table.add(name, *anyio.run(_call, root, calls))
    table.remarks.append(
        f"{calls} calls of each client to the embedded backend, which answers the same request from its cache; load "
        f"average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, which the clients share."
    )
    return table


async def _call(root: str, calls: int) -> tuple[str, str]:
    async with httpx2.AsyncClient(timeout=120) as http:
        image = (await http.post(f"{root}/images", content=png(200, 200))).json()["image"]
        arguments = {"image": image, "prompts": "QR code"}
        async with Client(streamable_http_client(f"{root}/mcp", http_client=http)) as client:
            for _ in range(20):  # each replica loads its model
                await client.call_tool("detect_objects", arguments)
            took = []
            for _ in range(calls):
                began = time.perf_counter()
                await client.call_tool("detect_objects", arguments)
                took.append(time.perf_counter() - began)

            async def many() -> None:
                for _ in range(calls):
                    reply = await client.call_tool("detect_objects", arguments)
                    assert not reply.is_error, reply

            began = time.perf_counter()
            async with anyio.create_task_group() as group:
                for _ in range(8):
                    group.start_soon(many)
            rate = 8 * calls / (time.perf_counter() - began)
    return f"{median(took) * 1000:.0f}", f"{rate:.0f}"


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    yield from _process(
        folder, 8711, [sys.executable, "-m", "dinox_mcp", "serve", "--transport", "http", "--port", "8711"]
    )


@contextmanager
def _replicas(folder: Path) -> Iterator[str]:
    yield from _process(folder, 8712, [sys.executable, "-c", SERVE, "8712"])


def _process(folder: Path, port: int, command: list[str]) -> Iterator[str]:
    """Start a server without a token on this machine, and wait until it answers."""
    environment = clean_environment() | {
        "DINOX_MCP_BACKEND": "embedded",
        "DINOX_MCP_NO_AUTH": "true",
        "DINOX_MCP_STORE": str(folder / "store"),
    }
    root = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        while process.poll() is None:
            try:
                httpx2.get(f"{root}/health").raise_for_status()
                break
            except httpx2.HTTPError:
                time.sleep(0.2)
        yield root
        process.stdin.close()
        if "-c" in command:
            process.wait(60)
        process.terminate()


def _processor() -> float:
    """Sum up the processor's seconds of this process and of all below it, Ray's own ones included."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        number = int(path.parent.name)
        parents[number] = int(fields[1])
        used[number] = sum(map(int, fields[11:15])) / TICKS
    mine = {os.getpid()}
    while more := {one for one, parent in parents.items() if parent in mine} - mine:
        mine |= more
    return sum(used.get(one, 0.0) for one in mine)


if __name__ == "__main__":
    main()
