"""What all kinds of question have in common: to whom they go, and what comes back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from dinox_mcp.backends.base import Call, Progress
from dinox_mcp.backends.local.families.base import Found, ImageState
from dinox_mcp.backends.local.host import Host
from dinox_mcp.backends.local.model import Loaded
from dinox_mcp.images.picture import Picture

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Turn:
    """A question's access to one model: about `image`, for the one who makes the `call`.

    What scores less than `min_score` is of no use, nor are masks unless `masks`.
    """

    host: Host
    image: Picture
    call: Call
    min_score: float = 0.0
    masks: bool = False

    async def ask(
        self,
        work: Callable[[Loaded, Any], T],
        *,
        picture: Picture | None = None,
        state: ImageState | None = None,
        quick: bool = False,
    ) -> T:
        """Do a piece of work in the model's thread, with its view of a picture: by default the question's."""
        picture = picture or (self.image if state is None else None)
        return await self.host.ask(
            work, picture=picture, state=state, quick=quick, client=self.call.client, progress=self.call.progress
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model found: `Found.label` counts into `labels`."""

    model: str
    labels: Sequence[str]
    found: Sequence[Found]
    notes: Sequence[str] = ()


def rising(progress: Progress) -> Progress:
    """Let progress never go back, which clients may not take, whatever the turns with a model report."""
    highest = 0.0

    async def report(fraction: float, message: str) -> None:
        nonlocal highest
        highest = max(highest, fraction)
        await progress(highest, message)

    return report
