"""The contract of backends: a backend gets an image and a request, and gives detections in original pixels.

At the end stands how they do several things at the same time.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol, TypeVar, runtime_checkable

import anyio
from pydantic import SecretStr

from dinox_mcp.images.picture import Picture
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import (
    IOU_THRESHOLD,
    MIN_SCORE,
    Detection,
    DetectionRequest,
    Detections,
    Embedding,
    Mask,
    Need,
    Output,
)

T = TypeVar("T")
Progress = Callable[[float, str], Awaitable[None]]
"""Reports the progress of a call: a fraction from 0 to 1, and a short description of the current step."""


async def silent(_fraction: float, _message: str) -> None:
    """Report progress to nobody."""


Report = Callable[[float, str], None]
"""Reports the same from a worker thread that does a slow step; it may raise to stop the step."""


def unreported(_fraction: float, _message: str) -> None:
    """Report the progress of a slow step to nobody."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a backend learns of a call besides the image and the request.

    Attributes:
        progress: reports progress to the caller.
        api_key: the caller's own key; it goes nowhere but to the service.
        client: the same for all calls of a caller, so that a backend can be fair between callers.
        pictures: the other images that the request's examples are in, by digest.
    """

    progress: Progress = silent
    api_key: SecretStr | None = None
    client: str = ""
    pictures: Mapping[str, Picture] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can do with one of its models.

    Attributes:
        answers: the kinds of requests that it answers.
        outputs: what comes with its detections.
        describes: what it can give of any boxes, see `Describer`.
        labels: its vocabulary if that is closed; None means any noun.
        reads: the labels that it reads exactly, such as codes; with `auto` they always go to it.
        min_score: the model's best threshold, used if the caller gives none.
        iou_threshold: the same for the overlap of boxes of one label.
        thorough: a model of the same backend that takes longer and finds more; it is used for single images, but not
            for tiles and the key frames of a video.
        fetches: it takes any model's name and downloads it.
    """

    answers: frozenset[Need] = frozenset({"text prompts", "prompt-free detection"})
    outputs: frozenset[Output] = frozenset()
    describes: frozenset[Output] = frozenset()
    labels: tuple[str, ...] | None = None
    reads: tuple[str, ...] = ()
    min_score: float = MIN_SCORE
    iou_threshold: float = IOU_THRESHOLD
    thorough: str | None = None
    fetches: bool = False


class Fit(IntEnum):
    """How well a backend can find a prompt."""

    NOT = 0
    """It does not know what the prompt means."""
    WORDS = 1
    """It finds the prompt only where it is written in the image as text."""
    KNOWN = 2
    """It detects what the prompt means."""
    EXACT = 3
    """It reads it exactly: text, codes, markers."""


@dataclass(frozen=True, slots=True)
class Unready:
    """What a backend lacks before it can answer: the `remedy` in one line.

    `installed` says that a part of it is set up, so that callers expect it to answer.
    """

    remedy: str
    installed: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """A model that a backend offers: the name that users write, what it can do, and a short description."""

    name: str
    capabilities: Capabilities
    about: str = ""
    loaded: bool = False


@dataclass(frozen=True, slots=True)
class Followed:
    """Masks of objects over frames, `masks[frame][object]`, at the size of the frame; None where it is not visible."""

    model: str
    masks: tuple[tuple[Mask | None, ...], ...]
    notes: tuple[str, ...] = ()


class Backend(Protocol):
    """What the detector needs of everything that finds objects; see docs/plugins.md for a complete example.

    A backend is created from settings by a function registered in the entry-point group
    `dinox_mcp.backends`, imports what is heavy on first use, keeps model work off the event loop, and frees
    its slot when a call is cancelled. It knows nothing of MCP, files or drawing.
    """

    @property
    def name(self) -> str:
        """The name that users write in settings and see in results."""
        ...

    def capabilities(self, model: str | None = None) -> Capabilities:
        """Give what it can do with a model, by default its own choice. Called before each request: it must be quick.

        Raises:
            InputError: it has no such model; the message names those that it has.
        """
        ...

    def models(self) -> Sequence[Model]:
        """List the models that a caller may choose from, the default first."""
        ...

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        """Find objects.

        Args:
            image: the image to search.
            request: what to find; only what its capabilities allow.
            call: who calls, and who hears of the progress.

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
        """Give how well it can find a prompt. Called before every request, so it must be quick."""
        ...


@runtime_checkable
class Priced(Protocol):
    """A backend that makes more than one call to its service for some requests, each of which may cost something."""

    def calls(self, request: DetectionRequest) -> int:
        """Count the calls that one request for one image takes. Called before every request, so it must be quick.

        A backend without this method takes one call for each request.
        """
        ...


@runtime_checkable
class Noting(Protocol):
    """A backend some of whose notes follow from the objects alone, such as how many codes could not be read."""

    def notes_for(self, objects: Sequence[Detection], size: tuple[int, int]) -> Sequence[str]:
        """Give those notes for objects in an image of this width and height, as `detect` gives them.

        Where tiles of an image are merged, this gives the notes for all objects together.
        """
        ...


@runtime_checkable
class Loadable(Protocol):
    """A backend that can load its model before the first request needs it."""

    async def load(self) -> str:
        """Load the model, and give its name.

        Raises:
            BackendError: it is not on this machine, or does not load.
        """
        ...


@runtime_checkable
class Describer(Protocol):
    """A backend that can describe boxes, whichever backend found them."""

    async def describe(
        self, image: Picture, objects: Sequence[Detection], include: frozenset[Output], call: Call
    ) -> Detections:
        """Give the same objects in the same order, with the outputs added where there are any.

        `include` holds only what its capabilities say it `describes`. `model` of the response names the model or
        models that did it.

        Raises:
            BackendError: with what was wrong and what to do, in one line.
        """
        ...


@runtime_checkable
class Embedder(Protocol):
    """A backend that can encode examples as an embedding, which later requests have as an example."""

    async def embed(self, image: Picture, request: DetectionRequest, call: Call) -> Embedding:
        """Make one embedding of all examples of a request, whose label they share.

        Raises:
            BackendError: with what was wrong and what to do, in one line.
        """
        ...


@runtime_checkable
class Follower(Protocol):
    """A backend that can follow objects from frame to frame of a video, with a mask in each."""

    async def follow(self, frames: Sequence[Picture], boxes: Sequence[Box], call: Call) -> Followed:
        """Give the masks of the objects in boxes of the first frame, in this frame and all later ones.

        Args:
            frames: frames of one size, in order; a few dozen at most.
            boxes: boxes in pixels of the frames; none is empty.
            call: who calls, and who hears of the progress.

        Raises:
            BackendError: with what was wrong and what to do, in one line.
        """
        ...


@asynccontextmanager
async def alongside(companion: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run a companion while the block runs; an error of the block is raised as it is, not in a group."""
    raised = None
    async with anyio.create_task_group() as group:
        group.start_soon(companion)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised below, where the group does not wrap it
            raised = error
        finally:
            group.cancel_scope.cancel()
    if raised:
        raise raised


async def gather(calls: Sequence[Callable[[], Awaitable[T]]], at_a_time: int) -> list[T]:
    """Await calls, a few at a time, and give their results in order; the first error cancels the others."""
    if len(calls) == 1:
        return [await calls[0]()]
    results: dict[int, T] = {}
    errors: list[Exception] = []
    limiter = anyio.CapacityLimiter(at_a_time)

    async def run(index: int, call: Callable[[], Awaitable[T]]) -> None:
        async with limiter:
            try:
                results[index] = await call()
            except Exception as error:  # noqa: BLE001 - raised below, where the group does not wrap it
                errors.append(error)
                group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for index, call in enumerate(calls):
            group.start_soon(run, index, call)
    if errors:
        raise errors[0]
    return [results[index] for index in range(len(calls))]
