"""Films made on the spot whose truth is known: textured things that move, cross and hide, and a backend for them.

The backend knows by the name of an image which moment it shows. It answers the truth, with errors as the test says.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.base import Call, Capabilities, Model
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections

Pixels = npt.NDArray[np.uint8]
Where = Callable[[float], tuple[float, float]]
SIZE = (640, 360)


@dataclass(frozen=True)
class Thing:
    """An object that moves: its centre over time, its size (width, height), and from when to when it is there."""

    label: str
    where: Where
    size: tuple[int, int] = (60, 60)
    first: float = 0.0
    last: float = 1e9
    hidden: tuple[float, float] = (1.0, 0.0)

    def box(self, time: float) -> Box | None:
        """Give its box, also while it is hidden."""
        if not self.first <= time <= self.last:
            return None
        (x, y), (width, height) = self.where(time), self.size
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2

    def is_seen(self, time: float) -> bool:
        return self.first <= time <= self.last and not self.hidden[0] <= time <= self.hidden[1]


def line(x: float, y: float, speed_x: float, speed_y: float = 0.0) -> Where:
    """Go straight on from a point at time 0, in pixels a second."""
    return lambda time: (x + speed_x * time, y + speed_y * time)


@dataclass
class Scene:
    """Things in front of a background, the later ones nearer."""

    things: Sequence[Thing]
    size: tuple[int, int] = SIZE
    seconds: float = 4.0

    def __post_init__(self) -> None:
        self._back = _texture(self.size, 0, 16, 40)
        self._faces = [_texture(thing.size, index + 1, 8, 110) for index, thing in enumerate(self.things)]

    def draw(self, time: float) -> Pixels:
        """Draw a moment, as an array of shape (height, width, 3)."""
        canvas = self._back.copy()
        for thing, face in zip(self.things, self._faces, strict=True):
            box = thing.box(time)
            if box is None or not thing.is_seen(time):
                continue
            x, y = round(box[0]), round(box[1])
            left, top = max(0, x), max(0, y)
            right, bottom = min(self.size[0], x + face.shape[1]), min(self.size[1], y + face.shape[0])
            if left < right and top < bottom:
                canvas[top:bottom, left:right] = face[top - y : bottom - y, left - x : right - x]
        return canvas

    def film(
        self,
        path: Path,
        fps: float = 25,
        codec: str = "libx264",
        times: Sequence[float] | None = None,
        options: dict[str, str] | None = None,
    ) -> Path:
        """Film the scene, at an even rate or at given times in seconds."""
        times = times or [number / fps for number in range(round(self.seconds * fps))]
        return write_film(path, [self.draw(time) for time in times], times, codec, options)


def write_film(
    path: Path,
    frames: Sequence[Pixels],
    times: Sequence[float],
    codec: str = "libx264",
    options: dict[str, str] | None = None,
) -> Path:
    """Write frames of shape (height, width, 3), each shown at its time."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(100), options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = {"gif": "rgb8", "zmbv": "bgr0"}.get(codec, "yuv420p")
        stream.codec_context.time_base = Fraction(1, 1000 if codec != "gif" else 100)
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.time_base = stream.codec_context.time_base
            frame.pts = round(time / frame.time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@dataclass
class Witness:
    """A backend named `witness` that knows the scene."""

    scene: Scene
    jitter: float = 0.0
    misses: float = 0.0
    ghosts: float = 0.0
    seed: int = 0
    name: str = "witness"
    fail_after: int | None = None
    error: Exception | None = None
    asked: list[float] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)

    def capabilities(self, model: str | None = None) -> Capabilities:
        assert model is None
        return Capabilities(outputs=frozenset({"masks", "text"}))

    def models(self) -> list[Model]:
        return [Model("witness-1", self.capabilities())]

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        if self.error and len(self.asked) == self.fail_after:
            raise self.error
        await call.progress(0.5, f"looking for {request.prompts}")
        found = re.search(r"#t=([\d.]+)$", image.source)
        assert found is not None
        time = float(found[1])
        self.asked.append(time)
        self.pictures = [image]
        return Detections(model="witness-1", objects=tuple(self.sees(time, (image.width, image.height))))

    async def aclose(self) -> None:
        pass

    def sees(self, time: float, size: tuple[int, int]) -> list[Detection]:
        """Detect at a time, in a random order, in an image of a size."""
        chance = np.random.default_rng((self.seed, round(time * 1000)))
        found = []
        factor = size[0] / self.scene.size[0]
        for thing in self.scene.things:
            box = thing.box(time)
            if box is None or not thing.is_seen(time) or chance.random() < self.misses or not _in(box, self.scene.size):
                continue
            shake = chance.normal(0, self.jitter, 4) * np.array([*thing.size, *thing.size])
            x1, y1, x2, y2 = (float(edge) * factor for edge in np.array(box) + shake)
            score = float(chance.uniform(0.6, 0.95))
            found.append(
                Detection(label=thing.label, bbox=(x1, y1, x2, y2), score=score, text=f"{thing.label} {score:.3f}")
            )
        if self.scene.things and chance.random() < self.ghosts:
            x, y = chance.uniform((0, 0), (self.scene.size[0] - 60, self.scene.size[1] - 60))
            found.append(Detection(label=self.scene.things[0].label, bbox=(x, y, x + 60, y + 60), score=0.3))
        chance.shuffle(found)  # type: ignore[arg-type]
        return found


def _in(box: Box, size: tuple[int, int]) -> bool:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return 0 < x < size[0] and 0 < y < size[1]


def _texture(size: tuple[int, int], seed: int, grain: int, strength: int) -> Pixels:
    """Paint a rough surface."""
    chance = np.random.default_rng(seed)
    width, height = size
    coarse = chance.integers(-strength, strength, (-(-height // grain), -(-width // grain), 3))
    fine = coarse.repeat(grain, axis=0).repeat(grain, axis=1)[:height, :width]
    base = chance.integers(80, 176, 3)
    return np.clip(base + fine, 0, 255).astype(np.uint8)
