"""The base classes of the model families: prepare an image, encode it once, then answer many requests about it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from dinox_mcp.backends.local.checkpoints.preprocess import Preprocessor
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Example, Mask, Output

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from PIL import Image

    Rows = npt.NDArray[np.float32]
    """Embeddings, one row each (n, width)."""


@dataclass(frozen=True, slots=True)
class RawDetection:
    """One object as a model found it: `label` is an index into the requested labels.

    `bbox` is in pixels of the original image, and may reach over its edge. `mask` has the size of the image.
    """

    label: int
    score: float
    bbox: Box
    mask: Mask | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image as the input of a model: normalised pixels (3, height, width), and its own (width, height).

    Images whose pixels have the same shape can be encoded in one batch.
    """

    pixels: "npt.NDArray[np.float32]"
    size: tuple[int, int]


class Features(Protocol):
    """What a model keeps of one image, on its own device."""

    @property
    def nbytes(self) -> int:
        """Memory that they take, in bytes."""
        ...


AnyFeatures = Any
"""The `Features` that a model gets back; each family has a type of its own."""


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """What was computed of one image, as arrays or tensors that share no memory with others, and its (width, height).

    What the arrays are differs between the families; mostly they are feature maps (1, channels, height, width).
    """

    arrays: tuple[Any, ...]
    size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Memory that they take, in bytes."""
        return sum(int(one.nbytes) for one in self.arrays)


@dataclass(frozen=True, slots=True)
class ExampleRows:
    """Embeddings of examples (n, width), and for each the IoU of its box and the model's own box of the object."""

    rows: "Rows"
    fits: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ExampleQuery:
    """What to find by examples: `labels`, and embeddings of examples as rows (n, width).

    `owners` has for each row the index of its label, None for all labels; a `negative` row shows what is not meant.
    """

    labels: tuple[str, ...]
    rows: "Rows"
    owners: tuple[int | None, ...]
    negative: tuple[bool, ...]

    def of(self, label: int) -> tuple[list[int], list[int]]:
        """Return the indices of the positive and of the negative rows of a label."""
        rows = [row for row, owner in enumerate(self.owners) if owner in (label, None)]
        return [row for row in rows if not self.negative[row]], [row for row in rows if self.negative[row]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory.

    Attributes:
        model: An `ImageModel`.
        name: Its name in results.
        fingerprint: Identifies its weights and precision.
        batch: Images to encode at once.
        notes: What to note in results.
        signature: Identifies, for saved prompts, the weights that embedded an example.
    """

    model: Any
    name: str
    fingerprint: str
    batch: int = 1
    notes: tuple[str, ...] = ()
    signature: str = ""


class ImageModel(ABC):
    """A loaded model, the base of all families. It is used by one thread at a time and keeps nothing between calls.

    Its methods may raise `Interrupted` inside `interruptible`. Features are those of its own `encode`.

    Args:
        family: The `model_type` of the checkpoint.
        folder: The folder of the checkpoint.
        preprocess: Options of the preprocessor besides those in the folder.
    """

    reuses_text: ClassVar[bool] = False
    """Whether the embedding of a label depends on that label alone, so that it can be kept."""

    def __init__(self, family: str, folder: Path, **preprocess: Any) -> None:  # noqa: ANN401 - of `Preprocessor`
        self.family = family
        self._preprocess = Preprocessor.from_folder(folder, **preprocess)

    def prepare(self, image: "Image.Image") -> Prepared:
        """Resize and normalise an RGB image, on the CPU; may run in any thread."""
        return Prepared(self._preprocess(image), image.size)

    @abstractmethod
    def encode(self, batch: Sequence[Prepared]) -> Sequence[Features]:
        """Compute the features of images whose pixels have one shape: the slow step."""


class TorchModel(ImageModel):
    """A model that runs in torch.

    Args:
        model: A model of transformers, made by `architecture`: float32, in evaluation mode, on its device.
        folder: The folder of its checkpoint.
        dtype: What large matrix products are computed in; None for float32.
        options: Options of the next base class.
    """

    architectures: ClassVar[Mapping[str, str]]
    """The transformers class for each `model_type`."""
    cpu_batch, gpu_batch = 4, 16

    def __init__(self, model: Any, folder: Path, dtype: "torch.dtype | None" = None, **options: Any) -> None:  # noqa: ANN401
        super().__init__(str(model.config.model_type), folder, **options)
        self._model = model
        self._dtype = dtype
        watch(model)

    @classmethod
    def architecture(cls, config: Mapping[str, Any]) -> type[Any]:
        """Return the transformers class that loads a checkpoint with this `config.json`.

        Raises:
            UnsupportedError: it needs a package that is not installed.
        """
        import transformers

        return getattr(transformers, cls.architectures[config["model_type"]])  # type: ignore[no-any-return]

    @property
    def at_once(self) -> int:
        """How many objects to process at once: more take too much memory, or too long before the next request."""
        return self.cpu_batch if self._model.device.type == "cpu" else self.gpu_batch

    def _computing(self) -> AbstractContextManager[Any]:
        """Shorten matrix products to `dtype` in the block; weights and boxes stay in float32.

        Families that refine boxes layer by layer lose pixels when the boxes have eight bits of mantissa.
        """
        import torch

        if self._dtype in {None, torch.float32}:
            return nullcontext()
        return torch.autocast(self._model.device.type, dtype=self._dtype)


class DetectionModel(ImageModel):
    """A family that finds objects. What it can do besides labels is in the table `families.FAMILIES`."""

    labels: tuple[str, ...] | None = None
    """The labels that it knows, if its vocabulary is closed: `find` gets no others."""

    def chunks(self, labels: Sequence[str]) -> list[list[int]]:
        """Pack labels, by their index, into as few text windows as possible; by default each has its own."""
        return [list(range(len(labels)))]

    @abstractmethod
    def overlong(self, labels: Sequence[str]) -> list[int]:
        """Return the indices of the labels of which the text window holds only the beginning."""

    @abstractmethod
    def find(
        self,
        features: AnyFeatures,
        labels: Sequence[str],
        embeddings: "Rows | None",
        min_score: float,
        *,
        masks: bool = False,
    ) -> list[RawDetection]:
        """Find the labels of one chunk, best first, overlapping boxes included.

        Args:
            features: The features of the image.
            labels: The labels of one chunk.
            embeddings: The rows of `embed` for these labels, if the family `reuses_text`.
            min_score: The lowest score to return.
            masks: Whether to compute masks, if the family has them.
        """

    def embed(self, labels: Sequence[str]) -> "Rows":
        """Embed labels, one row each, if the family `reuses_text`."""
        raise NotImplementedError

    def read_examples(self, features: AnyFeatures, examples: Sequence[Example]) -> ExampleRows:
        """Embed examples, boxes or points in the image of these features, if the family finds by examples."""
        raise NotImplementedError

    def find_like(
        self, features: AnyFeatures, query: ExampleQuery, min_score: float, *, masks: bool = False
    ) -> list[RawDetection]:
        """Find what resembles the examples and not the negative ones, best first, overlapping boxes included."""
        raise NotImplementedError

    def find_described(self, features: AnyFeatures, sentence: str, min_score: float) -> list[RawDetection]:
        """Find what a sentence describes, best first, as label 0, if the family reads sentences."""
        raise NotImplementedError

    def fits(self, caption: str) -> bool:
        """Return whether the text window holds all of a caption, if the family reads sentences."""
        raise NotImplementedError

    def ground(
        self, features: AnyFeatures, caption: str, spans: Sequence[tuple[int, int]], min_score: float
    ) -> list[RawDetection]:
        """Find phrases of a caption in its context, best first, if the family reads sentences.

        Labels are indices into `spans`, the (start, end) of the phrases in `caption.lower()`. Several phrases may
        share a box.
        """
        raise NotImplementedError


class TorchDetectionModel(TorchModel, DetectionModel):
    """A family that finds objects in torch, with the tokenizer of transformers."""

    def __init__(self, model: Any, folder: Path, dtype: "torch.dtype | None" = None, **preprocess: Any) -> None:  # noqa: ANN401
        from dinox_mcp.backends.local.models.shared import tokenizer_in

        super().__init__(model, folder, dtype, **preprocess)
        self._tokenizer = tokenizer_in(folder)
        self._window: int = model.config.text_config.max_position_embeddings

    def overlong(self, labels: Sequence[str]) -> list[int]:
        """Return the indices of the labels of which the text window holds only the beginning."""
        rows = self._tokenizer(list(labels), truncation=False)["input_ids"]
        return [index for index, row in enumerate(rows) if len(row) > self._window]


class DescribingModel(ImageModel):
    """A family that describes given boxes."""

    @property
    def at_once(self) -> int:
        """How many boxes to describe at once."""
        return 4

    @abstractmethod
    def describe(self, features: AnyFeatures, boxes: Sequence[Box], output: Output) -> Sequence[Any]:
        """Return for each box, in original pixels, the field of a `Detection` for this output; None for nothing."""


class FollowingModel(TorchModel):
    """A family that follows objects from frame to frame."""

    @abstractmethod
    def remember(self, boxes: Sequence[Box], size: tuple[int, int]) -> Any:  # noqa: ANN401 - each family has its own
        """Begin a memory of the objects in these boxes, in pixels of a first frame of `size` (width, height)."""

    @abstractmethod
    def follow(self, features: AnyFeatures, memory: Any) -> list[Mask | None]:  # noqa: ANN401 - each family has its own
        """Return the masks in the next frame, at its own size, None for what is not visible; updates the memory."""


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


def running() -> Event | None:
    """Return what is set when the running call is cancelled; None outside `interruptible`."""
    return _running.get()


def check() -> None:
    """Raise `Interrupted` if the running call was cancelled."""
    event = _running.get()
    if event is not None and event.is_set():
        raise Interrupted


def watch(model: "torch.nn.Module") -> None:
    """Make each elementary layer of a model call `check` before it runs; larger parts take over a second on a CPU."""
    for module in model.modules():
        if not any(module.children()):
            module.register_forward_pre_hook(lambda _module, _inputs: check())
