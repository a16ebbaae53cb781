"""SAM 2 as graphs: of an image, and of the masks of boxes in it."""

from pathlib import Path
from types import MethodType
from typing import Any

import torch
from exporting import Names, export, use_attention_of_onnx_runtime, write_description, write_folded

_ASSUMED = {
    "vision_config": ("fpn_top_down_levels", "num_feature_levels"),
    "vision_config.backbone_config": (
        "num_attention_heads_per_stage", "global_attention_blocks", "window_size_per_stage", "num_query_pool_stages",
        "query_stride", "patch_stride", "patch_padding", "hidden_act", "layer_norm_eps",
    ),
    "prompt_encoder_config": ("image_size", "patch_size"),
    "mask_decoder_config": (
        "num_attention_heads", "dynamic_multimask_via_stability", "dynamic_multimask_stability_delta",
        "dynamic_multimask_stability_thresh",
    ),
}  # fmt: skip


class _Image(torch.nn.Module):
    """What SAM 2 computes of an image: three maps, the finest first."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - of transformers
        super().__init__()
        self.model = model
        model.vision_encoder.backbone._get_pos_embed = MethodType(_positions, model.vision_encoder.backbone)  # noqa: SLF001

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Take pixels (1, 3, side, side); return maps (1, channels, height, width)."""
        return tuple(self.model.get_image_embeddings(pixels))


def _positions(backbone: Any, size: tuple[int, int]) -> torch.Tensor:  # noqa: ANN401 - of transformers
    """Compute the positions of patches as the stock method does, which has a form that is not exported well."""
    enlarged = torch.nn.functional.interpolate(backbone.pos_embed, size=size, mode="bicubic")
    window = backbone.pos_embed_window
    tiled = window.repeat(1, 1, size[0] // window.shape[2], size[1] // window.shape[3])
    return (enlarged + tiled).permute(0, 2, 3, 1)


class _Masks(torch.nn.Module):
    """What SAM 2 computes of boxes: for each the one mask that its authors recommend."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - of transformers
        super().__init__()
        self.model = model
        model.prompt_encoder._embed_boxes = MethodType(_embed_boxes, model.prompt_encoder)  # noqa: SLF001

    def forward(
        self, boxes: torch.Tensor, fine: torch.Tensor, middle: torch.Tensor, coarse: torch.Tensor
    ) -> torch.Tensor:
        """Take boxes (n, 4) in pixels of the model's input, and the maps; return logits (n, height, width)."""
        sparse, dense = self.model.prompt_encoder(None, None, boxes[None], None)
        masks = self.model.mask_decoder(
            image_embeddings=coarse,
            image_positional_embeddings=self.model.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
            high_resolution_features=[fine, middle],
        )[0]
        return masks[0, :, 0]


def _embed_boxes(encoder: Any, boxes: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - of transformers
    """Embed boxes as the stock method does, which assigns in place."""
    side = encoder.input_image_size
    corners = encoder.shared_embedding((boxes + 0.5).view(1, -1, 2, 2), (side, side)) + encoder.point_embed.weight[2:4]
    padding = encoder.not_a_point_embed.weight.expand(1, corners.shape[1], 1, -1)
    return torch.cat((corners, padding), dim=2)


def export_sam2(model: Any, folder: Path, name: str) -> list[Path]:  # noqa: ANN401 - of transformers
    """Write the graphs of a SAM 2 model.

    Args:
        model: The `Sam2Model` of transformers in evaluation mode; its weights are not written.
        folder: Where the files go.
        name: What their names begin with.

    Returns:
        The files.
    """
    names, config = Names(model), model.config
    use_attention_of_onnx_runtime(
        config, config.vision_config, config.vision_config.backbone_config, config.mask_decoder_config
    )
    side = config.prompt_encoder_config.image_size
    pixels = torch.zeros(1, 3, side, side)
    with torch.inference_mode():
        maps = _Image(model)(pixels)
    image = export(_Image(model), (pixels,), {"pixels": {}}, ("fine", "middle", "coarse"))
    axes: dict[str, dict[int, str]] = {"boxes": {0: "boxes"}, "fine": {}, "middle": {}, "coarse": {}}
    masks = export(_Masks(model), (torch.tensor([[0.0, 0, 9, 9], [1, 2, 3, 4]]), *maps), axes, ("masks",))
    files, known = write_folded({"image": image, "boxes": masks}, names, folder, name)
    types = {"model_type": "sam2", "also": ["sam2_video"]}
    return [*files, write_description(folder, name, config, _ASSUMED, **types, **known)]
