"""Doubles of models, without torch: they sleep where a model computes, and remember what they were asked."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dinox_mcp.backends.base import Report
from dinox_mcp.backends.local.models.base import Loaded, Prepared, RawDetection, check
from dinox_mcp.errors import BackendError


@dataclass(frozen=True)
class FakeState:
    """What the fake keeps of a picture: its colour and size."""

    color: tuple[int, int, int]
    size: tuple[int, int]
    nbytes: int = 100


@dataclass
class FakeAdapter:
    """Finds every label in every picture: the first one in its left half, each next a little lower.

    A pass takes `pass_s` in ten layers, of which each checks for interruption.
    """

    pass_s: float = 0.0
    find_s: float = 0.0
    reuses_text: bool = True
    window: int = 5000
    family: str = "fake"
    labels: tuple[str, ...] | None = None
    batches: list[list[tuple[int, int, int]]] = field(default_factory=list)
    embedded: list[str] = field(default_factory=list)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    interrupted: int = 0
    failure: Exception | None = None
    begun: int = 0
    _inside: threading.Lock = field(default_factory=threading.Lock)

    def prepare(self, image: Image.Image) -> Prepared:
        pixels = np.asarray(image.resize((4, 4)), dtype=np.float32).transpose(2, 0, 1)
        if image.width > image.height:
            pixels = pixels[:, :2]
        return Prepared(pixels, image.size)

    def encode(self, batch: Sequence[Prepared]) -> list[Any]:
        assert len({one.pixels.shape for one in batch}) == 1
        self._compute(self.pass_s)
        if self.failure:
            raise self.failure
        colors = [tuple(int(value) for value in one.pixels[:, 0, 0]) for one in batch]
        self.batches.append(colors)  # type: ignore[arg-type]
        return [FakeState(color, one.size) for color, one in zip(colors, batch, strict=True)]  # type: ignore[arg-type]

    def embed(self, labels: Sequence[str]) -> npt.NDArray[np.float32]:
        self._compute(0)
        self.embedded.extend(labels)
        return np.array([[len(label), ord(label[0])] for label in labels], dtype=np.float32)

    def chunks(self, labels: Sequence[str]) -> list[list[int]]:
        places = list(range(len(labels)))
        return [places[start : start + self.window] for start in places[:: self.window]]

    def overlong(self, labels: Sequence[str]) -> list[int]:
        return [place for place, label in enumerate(labels) if len(label) > 20]

    def find(
        self,
        state: FakeState,
        labels: Sequence[str],
        embeddings: Any,  # noqa: ANN401 - the seam
        min_score: float,
        *,
        masks: bool = False,  # noqa: ARG002 - it has none
    ) -> list[RawDetection]:
        self._compute(self.find_s)
        self.asked.append(tuple(labels))
        if self.reuses_text:
            assert [int(row[1]) for row in np.asarray(embeddings)] == [ord(label[0]) for label in labels]
        width, height = state.size
        found = [
            RawDetection(place, 0.9 - 0.1 * (place % 8), (0.0, 8.0 * place, width / 2, min(height, 8.0 * place + 8)))
            for place in range(len(labels))
        ]
        return [one for one in found if one.score >= min_score]

    def _compute(self, seconds: float) -> None:
        assert self._inside.acquire(blocking=False), "two threads use one model"
        self.begun += 1
        try:
            for _ in range(10):
                check()
                time.sleep(seconds / 10)
        except BaseException:
            self.interrupted += 1
            raise
        finally:
            self._inside.release()


@dataclass
class FakeModel:
    """A model whose weights are `nbytes` large and take `load_s` to load."""

    key: str = "fake"
    adapter: Any = field(default_factory=FakeAdapter)
    nbytes: int = 1000
    notes: tuple[str, ...] = ()
    load_s: float = 0.0
    batch: int = 1
    failure: Exception | None = None
    source: str = ""
    loads: int = 0
    trims: int = 0

    def identify(self) -> str:
        return self.source or self.key

    def fetch(self, report: Report) -> int:
        report(0.1, "downloading 5 of 10 MB")
        return self.nbytes

    def load(self) -> Loaded:
        self.loads += 1
        time.sleep(self.load_s)
        if self.failure:
            raise self.failure
        name = f"{self.key}@1234567"
        return Loaded(self.adapter, name, f"fp-{self.key}", self.batch, self.notes, signature=name)

    def trim(self) -> None:
        self.trims += 1

    def explain(self, error: Exception) -> BackendError:
        return BackendError(f"the model failed: {error}; try again")
