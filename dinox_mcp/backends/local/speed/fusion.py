"""Attention between picture and text with the wide projections on the side of the text.

The stock layer projects 20,000 patches from 256 to 1024 numbers, to compare them with a few dozen tokens. As products
of matrices can be grouped at will, the tokens are projected instead, and the patches stay as they are.
"""

from typing import Any

import torch
from torch.nn import Module

_FAR = 50_000.0  # where the stock layer clamps


class TextSideAttention(Module):
    """Takes the place of Grounding DINO's BiMultiHeadAttention and uses its weights.

    Attention weights are not given back: nothing reads them.
    """

    def __init__(self, stock: Module) -> None:
        super().__init__()
        self.stock: Any = stock

    def forward(
        self,
        vision_features: torch.Tensor,
        text_features: torch.Tensor,
        vision_attention_mask: torch.Tensor | None = None,
        text_attention_mask: torch.Tensor | None = None,
    ) -> tuple[tuple[torch.Tensor, None], tuple[torch.Tensor, None]]:
        """Attend both ways: patches (batch, patches, width) and tokens (batch, tokens, width); masks are True at pads.

        Gives ((what patches take from tokens, None), (what tokens take from patches, None)).
        """
        logits = self._logits(vision_features, text_features)
        logits = (logits - logits.max()).clamp(-_FAR, _FAR)
        back = logits.permute(0, 2, 3, 1)
        back = (back - back.amax(-1, keepdim=True)).clamp(-_FAR, _FAR)
        if vision_attention_mask is not None:
            back = back.masked_fill(vision_attention_mask[:, None, None, :], -torch.inf)
        if text_attention_mask is not None:
            logits = logits.masked_fill(text_attention_mask[:, None, None, :], -torch.inf)
        to_vision = self._from_text(logits.softmax(-1), text_features)
        to_text = self._from_vision(back.softmax(-1), vision_features)
        return (to_vision, None), (to_text, None)

    def _logits(self, vision: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Compare patches with tokens, (batch, patches, heads, tokens): the keys take the queries' projection in."""
        batch, patches, width = vision.shape
        keys = self._heads(self.stock.text_proj(text)) * self.stock.scale
        query = self.stock.vision_proj
        maps = torch.einsum("bthd,hdc->bcht", keys, self._split(query.weight)).reshape(batch, width, -1)
        bias = torch.einsum("bthd,hd->bht", keys, query.bias.view(self.stock.num_heads, -1)).reshape(batch, 1, -1)
        return torch.baddbmm(bias.to(vision.dtype), vision, maps.to(vision.dtype)).view(
            batch, patches, self.stock.num_heads, -1
        )

    def _from_text(self, shares: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Mix tokens for each patch; their values go through the output projection first."""
        values = self._heads(self.stock.values_text_proj(text))
        out = self.stock.out_vision_proj
        heads = out.weight.view(out.out_features, self.stock.num_heads, -1)
        values = torch.einsum("bthd,chd->bhtc", values, heads).flatten(1, 2)
        mixed: torch.Tensor = torch.bmm(shares.flatten(2).to(values.dtype), values) + out.bias
        return mixed

    def _from_vision(self, shares: torch.Tensor, vision: torch.Tensor) -> torch.Tensor:
        """Mix patches for each token, and project the mixture: its shares add up to 1, so the bias stays whole."""
        batch, heads, tokens, _ = shares.shape
        mixed = torch.bmm(shares.flatten(1, 2).to(vision.dtype), vision).view(batch, heads, tokens, -1)
        value = self.stock.values_vision_proj
        rows = torch.einsum("bhtc,hdc->bthd", mixed, self._split(value.weight)) + value.bias.view(1, 1, heads, -1)
        projected: torch.Tensor = self.stock.out_text_proj(rows.flatten(2))
        return projected

    def _heads(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.view(*rows.shape[:-1], self.stock.num_heads, -1)

    def _split(self, weight: torch.Tensor) -> torch.Tensor:
        return weight.view(self.stock.num_heads, -1, weight.shape[-1])


def example(layer: Any) -> dict[str, torch.Tensor]:  # noqa: ANN401 - the stock layer, or its replacement
    """Make up a small question for such a layer, with padding on both sides."""
    stock = layer.stock if isinstance(layer, TextSideAttention) else layer
    generator = torch.Generator().manual_seed(0)
    patches, tokens = torch.arange(23), torch.arange(7)
    return {
        "vision_features": torch.randn((2, len(patches), stock.vision_dim), generator=generator),
        "text_features": torch.randn((2, len(tokens), stock.text_dim), generator=generator),
        "vision_attention_mask": (patches >= len(patches) - 3).expand(2, -1),
        "text_attention_mask": (tokens >= len(tokens) - 2).expand(2, -1),
    }
