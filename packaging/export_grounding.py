"""Grounding DINO, MM-Grounding-DINO and LLMDet as graphs: of an image of any size, and of a text of any length in it.

Images come one at a time and without padding, so that all that masks padding is left out. The blocks of the text that
do not attend to each other, and the positions in them, are inputs.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from exporting import Names, export, write_description, write_folded
from torch.nn.functional import grid_sample, linear, pad
from transformers.models.swin.modeling_swin import window_partition, window_reverse

from dinox_mcp.backends.local.models.shared import TextSideAttention

MAPS = ("map1", "map2", "map3", "map4")
_ASSUMED = {
    "backbone_config": ("depths", "num_heads", "window_size", "patch_size", "hidden_act", "layer_norm_eps"),
    "text_config": ("num_attention_heads", "hidden_act", "layer_norm_eps"),
    "": (
        "activation_function", "decoder_attention_heads", "decoder_n_points", "embedding_init_target",
        "encoder_attention_heads", "encoder_n_points", "layer_norm_eps", "max_text_len", "num_feature_levels",
        "position_embedding_type", "positional_embedding_temperature", "query_dim", "two_stage",
    ),
}  # fmt: skip
Sizes = Sequence[tuple[Any, Any]]


class _Image(torch.nn.Module):
    """What the model computes of an image alone: four maps of one width, the finest first."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - one of two classes of transformers
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Take pixels (1, 3, height, width); return maps (1, channels, height, width)."""
        maps = _swin(self.model.model.backbone.conv_encoder.model, pixels)
        *plain, coarser = self.model.model.input_proj_vision
        return (*(layer(one) for layer, one in zip(plain, maps, strict=True)), coarser(maps[-1]))


def _swin(backbone: Any, pixels: torch.Tensor) -> list[torch.Tensor]:  # noqa: ANN401
    """Compute the maps of Swin, padded whether or not that is needed: a trace follows one branch only."""
    patches = backbone.swin.embeddings.patch_embeddings
    high, wide = patches.patch_size
    height, width = pixels.shape[2:]
    grid = patches.projection(pad(pixels, (0, -width % wide, 0, -height % high)))
    height, width = grid.shape[2:]
    rows = backbone.swin.embeddings.norm(grid[0].flatten(1).transpose(0, 1))
    maps = []
    for name, stage in zip(backbone.stage_names[1:], backbone.swin.encoder.layers, strict=True):
        for block in stage.blocks:
            rows = _block(block, rows, height, width)
        if name in backbone.out_features:
            maps.append(_grid(backbone.hidden_states_norms[name](rows), height, width).permute(0, 3, 1, 2))
        if stage.downsample is not None:
            even = pad(_grid(rows, height, width), (0, 0, 0, width % 2, 0, height % 2))
            merged = torch.cat([even[:, row::2, column::2] for column in range(2) for row in range(2)], dim=-1)
            height, width = merged.shape[1:3]
            rows = stage.downsample.reduction(stage.downsample.norm(merged.flatten(0, 2)))
    return maps


def _grid(rows: torch.Tensor, height: Any, width: Any) -> torch.Tensor:  # noqa: ANN401 - numbers, traced
    return rows.reshape(1, height, width, int(rows.shape[-1]))


def _block(block: Any, rows: torch.Tensor, height: Any, width: Any) -> torch.Tensor:  # noqa: ANN401
    """Compute a block of Swin of rows (height x width, channels)."""
    side, channels = block.window_size, int(rows.shape[1])
    padded = pad(_grid(block.layernorm_before(rows), height, width), (0, 0, 0, -width % side, 0, -height % side))
    high, wide = padded.shape[1:3]
    windows = window_partition(block.cyclic_shift(padded), side).view(-1, side * side, channels)
    mask = block.get_attn_mask(high, wide, dtype=rows.dtype, device=rows.device)
    attended = block.attention(windows, mask)[0].view(-1, side, side, channels)
    joined = block.cyclic_shift(window_reverse(attended, side, high, wide), reverse=True)
    rows = rows + joined[:, :height, :width].flatten(0, 2)
    return rows + block.mlp(block.layernorm_after(rows))


def _multiply(layer: torch.nn.Linear, rows: torch.Tensor) -> torch.Tensor:
    """Multiply in two dimensions, where product and bias are one operator that takes the weight as it is."""
    flat = linear(rows.reshape(-1, layer.in_features), layer.weight, layer.bias)
    if rows.ndim == 2:  # noqa: PLR2004
        return flat
    if int(rows.shape[0]) == 1:
        return flat.unsqueeze(0)
    return flat.reshape(-1, int(rows.shape[1]), layer.out_features)  # of windows, whose length is fixed


class _Text(torch.nn.Module):
    """What the model computes of a text and an image: for each candidate a logit of each token, and a box."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - one of two classes of transformers
        super().__init__()
        self.model = model
        for module in model.modules():
            name = type(module).__name__
            if name == "MultiScaleDeformableAttention":
                module.forward = _sample
            elif name.endswith("BiMultiHeadAttention"):
                module.forward = MethodType(TextSideAttention.forward, _Unregistered(module))

    def forward(
        self, ids: torch.Tensor, places: torch.Tensor, blocks: torch.Tensor, *maps: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Find candidates.

        Args:
            ids: The tokens (1, tokens).
            places: The place of each in its block (1, tokens).
            blocks: Which attend to which (tokens, tokens), 1 or 0.
            maps: Those of the image.

        Returns:
            Logits (candidates, tokens) and boxes (candidates, 4) by centre and size, from 0 to 1.
        """
        apart = ((1 - blocks) * torch.finfo(torch.float32).min)[None, None]
        text = self._read(ids, places, apart)
        sizes = [one.shape[2:] for one in maps]
        image, text = self._fuse(maps, sizes, text, places, apart)
        queries, references = self._choose(image, sizes, text)
        return self._decode(queries, references, image, sizes, text)

    def _read(self, ids: torch.Tensor, places: torch.Tensor, apart: torch.Tensor) -> torch.Tensor:
        backbone = self.model.model.text_backbone
        rows = backbone.embeddings(input_ids=ids, position_ids=places, token_type_ids=torch.zeros_like(ids))
        for layer in backbone.encoder.layer:
            out = layer(rows, apart)
            rows = out if isinstance(out, torch.Tensor) else out[0]
        projected: torch.Tensor = self.model.model.text_projection(rows)
        return projected

    def _fuse(
        self, maps: Sequence[torch.Tensor], sizes: Sizes, text: torch.Tensor, places: torch.Tensor, apart: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Let image (1, pixels, width) and text attend to each other."""
        model = self.model.model
        positions = torch.cat(
            [
                model.backbone.position_embedding(one, torch.ones_like(one[:, 0])).flatten(2).transpose(1, 2) + embedded
                for one, embedded in zip(maps, model.level_embed, strict=True)
            ],
            dim=1,
        )
        image = torch.cat([one.flatten(2).transpose(1, 2) for one in maps], dim=1)
        centres = torch.cat([_centres(height, width) for height, width in sizes])[None, :, None]
        for layer in model.encoder.layers:
            (image, _), (text, _) = layer.fusion_layer(image, text)
            placed = layer.get_text_position_embeddings(text, None, places)
            text, _ = layer.text_enhancer_layer(text, attention_masks=apart, position_embeddings=placed)
            image, _ = layer.deformable_layer(
                image,
                attention_mask=None,
                position_embeddings=positions,
                reference_points=centres,
                spatial_shapes=_shapes(sizes),
                spatial_shapes_list=sizes,
            )
        return image, text

    def _choose(self, image: torch.Tensor, sizes: Sizes, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Choose the pixels that the text says most about, as the queries and first boxes of the decoder."""
        model, config = self.model.model, self.model.config
        proposals = torch.cat(
            [
                torch.cat([centres, torch.full_like(centres, 0.05 * 2.0**level)], dim=1)
                for level, centres in enumerate(_centres(height, width) for height, width in sizes)
            ]
        )[None]
        inside = ((proposals > 0.01) & (proposals < 0.99)).all(-1, keepdim=True)  # noqa: PLR2004 - as in the model
        logits = torch.log(proposals / (1 - proposals)).masked_fill(~inside, torch.inf)
        candidates = model.enc_output_norm(model.enc_output(image.masked_fill(~inside, 0.0)))
        classes = self._score(model.encoder_output_class_embed, candidates, text)
        boxes = model.encoder_output_bbox_embed(candidates) + logits
        best = torch.topk(classes.amax(-1), config.num_queries, dim=1).indices
        chosen = torch.gather(boxes, 1, best[..., None].expand(-1, -1, 4)).sigmoid()
        return model.query_position_embeddings.weight[None], chosen

    def _decode(
        self, queries: torch.Tensor, boxes: torch.Tensor, image: torch.Tensor, sizes: Sizes, text: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        from transformers.models.grounding_dino.modeling_grounding_dino import encode_sinusoidal_position_embedding

        decoder = self.model.model.decoder
        last = len(decoder.layers) - 1
        for number, layer in enumerate(decoder.layers):
            placed = encode_sinusoidal_position_embedding(boxes, num_pos_feats=self.model.config.d_model // 2)
            (queries,) = layer(
                queries,
                position_embeddings=decoder.reference_points_head(placed),
                reference_points=boxes[:, :, None],
                spatial_shapes=_shapes(sizes),
                spatial_shapes_list=sizes,
                vision_encoder_hidden_states=image,
                text_encoder_hidden_states=text,
            )
            if number < last:
                boxes = (decoder.bbox_embed[number](queries) + _logit(boxes)).sigmoid()
        queries = decoder.layer_norm(queries)
        logits = self._score(self.model.class_embed[last], queries, text)
        boxes = (self.model.bbox_embed[last](queries) + _logit(boxes)).sigmoid()
        return logits[0], boxes[0]

    def _score(self, head: Any, rows: torch.Tensor, text: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        logits = rows @ text.transpose(1, 2)
        return logits / math.sqrt(rows.shape[-1]) + head.bias if hasattr(head, "bias") else logits


class _Unregistered(TextSideAttention):
    """Uses the weights of a layer without being a part of the model, so that they keep their names."""

    def __init__(self, stock: torch.nn.Module) -> None:
        super().__init__(torch.nn.Identity())
        object.__setattr__(self, "stock", stock)
        del self._modules["stock"]


def _centres(height: Any, width: Any) -> torch.Tensor:  # noqa: ANN401 - numbers, traced
    """Return the centres of pixels (height x width, 2), x and y from 0 to 1."""
    y = (torch.arange(height, dtype=torch.float32) + 0.5) / height
    x = (torch.arange(width, dtype=torch.float32) + 0.5) / width
    return torch.stack([x[None].expand(height, width), y[:, None].expand(height, width)], dim=-1).flatten(0, 1)


def _shapes(sizes: Sizes) -> torch.Tensor:
    return torch.stack([torch.stack([torch.as_tensor(side) for side in size]) for size in sizes])


def _logit(share: torch.Tensor) -> torch.Tensor:
    share = share.clamp(1e-5, 1 - 1e-5)
    return torch.log(share / (1 - share))


def _sample(
    value: torch.Tensor,
    _shapes: Any,  # noqa: ANN401
    sizes: Sizes,
    _starts: Any,  # noqa: ANN401
    locations: torch.Tensor,
    weights: torch.Tensor,
    _step: int,
) -> torch.Tensor:
    """Sum what each query attends to, as the stock layer does of one image."""
    heads, width = value.shape[2:]
    values = value[0].permute(1, 2, 0)
    grids = (2 * locations[0] - 1).permute(2, 1, 3, 0, 4)  # (maps, heads, points, queries, 2)
    shares = weights[0].permute(2, 1, 3, 0)  # (maps, heads, points, queries)
    start, total = 0, torch.zeros(1)
    for level, (high, wide) in enumerate(sizes):
        part = values[:, :, start : start + high * wide].reshape(heads, width, high, wide)
        sampled = grid_sample(part, grids[level], mode="bilinear", padding_mode="zeros", align_corners=False)
        total = total + (sampled * shares[level][:, None]).sum(2)
        start = start + high * wide
    return total.permute(2, 0, 1).flatten(1)[None]


def _aliases(key: str) -> list[str]:
    """Return the other names of a weight of a head, the likeliest first: layers may share the head of the first one."""
    first = re.sub(r"^(\w+)\.\d+", r"\1.0", key)
    return list(dict.fromkeys((f"model.decoder.{key}", *((first, f"model.decoder.{first}") if first != key else ()))))


def export_grounding(model: Any, folder: Path, name: str) -> list[Path]:  # noqa: ANN401
    """Write the graphs of a Grounding DINO model.

    Args:
        model: The model of transformers in evaluation mode. Its weights are not written; it is of no use afterwards.
        folder: Where the files go.
        name: What their names begin with.

    Returns:
        The files.
    """
    names, config = Names(model), model.config
    model.set_attn_implementation("eager")
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.forward = MethodType(_multiply, module)
    pixels = torch.zeros(1, 3, 330, 454)  # not a multiple of anything in the model, and of enough pixels for candidates
    with torch.inference_mode():
        maps = _Image(model)(pixels)
    free = {one: {2: f"height{one}", 3: f"width{one}"} for one in MAPS}
    image = export(_Image(model), (pixels,), {"pixels": {2: "height", 3: "width"}}, MAPS, free)
    ids = torch.tensor([[101, 7, 8, 1012, 9, 1012, 102]])
    inputs = (ids, torch.zeros_like(ids), torch.eye(ids.shape[1]), *maps)
    axes = {"ids": {1: "tokens"}, "places": {1: "tokens"}, "blocks": {0: "tokens", 1: "tokens"}} | free
    found = {"logits": {1: "tokens"}, "boxes": {}}
    text = export(_Text(model), inputs, axes, tuple(found), found)
    files, known = write_folded({"image": image, "text": text}, names, folder, name)
    known["aliases"] = {key: _aliases(key) for key, other in names.others() if other == f"model.decoder.{key}"}
    return [*files, write_description(folder, name, config, _ASSUMED, model_type=config.model_type, **known)]
