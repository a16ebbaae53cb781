"""Backends for the other process, without torch: what they find tells what they were asked."""

import os
import signal
import time
from collections.abc import Sequence

import anyio

from dinox_mcp import errors
from dinox_mcp.backends.base import Call, Capabilities, Followed, Model
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Embedding, Mask, Output

MASK_BYTES = 3_000_000
TOGETHER = 20


class Talker:
    """Does what the first prompt says ("wait", "crash", an error's name, ...); finds the prompts otherwise."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cancelled = 0
        self._running = 0
        self._all = anyio.Event()
        self._models: set[str] = set()

    def models(self) -> list[Model]:
        able = Capabilities(outputs=frozenset({"masks"}))
        return [Model(name, able, loaded=name in self._models) for name in ("balanced", "fast")]

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        self._models.add(request.model or "balanced")
        word = request.prompts[0] if request.prompts else ""
        notes = [f"client {call.client}", f"process {os.getpid()}", f"picture {image.digest} {image.source}"]
        notes += [f"other {name} {other.width}" for name, other in call.pictures.items()]
        await self._act(word, call)
        notes.append(f"cancelled {self._cancelled}")
        notes.append(f"secrets {self._settings.api_key} {os.environ.get('DINOX_API_KEY')}")
        mask = Mask(size=(image.height, image.width), counts="0" * MASK_BYTES) if word == "many" else None
        found = [
            Detection(label=label, bbox=(0, 0, image.width, image.height), mask=mask) for label in request.prompts or ()
        ]
        return Detections(model="talker", objects=tuple(found), notes=tuple(notes))

    async def _act(self, word: str, call: Call) -> None:
        if word == "wait":
            await self._wait(call)
        elif word == "together":
            self._running += 1
            if self._running == TOGETHER:
                self._all.set()
            await self._all.wait()
        elif word == "count":
            for step in range(5):
                await call.progress(step / 5, f"step {step}")
        elif word == "crash":
            await call.progress(0.1, "about to crash")
            os._exit(3)
        elif word == "print":
            print("on stdout")  # noqa: T201 - as libraries do
            os.write(1, b"as C does\n")
        elif word == "break":
            raise RuntimeError("two\nlines")
        elif word.endswith("Error"):
            kind: type[errors.DinoxError] = getattr(errors, word)
            raise kind(f"a {word}; do something")

    async def _wait(self, call: Call) -> None:
        try:
            await call.progress(0.5, f"waiting in {os.getpid()}")
            await anyio.sleep(60)
        except anyio.get_cancelled_exc_class():
            self._cancelled += 1
            raise

    async def describe(
        self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
    ) -> Detections:
        described = (one.model_copy(update={"caption": f"{sorted(include)} for {call.client}"}) for one in objects)
        return Detections(model=f"talker at {image.width}", objects=tuple(described))

    async def follow(self, frames: Sequence[Picture], boxes: Sequence[Box], call: Call) -> Followed:
        mask = Mask(size=(frames[0].height, frames[0].width), counts=call.client)
        return Followed("talker", tuple((mask,) * len(boxes) for _ in frames))

    async def embed(self, image: Picture, request: DetectionRequest, call: Call) -> Embedding:
        return Embedding(backend="local", model=call.client, data=f"{image.digest} {len(request.examples)}")

    async def load(self) -> str:
        self._models.add("balanced")
        return "balanced"

    async def aclose(self) -> None:
        self._models.clear()


def slow(settings: Settings) -> Talker:
    """Take a while to start, as imports do."""
    time.sleep(1.3)
    return Talker(settings)


def killed(settings: Settings) -> Talker:
    """Be killed before the start is over."""
    os.kill(os.getpid(), signal.SIGKILL)
    return Talker(settings)


def broken(_settings: Settings) -> Talker:
    raise RuntimeError("the library does not load")
