"""What the runtime asks of a model: to be fetched and loaded, to describe boxes, to follow masks."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol

from typing_extensions import TypeVar

from dinox_mcp.backends.local.models.base import Adapter, ImageState, Prepared, check
from dinox_mcp.errors import BackendError
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Mask, Output

if TYPE_CHECKING:
    import torch
    from PIL import Image


Tell = Callable[[float, str], None]
"""Hears, in a worker thread, how far a slow step is (0 to 1) and what it is; may raise to stop the step."""


class Viewer(Protocol):
    """A loaded model as its host knows it, which has it look at pictures; see `Adapter`."""

    @property
    def reuses_text(self) -> bool:
        """Whether a question about a picture that was looked at may take milliseconds."""
        ...

    def prepare(self, image: "Image.Image") -> Prepared:
        """Resize and normalise an RGB picture; needs the CPU only and may run in any thread."""
        ...

    def encode(self, batch: Sequence[Prepared]) -> Sequence[ImageState]:
        """Look at pictures of one `size_key`: the costly pass."""
        ...


A_co = TypeVar("A_co", bound=Viewer, covariant=True, default=Adapter)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[A_co]):
    """A model in memory: `name` as results tell it, `fingerprint` of its weights, `batch` pictures per pass.

    `signature` is the name that what it makes of examples is kept under: it tells whose weights made it.
    """

    adapter: A_co
    name: str
    fingerprint: str
    batch: int = 1
    notes: tuple[str, ...] = ()
    signature: str = ""


class Family(Protocol[A_co]):
    """What each model's module offers: the class of a checkpoint, and the adapter around a loaded model."""

    def architecture(self, config: Mapping[str, Any]) -> type[Any]:
        """Name the transformers class that loads a checkpoint with this `config.json`.

        Raises:
            UnsupportedError: the checkpoint needs a package that is not installed.
        """
        ...

    def adapt(
        self,
        model: Any,  # noqa: ANN401 - a model of its `architecture`
        folder: Path,
        dtype: "torch.dtype" = ...,
    ) -> A_co:
        """Wrap a model, in evaluation mode and on its device, with the tokenizer and sizes found in its folder.

        The model is in float32; `dtype` is what its large matrix products are computed in.
        """
        ...


class Model(Protocol[A_co]):
    """A model that can be had. All methods are slow: they are called in a worker thread."""

    @property
    def key(self) -> str:
        """What tells this model from others, as a user would write it."""
        ...

    def identify(self) -> Hashable:
        """Give what is equal for two names of the same model.

        Raises:
            SettingsError: there is no such model or device.
            BackendError: what is missing, and the remedy.
        """
        ...

    def fetch(self, tell: Tell) -> int:
        """Bring the weights onto this machine; gives the memory that they will take, in bytes.

        Raises:
            BackendError: what is missing, and the remedy.
        """
        ...

    def load(self) -> Loaded[A_co]:
        """Load into memory what was fetched.

        Raises:
            BackendError: what is wrong, and the remedy.
        """
        ...

    def trim(self) -> None:
        """Collect what nothing refers to any more, and give its memory back to the system."""
        ...

    def explain(self, error: Exception) -> BackendError:
        """Say in one line what an error of the model's own code means, and the remedy."""
        ...


class Describer(Viewer, Protocol):
    """One loaded model. It keeps nothing between calls and is called by one thread at a time.

    Every method may raise `Interrupted` where it runs inside `interruptible`.
    """

    @property
    def at_once(self) -> int:
        """How many boxes to ask about at once: more take too much memory, or too long."""
        ...

    def describe(
        self,
        state: Any,  # noqa: ANN401 - each family takes what its own `encode` gave
        boxes: Sequence[Box],
        output: Output,
    ) -> list[Any]:
        """Give for each box, in original pixels and with an area, what `Detection` has of it; None for nothing."""
        ...


def watch_layers(model: "torch.nn.Module") -> None:
    """Have each layer of a model check, before it runs, that its call is still wanted: convolutions take long, too."""
    for module in model.modules():
        if not any(module.children()):
            module.register_forward_pre_hook(lambda _module, _inputs: check())


class Follower(Viewer, Protocol):
    """One loaded model. It keeps nothing between calls and is called by one thread at a time.

    Every method may raise `Interrupted` where it runs inside `interruptible`.
    """

    @property
    def at_once(self) -> int:
        """How many things to follow at once: more take too much memory, or too long."""
        ...

    def remember(self, boxes: Sequence[Box], size: tuple[int, int]) -> Any:  # noqa: ANN401 - each family has its own
        """Begin a memory of what is in each box, in pixels of a first frame of `size` (width, height)."""
        ...

    def follow(
        self,
        state: Any,  # noqa: ANN401 - each family takes what its own `encode` gave
        memory: Any,  # noqa: ANN401 - and what its own `remember` gave
    ) -> list[Mask | None]:
        """Give the masks in the next frame, at its own size, None for what is not seen in it; the memory changes."""
        ...
