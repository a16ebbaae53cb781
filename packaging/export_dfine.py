"""D-FINE as a graph of images, for any number of kinds.

The layers that score kinds have a row for each kind. They are inputs of the graph, so that one graph serves checkpoints
of COCO, of Objects365, and of any other labels.
"""

from pathlib import Path
from typing import Any

import torch
from exporting import Names, export, name_as_in_checkpoint, shapes, shorten_names, write, write_description

_ASSUMED = {
    "": (
        "activation_function", "anchor_image_size", "batch_norm_eps", "decoder_activation_function",
        "decoder_attention_heads", "decoder_layers", "decoder_method", "decoder_n_points", "decoder_offset_scale",
        "depth_mult", "encode_proj_layers", "encoder_activation_function", "encoder_attention_heads", "encoder_layers",
        "eval_idx", "eval_size", "layer_norm_eps", "layer_scale", "learn_initial_query", "lqe_layers", "max_num_bins",
        "normalize_before", "num_feature_levels", "num_queries", "positional_encoding_temperature", "top_prob_values",
    ),
    "backbone_config": (
        "hidden_act", "model_type", "out_features", "stage_downsample", "stage_downsample_strides", "stage_kernel_size",
        "stage_light_block", "stage_num_blocks", "stage_numb_of_layers", "stem_strides", "use_learnable_affine_block",
    ),
}  # fmt: skip
"""The parts of a configuration that the shapes of the weights do not show; the first is the configuration itself."""


class _Head(torch.nn.Module):
    """A linear layer that is given its weights."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Score hidden states (..., width), as (..., kinds)."""
        return torch.nn.functional.linear(hidden, self.given[0], self.given[1])


class _Detector(torch.nn.Module):
    """What D-FINE computes of images: for each candidate a logit of each kind, and its box."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - a class of transformers
        super().__init__()
        decoder = model.model.decoder
        last = len(decoder.class_embed) - 1
        stock = {
            "model.enc_score_head": model.model.enc_score_head,
            f"model.decoder.class_embed.{last}": decoder.class_embed[last],
        }
        self.weights = {
            f"{layer}.{part}": getattr(of, part) for layer, of in stock.items() for part in ("weight", "bias")
        }
        self.heads = [_Head(), _Head()]
        model.model.enc_score_head, decoder.class_embed[last] = self.heads
        self.model = model

    def forward(self, pixels: torch.Tensor, *weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take pixels (images, 3, side, side) and the `weights` of the heads.

        Returns:
            Logits (images, candidates, kinds), and boxes (images, candidates, 4) by centre and size, from 0 to 1.
        """
        for head, *given in zip(self.heads, weights[::2], weights[1::2], strict=True):
            head.given = given
        found = self.model(pixels)
        return found.logits, found.pred_boxes


def export_dfine(model: Any, folder: Path, name: str, side: int = 640) -> list[Path]:  # noqa: ANN401 - of transformers
    """Write the graph of a D-FINE model.

    Args:
        model: The model of transformers in evaluation mode. Its heads are replaced; its weights are not written.
        folder: Where the files go.
        name: What their names begin with.
        side: The width and height of its input in pixels.

    Returns:
        The files.
    """
    names = Names(model)
    model.set_attn_implementation("eager")
    _thaw(model)
    detector = _Detector(model)
    axes = {"pixels": {0: "images"}} | {name: {0: "kinds"} for name in detector.weights}
    inputs = (torch.zeros(1, 3, side, side), *detector.weights.values())
    graph = export(detector, inputs, axes, ("logits", "boxes"))
    name_as_in_checkpoint(graph, names)
    shorten_names(graph)
    heads = {key: [None, *weight.shape[1:]] for key, weight in detector.weights.items()}
    return [
        write(graph, folder / f"{name}.image.onnx"),
        write_description(
            folder, name, model.config, _ASSUMED, model_type=model.config.model_type, image=shapes(graph) | heads
        ),
    ]


def _thaw(module: torch.nn.Module) -> None:
    """Replace frozen batch norms by plain ones, which ONNX Runtime merges with the convolutions before them."""
    for name, child in module.named_children():
        if type(child).__name__ == "DFineFrozenBatchNorm2d":
            plain = torch.nn.BatchNorm2d(len(child.weight), eps=1e-5)
            plain.load_state_dict(child.state_dict(), strict=False)
            setattr(module, name, plain.eval())
        else:
            _thaw(child)
