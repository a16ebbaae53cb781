"""What a backend is: it gets a picture and a request, and answers detections in original pixels."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from pydantic import SecretStr

from dinox_mcp.images.picture import Picture
from dinox_mcp.schema import DetectionRequest, Detections, Output

Progress = Callable[[float, str], Awaitable[None]]
"""Reports work done as a fraction from 0 to 1 and says in a few words what is going on."""


async def silent(_fraction: float, _message: str) -> None:
    """Report progress to nobody."""


@dataclass(frozen=True, slots=True)
class Call:
    """What comes with one call besides the question: who hears of its progress, and a caller's own key.

    `client` is the same for calls of one caller, so that a backend can be fair between several.
    """

    progress: Progress = silent
    api_key: SecretStr | None = None
    client: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can do.

    `labels` lists a closed vocabulary; None means that any noun may be asked for.
    """

    text_prompts: bool = True
    prompt_free: bool = True
    outputs: frozenset[Output] = field(default_factory=frozenset)
    labels: tuple[str, ...] | None = None


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

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; asked before every call, so it must cost nothing."""
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
class Loadable(Protocol):
    """A backend that can load what is heavy before the first question needs it."""

    async def load(self) -> str:
        """Load, and give the name of what is loaded.

        Raises:
            BackendError: it cannot be had, or does not load.
        """
        ...
