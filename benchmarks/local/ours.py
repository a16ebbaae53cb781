"""The local backend, used as the server uses it. Run as a process of its own."""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, cast

from benchmarks.local.child import serve
from dinox_mcp.backends.base import Call
from dinox_mcp.backends.local import create
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest

if TYPE_CHECKING:
    from dinox_mcp.backends.local.backend import LocalBackend

Labels = list[str] | None


class Ours:
    """One backend, whose models are unloaded after `idle_s` without requests."""

    def __init__(self, folder: str, min_score: float, device: str, idle_s: float, process: str) -> None:
        options = {"model": folder, "device": device, "idle_unload_s": idle_s, "model_process": process}
        self._backend = cast("LocalBackend", create(Settings.load(**options)))
        self._min_score = min_score

    async def ask(self, picture: str, labels: Labels, client: str = "") -> tuple[float, int]:
        """Make a request: seconds from the picture's file to its boxes, and how many."""
        started = time.perf_counter()
        image = Picture.from_bytes(await asyncio.to_thread(Path(picture).read_bytes))
        request = DetectionRequest(prompts=None if labels is None else tuple(labels), min_score=self._min_score)
        found = await self._backend.detect(image, request, Call(client=client))
        return time.perf_counter() - started, len(found.objects)

    async def load(self) -> None:
        """Load the model."""
        await self._backend.load()

    async def cancel(self, picture: str, labels: list[str], after_s: float) -> float | None:
        """Cancel a request: seconds until the model takes up another's work, or None if the answer came before."""
        request = asyncio.create_task(self.ask(picture, labels, "impatient"))
        await asyncio.sleep(after_s)
        if request.done():
            return None
        started = time.perf_counter()
        request.cancel()
        await self._backend.load()
        return time.perf_counter() - started

    async def one_client(self, pictures: list[str], labels: list[str]) -> float:
        """Ask about one picture after the other; the seconds for all."""
        started = time.perf_counter()
        for picture in pictures:
            await self.ask(picture, labels)
        return time.perf_counter() - started

    async def clients(self, pictures: list[str], labels: list[str]) -> float:
        """Have as many clients as pictures ask at once; the seconds for all."""
        started = time.perf_counter()
        await asyncio.gather(*(self.ask(picture, labels, picture) for picture in pictures))
        return time.perf_counter() - started


def main(folder: str, min_score: str, device: str, idle_s: str, process: str) -> None:
    """Answer requests in one event loop, which runs between them too: it ends the models' process when that is idle."""
    ours = Ours(folder, float(min_score), device, float(idle_s), process)
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, daemon=True).start()

    def waiting(work: Callable[..., Coroutine[Any, Any, object]]) -> Callable[..., object]:
        return lambda **arguments: asyncio.run_coroutine_threadsafe(work(**arguments), loop).result()

    asked = {work.__name__: waiting(work) for work in (ours.ask, ours.load, ours.cancel, ours.one_client, ours.clients)}
    serve({**asked, "ready": lambda: None})


if __name__ == "__main__":
    main(*sys.argv[1:])
