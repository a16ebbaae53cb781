"""How fast is the viewer with 300 objects, masks and poses included, on a 12-megapixel photo?"""

import gzip
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import anyio
from anyio.from_thread import start_blocking_portal
from PIL import Image

from benchmarks.bench import Bench
from benchmarks.tables import Table
from dinox_mcp.detector import Detector
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.viewer.page import FILE, carry, write_page
from tests.fakes import FakeBackend
from tests.viewer.hosting import EVERYTHING, showing, until
from tests.viewer.panning import pan
from tests.viewer.scenes import crowd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

OBJECTS = 300
FRAME_MS = 1000 / 60
_WORK = "panning: busiest thread's work a frame"
_MARKS = "performance.getEntriesByType('mark').map(({ name, startTime }) => [name, startTime])"
_ACTS = {
    "choose an object in the list": "document.querySelectorAll('#list li')[at].click()",
    "move the score slider": "const slider = document.getElementById('score'); slider.value = 10 + 5 * at; "
    "slider.dispatchEvent(new Event('input'))",
    "switch a label off or on": "document.querySelector('#labels button').click()",
    "switch masks off or on": "document.getElementById('layer-masks').click()",
    "zoom by a step": "document.getElementById(at % 2 ? 'zoom-out' : 'zoom-in').click()",
}
# Our frame is asked for before this one, and so drawn when it comes.
_ACT = "(at) => { const start = performance.now(); ACT; return new Promise((done) => "
_ACT += "requestAnimationFrame(() => done(performance.now() - start))); }"


def measure(bench: Bench) -> Table:
    """Show the same result in a host and from a file."""
    rounds = bench.times(5, 2)
    table = Table(f"The viewer with {OBJECTS} objects on a 12-megapixel photo (viewer)", ["ours"])
    page = FILE.read_bytes()
    size = len(page) / 1000
    table.add("the page", f"{size:.0f} kB", goal="under 300 kB", met=size < 300)
    table.add("compressed", f"{len(gzip.compress(page)) / 1000:.0f} kB")
    with _chromium() as browser:
        if browser is None:
            table.remarks.append("The rest needs Chromium and playwright, one of which is not installed.")
            return table
        for what, values in _in_a_host(browser, bench.photo, rounds).items():
            goal = "60 a second" if what == _WORK else ""
            table.add(what, f"{median(values):.1f} ms", goal=goal, met=median(values) < FRAME_MS if goal else None)
        for what, values in _from_a_file(browser, bench, rounds).items():
            table.add(what, f"{median(values):.0f} ms")
    table.remarks.append(
        f"Medians of {rounds}, in headless Chromium at 1100x800, which paints without a GPU. Acts are from the event "
        "to the frame that shows it, waiting for the frame included; a thread's work is processor time."
    )
    return table


@contextmanager
def _chromium() -> "Iterator[Browser | None]":
    path = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        yield None
        return
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def _in_a_host(browser: "Browser", photo: Path, rounds: int) -> dict[str, list[float]]:
    with Image.open(photo) as image:
        scene = crowd(OBJECTS, *image.size)
    figures: dict[str, list[float]] = {}
    for _ in range(rounds):
        with showing(browser, scene, picture=photo.read_bytes(), include=("masks", "pose")) as shown:
            shown.until("performance.getEntriesByName('dinox:picture').length > 0")
            answered = shown.page.evaluate("window.answered")
            origin = shown.frame.evaluate("performance.timeOrigin")
            for name, at in shown.frame.evaluate(_MARKS):
                what = name.removeprefix("dinox:")
                figures.setdefault(f"in a host: answer to {what} drawn", []).append(origin + at - answered)
            shown.page.wait_for_timeout(1000)
            for what, act in _ACTS.items():
                times = [shown.frame.evaluate(_ACT.replace("ACT", act), at) for at in range(8)]
                figures.setdefault(what, []).append(median(times))
            shown.page.mouse.move(400, 300)
            shown.page.mouse.wheel(0, -200)
            shown.page.wait_for_timeout(500)
            panning = pan(shown)
            figures.setdefault("panning: from frame to frame", []).append(panning.gap)
            figures.setdefault(_WORK, []).append(panning.work)
    return figures


def _from_a_file(browser: "Browser", bench: Bench, rounds: int) -> dict[str, list[float]]:
    target = bench.folder / "page.html"

    async def write() -> float:
        picture = Picture.from_bytes(bench.photo.read_bytes(), bench.photo.name)
        backend = FakeBackend(crowd(OBJECTS, picture.width, picture.height), able=EVERYTHING)
        async with Detector(Settings.load(backend="fake"), backends=[backend]) as detector:
            result = await detector.detect(picture, include=("masks", "pose"), max_objects=1000)
            start = time.perf_counter()
            write_page(target, [await anyio.to_thread.run_sync(carry, detector.result(result.result_id))])
        return 1000 * (time.perf_counter() - start)

    figures: dict[str, list[float]] = {}
    with start_blocking_portal() as portal:
        for _ in range(rounds):
            figures.setdefault("as a file: written", []).append(portal.call(write))
    for _ in range(rounds):
        context = browser.new_context(viewport={"width": 1100, "height": 800})
        tab = context.new_page()
        tab.goto(target.as_uri())
        until(tab, "performance.getEntriesByName('dinox:picture').length > 0")
        for name, at in tab.evaluate(_MARKS):
            figures.setdefault(f"as a file: opened to {name.removeprefix('dinox:')} drawn", []).append(at)
        context.close()
    return figures
