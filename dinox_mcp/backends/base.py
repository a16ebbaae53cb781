"""What a backend is: it gets a picture and a request, and answers detections in original pixels."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol, runtime_checkable

from pydantic import SecretStr

from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Embedding, Mask, Need, Output

Progress = Callable[[float, str], Awaitable[None]]
"""Reports work done as a fraction from 0 to 1 and says in a few words what is going on."""


async def silent(_fraction: float, _message: str) -> None:
    """Report progress to nobody."""


@dataclass(frozen=True, slots=True)
class Call:
    """What comes with one call besides the question: who hears of its progress, and a caller's own key.

    `client` is the same for calls of one caller, so that a backend can be fair between several. `pictures` are those
    that the request's examples are in, by their digests.
    """

    progress: Progress = silent
    api_key: SecretStr | None = None
    client: str = ""
    pictures: Mapping[str, Picture] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can do with one of its models.

    `outputs` come with what it finds; `describes` are those that it can give of any boxes (see `Describer`). `labels`
    lists a closed vocabulary; None means that any noun may be asked for. `reads` are the labels that it reads exactly,
    such as codes: with `auto`, they are always left to it.

    `min_score` and `iou_threshold` are the model's own best for prompts and without prompts, used where the caller
    gives none. `thorough` names a model of the same backend that takes longer and finds more: it is asked about single
    images, but not about the key frames of a video. Where it `fetches`, it takes any model's name and downloads it.
    """

    answers: frozenset[Need] = frozenset({"text prompts", "prompt-free detection"})
    outputs: frozenset[Output] = frozenset()
    describes: frozenset[Output] = frozenset()
    labels: tuple[str, ...] | None = None
    reads: tuple[str, ...] = ()
    min_score: float = 0.25
    iou_threshold: float = 0.8
    thorough: str | None = None
    fetches: bool = False


class Fit(IntEnum):
    """How well a backend can look for a prompt."""

    NOT = 0
    """It does not know what the prompt means."""
    WORDS = 1
    """It only finds the prompt where it stands in the image as text."""
    KNOWN = 2
    """It detects what the prompt means."""
    EXACT = 3
    """It reads it exactly: text, codes, markers."""


@dataclass(frozen=True, slots=True)
class Unready:
    """Why a backend cannot answer here and now: the `remedy` in one line.

    `installed` says that a part of it is set up, so that whoever asks expects it to answer.
    """

    remedy: str
    installed: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """A model that a backend offers: the name that users write, what it can do, and in a few words what it is."""

    name: str
    capabilities: Capabilities
    about: str = ""
    loaded: bool = False


@dataclass(frozen=True, slots=True)
class Followed:
    """The masks of things over some frames, `masks[frame][thing]`: at the frame's size; None where it is not seen."""

    model: str
    masks: tuple[tuple[Mask | None, ...], ...]
    notes: tuple[str, ...] = ()


class Backend(Protocol):
    """The seam between the detector and whatever finds objects.

    A backend is created from settings by a function registered in the entry-point group
    `dinox_mcp.backends`, imports what is heavy on first use, keeps model work off the event loop, and frees
    its slot when a call is cancelled. It knows nothing of MCP, files or drawing.
    """

    @property
    def name(self) -> str:
        """The name that users write in settings and see in results."""
        ...

    def capabilities(self, model: str | None = None) -> Capabilities:
        """Say what it can do with a model, by default its own choice; asked before every call, so it must cost nothing.

        Raises:
            InputError: it has no such model; the message names those that it has.
        """
        ...

    def models(self) -> Sequence[Model]:
        """List the models that a caller may choose from, the default first."""
        ...

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        """Find objects.

        Raises:
            BackendError: with what was wrong and what to do, in one line.
        """
        ...

    async def aclose(self) -> None:
        """Free connections, models and threads."""
        ...


@runtime_checkable
class Selective(Protocol):
    """A backend that knows some prompts and not others."""

    def fit(self, prompt: str) -> Fit:
        """Say how well it can look for a prompt; asked before every call, so it must cost nothing."""
        ...


@runtime_checkable
class Priced(Protocol):
    """A backend that puts some requests to its service in more than one call, each of which may cost something."""

    def calls(self, request: DetectionRequest) -> int:
        """Count the calls that one request about one picture takes; asked before every call, so it must cost nothing.

        A backend without this method takes one call for each request.
        """
        ...


@runtime_checkable
class Remarking(Protocol):
    """A backend some of whose notes follow from the objects alone, such as how many codes could not be read."""

    def remarks(self, objects: Sequence[Detection], size: tuple[int, int]) -> Sequence[str]:
        """Give those notes for objects in a picture of this width and height, as `detect` gives them.

        Where several looks at a picture are merged, this says what is true of all objects together.
        """
        ...


@runtime_checkable
class Loadable(Protocol):
    """A backend that can load what is heavy before the first question needs it."""

    async def load(self) -> str:
        """Load, and give the name of what is loaded.

        Raises:
            BackendError: it cannot be had, or does not load.
        """
        ...


@runtime_checkable
class Describer(Protocol):
    """A backend that can tell more about boxes, whoever found them."""

    async def describe(
        self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
    ) -> Detections:
        """Give the same objects in the same order with more known of each; what has no such output stays as it is.

        `include` holds only what its capabilities say it `describes`. The answer's `model` names the model or models
        that did it.

        Raises:
            BackendError: with what was wrong and what to do, in one line.
        """
        ...


@runtime_checkable
class Embedder(Protocol):
    """A backend that can keep examples as an embedding, to be asked again in a request's examples."""

    async def embed(self, image: Picture, request: DetectionRequest, call: Call) -> Embedding:
        """Make one embedding of all examples of a request, whose label they share.

        Raises:
            BackendError: with what was wrong and what to do, in one line.
        """
        ...


@runtime_checkable
class Follower(Protocol):
    """A backend that can follow things from frame to frame of a video, with a mask in each."""

    async def follow(self, frames: Sequence[Picture], boxes: Sequence[Box], call: Call) -> Followed:
        """Give the masks of what is in the boxes of the first frame, in it and in those that come after, in order.

        Frames are of one size, a few dozen at most; boxes are in their pixels and have an area.

        Raises:
            BackendError: with what was wrong and what to do, in one line.
        """
        ...
