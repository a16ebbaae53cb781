"""Doubles for tests: a backend that answers what the test says, and pictures made on the spot."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from PIL import Image

from dinox_mcp.backends.base import Call, Capabilities, Model
from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Embedding, Need, Output
from dinox_mcp.types.video import Calls, VideoInfo, VideoResult

DOG = Detection(label="dog", bbox=(10.0, 20.0, 60.0, 80.0), score=0.9)
CAT = Detection(label="cat", bbox=(70.0, 10.0, 95.0, 40.0), score=0.4)
CODE = Detection(label="QR code", bbox=(5.0, 5.0, 25.0, 25.0), text="https://example.com")
VIDEO = VideoResult(
    result_id="abc",
    backend="fake",
    model="fake-1",
    video=VideoInfo(source="clip.mp4", width=64, height=48, duration_s=1, fps=25, frames=25),
    request=DetectionRequest(),
    every_s=0.5,
    tracks=(),
    counts={},
    peaks={},
    timeline=(),
    calls=Calls(planned=2, made=2, memory=0),
)


@dataclass
class FakeBackend:
    """A backend named `fake` that remembers what it was asked."""

    answer: Sequence[Detection] = (DOG, CAT)
    name: str = "fake"
    able: Capabilities = field(default_factory=Capabilities)
    error: Exception | None = None
    notes: tuple[str, ...] = ()
    unsearched: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    PREFERENCE: int = 0  # as a module of a backend has it
    asked: list[tuple[Picture, DetectionRequest, Call]] = field(default_factory=list)
    closed: bool = False

    def capabilities(self, model: str | None = None) -> Capabilities:
        if model not in (None, "fake-1"):
            raise InputError(f"the backend fake has no model {model!r}; choose fake-1")
        return self.able

    def models(self) -> list[Model]:
        return [Model("fake-1", self.able, "a double")]

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        self.asked.append((image, request, call))
        await call.progress(0.5, "thinking")
        if self.error:
            raise self.error
        return Detections(
            model="fake-1",
            objects=tuple(self.answer),
            notes=self.notes,
            unsearched=self.unsearched,
            unknown=self.unknown,
        )

    async def aclose(self) -> None:
        self.closed = True


@dataclass
class DescribingBackend(FakeBackend):
    """A fake that also tells of boxes, in its own words, and makes embeddings of examples."""

    able: Capabilities = field(
        default_factory=lambda: Capabilities(
            answers=frozenset(get_args(Need)), describes=frozenset({"caption", "category", "text"})
        )
    )
    described: list[tuple[Sequence[Detection], frozenset[Output]]] = field(default_factory=list)

    async def describe(
        self,
        image: Picture,  # noqa: ARG002 - it never looks
        objects: Sequence[Detection],
        include: frozenset[Output],
        call: Call,
    ) -> Detections:
        self.described.append((objects, include))
        await call.progress(0.5, "writing")
        more = [one.model_copy(update={name: f"{name} of {one.label}" for name in include}) for one in objects]
        return Detections(model="teller-1", objects=tuple(more))

    async def embed(self, image: Picture, request: DetectionRequest, call: Call) -> Embedding:
        self.asked.append((image, request, call))
        return Embedding(backend=self.name, model="fake-1", data="AAAA")


def png(width: int = 100, height: int = 100, color: str = "white") -> bytes:
    """Encode a picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), color).save(buffer, "PNG")
    return buffer.getvalue()


def picture(width: int = 100, height: int = 100, color: str = "white") -> Picture:
    """Make a loaded picture of one colour."""
    return Picture.from_bytes(png(width, height, color), f"{color}.png")


def detector_with(backend: FakeBackend, folder: Path | None = None, **settings: object) -> Detector:
    """Make a detector that has this backend alone; `folder` is for saved prompts."""
    return Detector(Settings.load(backend=backend.name, prompts_folder=folder, **settings), backends=[backend])


def able(*needs: Need) -> Capabilities:
    """Return capabilities that meet these needs."""
    return Capabilities(answers=frozenset(needs))
