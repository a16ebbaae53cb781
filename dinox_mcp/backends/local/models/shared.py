"""What the families share in torch, such as faster layers for a CPU.

The faster layers replace layers of transformers once they are found to give the same results.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.nn import Module
from torch.nn.functional import embedding_bag, scaled_dot_product_attention

from dinox_mcp.backends.local.checkpoints.device import seconds
from dinox_mcp.backends.local.models.base import Prepared

logger = logging.getLogger(__name__)
Model = TypeVar("Model", bound=Module)
Outputs = tuple[torch.Tensor, ...]


def tokenizer_in(folder: Path) -> Any:  # noqa: ANN401 - of transformers
    """Load the tokenizer of a checkpoint, which is JSON and runs no code."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def of_image(row: int, maps: Iterable[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Copy one image's part of maps (images, ...), so that the others' memory can be freed."""
    return tuple(level[row : row + 1].clone() for level in maps)


def stacked(batch: Iterable[Prepared], device: torch.device) -> torch.Tensor:
    """Put images of one size into one tensor (images, 3, height, width) on a device."""
    return torch.stack([torch.from_numpy(image.pixels) for image in batch]).to(device)


_TOLERANCE = 1e-4
"""Largest difference to the stock layer, as a fraction of its largest output; a hundredth of it was measured."""
_FAR = 50_000.0  # where the stock layer clamps
_NAME = "dinox_chunked"
_ROWS = 512


class BagAttention(Module):
    """Replaces transformers' MultiScaleDeformableAttention, which has no weights of its own."""

    def forward(
        self,
        value: torch.Tensor,
        _shapes: torch.Tensor,
        shapes: Sequence[tuple[int, int]],
        _starts: torch.Tensor,
        locations: torch.Tensor,
        weights: torch.Tensor,
        _step: int,
    ) -> torch.Tensor:
        """Sum what each query attends to.

        `value` is (batch, pixels of all maps, heads, width), `shapes` (height, width) of each map, `locations`
        (batch, queries, heads, maps, points, 2) from 0 to 1 and `weights` the same without the last axis. Gives
        (batch, queries, heads x width).
        """
        batch, pixels, heads, width = value.shape
        queries, maps, points = locations.shape[1], *locations.shape[3:5]
        corners = (batch, queries, heads, maps, points, 4)
        rows = torch.empty(corners, dtype=torch.int32)
        shares = torch.empty(corners)
        first = torch.arange(batch, dtype=torch.int32).view(batch, 1, 1, 1) * pixels
        head = torch.arange(heads, dtype=torch.int32).view(1, 1, heads, 1)
        for level, shape in enumerate(shapes):
            row, share = _corners(locations[:, :, :, level].float(), weights[:, :, :, level].float(), shape)
            for corner in range(4):
                rows[:, :, :, level, :, corner] = (row[corner] + first) * heads + head
                shares[:, :, :, level, :, corner] = share[corner]
            first = first + shape[0] * shape[1]
        bags = (batch * queries * heads, maps * points * 4)
        table = value.float().reshape(batch * pixels * heads, width)
        summed = embedding_bag(rows.view(bags), table, per_sample_weights=shares.view(bags), mode="sum")
        return summed.view(batch, queries, heads * width).to(value.dtype)


def _corners(
    at: torch.Tensor, weight: torch.Tensor, shape: tuple[int, int]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return the four pixels around each point by their index in a map, and the share of each; outside it is 0."""
    height, width = shape
    x, y = at[..., 0] * width - 0.5, at[..., 1] * height - 0.5
    left, top = x.floor(), y.floor()
    columns = _neighbours(left, x - left, width)
    lines = _neighbours(top, y - top, height)
    rows = [line * width + column for line, _ in lines for column, _ in columns]
    shares = [weight * down * across for _, down in lines for _, across in columns]
    return rows, shares


def _neighbours(low: torch.Tensor, part: torch.Tensor, size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the two pixels that a point lies between, along one axis, as (index, share)."""
    inside = [(low >= 0) & (low < size), (low >= -1) & (low < size - 1)]
    shares = [(1 - part) * inside[0], part * inside[1]]
    # Far outside, a float may be larger than an int32: it is clamped first.
    indices = [(low + offset).clamp(0, size - 1).to(torch.int32) for offset in (0, 1)]
    return list(zip(indices, shares, strict=True))


class TextSideAttention(Module):
    """Replaces Grounding DINO's BiMultiHeadAttention and uses its weights.

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
        """Mix patches for each token, and project the mixture: its shares add up to 1, so the bias is added once."""
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


def attend_faster(model: Any) -> None:  # noqa: ANN401 - a vision tower of transformers
    """Make a tower in bfloat16 on a CPU attend in chunks, where torch's own attention is slower.

    The tower must be without attention masks, which would be lost. On a processor with AMX torch's own takes half the
    time, on one that has AVX-512 BF16 alone more than twice the time.
    """
    from transformers import AttentionInterface

    if not _chunks_are_faster():
        return
    AttentionInterface.register(_NAME, _attend)
    model.set_attn_implementation(_NAME)


@cache
@torch.inference_mode()
def _chunks_are_faster() -> bool:
    """Return whether attention in chunks takes less processor time than torch's own, in bfloat16."""
    query = torch.randn((1, 2, 4 * _ROWS, 64), generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    own = min(seconds(lambda: scaled_dot_product_attention(query, query, query)) for _ in range(3))
    return own > min(seconds(lambda: _attend(None, query, query, query, None)) for _ in range(3))


def _attend(
    _module: torch.nn.Module | None,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: None,
    scaling: float | None = None,
    **_options: object,
) -> tuple[torch.Tensor, None]:
    """Attend, with the shapes of transformers: (batch, heads, tokens, width) to (batch, tokens, heads, width)."""
    batch, heads, tokens, width = query.shape
    out = query.new_empty((batch, tokens, heads, width))
    query = query * (width**-0.5 if scaling is None else scaling)
    for image in range(batch):
        for head in range(heads):
            keys, values = key[image, head].T, value[image, head]
            for start in range(0, tokens, _ROWS):
                rows = query[image, head, start : start + _ROWS]
                out[image, start : start + _ROWS, head] = torch.mm(torch.mm(rows, keys).softmax(-1), values)
    return out, None


def speed_up(model: Model) -> Model:
    """Replace what can be faster in a float32 model on a CPU; on other devices nothing was measured to gain."""
    if next(model.parameters()).device.type != "cpu":
        return model
    places = [(parent, name, stock) for parent in model.modules() for name, stock in parent.named_children()]
    for parent, name, stock in places:
        for kind, make, run in _KINDS:
            if type(stock).__name__.endswith(kind):
                faster = make(stock)
                if _agree(stock, faster, run):
                    setattr(parent, name, faster)
                else:
                    logger.warning("%s of this transformers release is not replaced: it computes otherwise", kind)
    return model


@torch.inference_mode()
def _agree(stock: Module, faster: Module, run: Callable[[Module], Outputs]) -> bool:
    try:
        pairs = zip(run(stock), run(faster), strict=True)
        return all(float((one - two).abs().max()) <= _TOLERANCE * float(one.abs().max()) for one, two in pairs)
    except Exception:  # noqa: BLE001 - another release of transformers may call its layers in any other way
        return False


def _run_deformable(layer: Any) -> Outputs:  # noqa: ANN401 - the stock layer, or its replacement
    """Run such a layer on a small input, some of it beyond the edges."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(6, 9), (3, 5), (2, 3), (1, 2)]
    value = torch.randn((2, sum(height * width for height, width in shapes), 2, 8), generator=generator)
    locations = torch.rand((2, 7, 2, len(shapes), 4, 2), generator=generator) * 1.4 - 0.2
    weights = torch.rand((2, 7, 2, len(shapes), 4), generator=generator)
    starts = torch.tensor([0, 54, 69, 75])
    return (layer(value, torch.tensor(shapes), shapes, starts, locations, weights, 64),)


def _run_fusion(layer: Any) -> Outputs:  # noqa: ANN401 - the stock layer, or its replacement
    """Run such a layer on a small input, with padding on both sides."""
    stock = layer.stock if isinstance(layer, TextSideAttention) else layer
    generator = torch.Generator().manual_seed(0)
    patches, tokens = torch.arange(23), torch.arange(7)
    (vision, _), (text, _) = layer(
        vision_features=torch.randn((2, len(patches), stock.vision_dim), generator=generator),
        text_features=torch.randn((2, len(tokens), stock.text_dim), generator=generator),
        vision_attention_mask=(patches >= len(patches) - 3).expand(2, -1),
        text_attention_mask=(tokens >= len(tokens) - 2).expand(2, -1),
    )
    return vision, text


_KINDS: tuple[tuple[str, Callable[[Module], Module], Callable[[Any], Outputs]], ...] = (
    ("MultiScaleDeformableAttention", lambda _stock: BagAttention(), _run_deformable),
    ("BiMultiHeadAttention", TextSideAttention, _run_fusion),
)
