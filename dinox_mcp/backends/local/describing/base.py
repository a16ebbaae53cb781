"""The seam between describing boxes and the models that do it: look at a picture once, ask about boxes in it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from dinox_mcp.backends.local.families.base import check
from dinox_mcp.backends.local.model import Viewer
from dinox_mcp.geometry import Box
from dinox_mcp.schema import Output

if TYPE_CHECKING:
    import torch


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


def watch(model: "torch.nn.Module") -> None:
    """Have each layer of a model check, before it runs, that its call is still wanted: convolutions take long, too."""
    for module in model.modules():
        if not any(module.children()):
            module.register_forward_pre_hook(lambda _module, _inputs: check())
