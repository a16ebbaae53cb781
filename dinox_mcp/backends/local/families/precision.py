"""Half precision where it saves time, float32 where it would move boxes."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Self

import torch


@dataclass(frozen=True, slots=True)
class Precision:
    """How a model computes: exactly, or with its matrix products in a shorter type.

    Detectors that refine boxes layer by layer lose pixels when the boxes themselves are kept in eight bits of
    mantissa. Their weights are loaded and stay in float32, and autocast shortens what is multiplied.
    """

    device: torch.device
    short: torch.dtype | None

    @classmethod
    def of(cls, model: Any, dtype: torch.dtype) -> Self:  # noqa: ANN401 - any model of transformers
        """Have a model in float32 compute in this type."""
        return cls(model.device, None if dtype is torch.float32 else dtype)

    def running(self) -> AbstractContextManager[Any]:
        """Give the context that model work runs in."""
        return torch.autocast(self.device.type, dtype=self.short) if self.short else nullcontext()
