"""The seam between following and the models that do it: look at a frame once, go on from what is remembered."""

from collections.abc import Sequence
from typing import Any, Protocol

from dinox_mcp.backends.local.model import Viewer
from dinox_mcp.geometry import Box
from dinox_mcp.schema import Mask


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
