"""Replaces layers by faster ones, each only where it gives what the stock layer gives."""

import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch.nn import Module

from dinox_mcp.backends.local.speed import deformable, fusion

logger = logging.getLogger(__name__)

Model = TypeVar("Model", bound=Module)
Outputs = tuple[torch.Tensor, ...]

_TOLERANCE = 1e-4
"""Largest difference to the stock layer, as a fraction of its largest output. What was seen is a hundredth of it."""


def speed_up(model: Model) -> Model:
    """Replace what can be faster in a float32 model on a CPU; on other devices nothing was measured to gain."""
    if next(model.parameters()).device.type != "cpu":
        return model
    for parent, name, stock in list(_places(model)):
        for kind, make, run in _KINDS:
            if type(stock).__name__.endswith(kind):
                faster = make(stock)
                if _agree(stock, faster, run):
                    setattr(parent, name, faster)
                else:
                    logger.warning("%s of this transformers release is not replaced: it computes otherwise", kind)
    return model


def _places(model: Module) -> Iterator[tuple[Module, str, Module]]:
    for parent in model.modules():
        for name, child in parent.named_children():
            yield parent, name, child


@torch.inference_mode()
def _agree(stock: Module, faster: Module, run: Callable[[Module], Outputs]) -> bool:
    try:
        pairs = zip(run(stock), run(faster), strict=True)
        return all(float((one - two).abs().max()) <= _TOLERANCE * float(one.abs().max()) for one, two in pairs)
    except Exception:  # noqa: BLE001 - another release of transformers may call its layers in any other way
        return False


def _run_deformable(layer: Any) -> Outputs:  # noqa: ANN401
    return (layer(*deformable.example()),)


def _run_fusion(layer: Any) -> Outputs:  # noqa: ANN401
    (vision, _), (text, _) = layer(**fusion.example(layer))
    return vision, text


_KINDS: tuple[tuple[str, Callable[[Module], Module], Callable[[Any], Outputs]], ...] = (
    ("MultiScaleDeformableAttention", lambda _stock: deformable.BagAttention(), _run_deformable),
    ("BiMultiHeadAttention", fusion.TextSideAttention, _run_fusion),
)
