"""Attention in pieces, for bfloat16 on a CPU.

Torch's fused attention is no faster in bfloat16 than in float32 there; plain matrix products are, by three times. In
pieces of some hundred rows their intermediate results stay in the processor's cache.
"""

from typing import Any

import torch

_NAME = "dinox_chunked"
_ROWS = 512


def attend_in_chunks(model: Any) -> None:  # noqa: ANN401 - a vision tower of transformers
    """Have a tower without attention masks compute its attention this way; others would lose their masks."""
    from transformers import AttentionInterface

    AttentionInterface.register(_NAME, _attend)
    model.set_attn_implementation(_NAME)


def _attend(
    _module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: None,
    scaling: float | None = None,
    **_options: object,
) -> tuple[torch.Tensor, None]:
    """Attend, as transformers asks for it: (batch, heads, tokens, width) to (batch, tokens, heads, width)."""
    batch, heads, tokens, width = query.shape
    out = query.new_empty((batch, tokens, heads, width))
    query = query * (width**-0.5 if scaling is None else scaling)
    for picture in range(batch):
        for head in range(heads):
            keys, values = key[picture, head].T, value[picture, head]
            for start in range(0, tokens, _ROWS):
                rows = query[picture, head, start : start + _ROWS]
                out[picture, start : start + _ROWS, head] = torch.mm(torch.mm(rows, keys).softmax(-1), values)
    return out, None
