"""The seam between the backend and the model families: prepare a picture, look at it once, ask it many things."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol

from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Example, Mask

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from PIL import Image


@dataclass(frozen=True, slots=True)
class Found:
    """One thing found: `label` counts into the labels that were asked for, `score` goes from 0 to 1.

    `bbox` is in pixels of the original picture and may reach over its edge; `mask` is at the picture's size and
    encoded, as hundreds of them are kept until the end, where the family has masks.
    """

    label: int
    score: float
    bbox: Box
    mask: Mask | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture as a model sees it: `pixels` is float32 (3, height, width), normalised; `size` is the original's.

    Pictures whose `pixels` have the same shape can be looked at in one batch.
    """

    pixels: "npt.NDArray[np.float32]"
    size: tuple[int, int]

    @property
    def size_key(self) -> tuple[int, ...]:
        """What must be equal for pictures to share a batch."""
        return self.pixels.shape


class ImageState(Protocol):
    """What a model keeps of one picture, on its own device."""

    @property
    def nbytes(self) -> int:
        """Memory that it takes, in bytes."""
        ...


class Adapter(Protocol):
    """One loaded model. It keeps nothing between calls and is called by one thread at a time.

    Every method may raise `Interrupted` where it runs inside `interruptible`. What a family can be asked besides labels
    (see `abilities`) is in the protocols below.
    """

    @property
    def family(self) -> str:
        """The name of the architecture, as in the checkpoint's `model_type`; it says what the model can be asked."""
        ...

    @property
    def reuses_text(self) -> bool:
        """Whether a label's embedding depends on that label alone, so that it can be kept."""
        ...

    def prepare(self, image: "Image.Image") -> Prepared:
        """Resize and normalise an RGB picture; needs the CPU only and may run in any thread."""
        ...

    def encode(self, batch: Sequence[Prepared]) -> Sequence[ImageState]:
        """Look at pictures of one `size_key`: the costly pass."""
        ...

    def chunks(self, labels: Sequence[str]) -> list[list[int]]:
        """Pack labels, by their index, into as few questions as the model's text window allows."""
        ...

    def overlong(self, labels: Sequence[str]) -> list[int]:
        """Name the labels, by their index, of which the model reads only the beginning."""
        ...

    def find(
        self,
        state: Any,  # noqa: ANN401 - each family takes what its own `encode` gave
        labels: Sequence[str],
        embeddings: "torch.Tensor | None",
        min_score: float,
        *,
        masks: bool = False,
    ) -> list[Found]:
        """Find the labels of one chunk in a picture, best first, overlapping boxes included.

        `embeddings` are the rows of `embed` for these labels where `reuses_text`, else None. `masks` are computed only
        where they are asked for, by families that have them.
        """
        ...


class TextReader(Adapter, Protocol):
    """A model whose labels have embeddings of their own: it `reuses_text`."""

    def embed(self, labels: Sequence[str]) -> "torch.Tensor":
        """Embed labels at once, one row each (float32, on the CPU)."""
        ...


@dataclass(frozen=True, slots=True)
class Looks:
    """How examples look to a model: one row each (n, d; float32, on the CPU).

    `fits` says of each how well the model's own box of it agrees with the one that was given (intersection over union).
    """

    rows: "torch.Tensor"
    fits: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Likeness:
    """What to look for by examples: `labels`, and for each row of `rows` (n, d) whose example it is.

    `owners` count into the labels; None belongs to all of them. A row that is `negative` looks like what is not meant.
    """

    labels: tuple[str, ...]
    rows: "torch.Tensor"
    owners: tuple[int | None, ...]
    negative: tuple[bool, ...]

    def of(self, label: int) -> tuple[list[int], list[int]]:
        """Give the rows, by their index, that speak for a label and those that speak against it."""
        mine = [row for row, owner in enumerate(self.owners) if owner in (label, None)]
        return [row for row in mine if not self.negative[row]], [row for row in mine if self.negative[row]]


class ExampleReader(Adapter, Protocol):
    """A model that finds what looks like examples."""

    @property
    def example_size(self) -> int:
        """How many numbers say how one example looks."""
        ...

    def read_examples(
        self,
        state: Any,  # noqa: ANN401 - each family takes what its own `encode` gave
        examples: Sequence[Example],
    ) -> Looks:
        """Tell how examples look, each a box or a point in the one picture that `state` is of."""
        ...

    def find_like(
        self,
        state: Any,  # noqa: ANN401 - each family takes what its own `encode` gave
        wanted: Likeness,
        min_score: float,
        *,
        masks: bool = False,
    ) -> list[Found]:
        """Find what looks like the examples and not like the negative ones, best first, overlapping boxes included."""
        ...


class SentenceReader(Adapter, Protocol):
    """A model that reads whole sentences, and tells which words a box answers to."""

    def find_described(
        self,
        state: Any,  # noqa: ANN401 - each family takes what its own `encode` gave
        sentence: str,
        min_score: float,
    ) -> list[Found]:
        """Find what a sentence describes, best first; each is `label` 0."""
        ...

    def fits(self, caption: str) -> bool:
        """Tell whether the text window holds all of a caption."""
        ...

    def ground(
        self,
        state: Any,  # noqa: ANN401 - each family takes what its own `encode` gave
        caption: str,
        places: Sequence[tuple[int, int]],
        min_score: float,
    ) -> list[Found]:
        """Find phrases of a caption in its context, best first; each `label` counts into `places`.

        `places` are the (start, end) of the phrases in `caption.lower()`. A box may answer to several phrases.
        """
        ...


class Interrupted(Exception):  # noqa: N818 - it reports a wish, not a fault
    """The running call was cancelled; raised between two layers of a model."""


_running: ContextVar[Event | None] = ContextVar("running", default=None)


@contextmanager
def interruptible(event: Event) -> Iterator[None]:
    """Let model work of this thread stop, with `Interrupted`, soon after the event is set."""
    token = _running.set(event)
    try:
        check()
        yield
    finally:
        _running.reset(token)


def check() -> None:
    """Raise `Interrupted` if the running call was cancelled."""
    event = _running.get()
    if event is not None and event.is_set():
        raise Interrupted


def watch(model: "torch.nn.Module") -> None:
    """Have each linear map of a model check, before it runs, that its call is still wanted.

    Layers would be too coarse: one of a large model takes over a second on a CPU, a linear map a tenth of that.
    """
    from torch.nn import Linear

    for module in model.modules():
        if isinstance(module, Linear):
            module.register_forward_pre_hook(lambda _module, _inputs: check())
