"""OWL-ViT and OWLv2 as graphs: of images, the same with products of bytes, and of labels."""

from pathlib import Path
from typing import Any

import torch
from exporting import (
    INT8,
    Names,
    export,
    name_as_in_checkpoint,
    shapes,
    shorten_products,
    use_attention_of_onnx_runtime,
    write,
    write_description,
)

_ASSUMED = dict.fromkeys(("vision_config", "text_config"), ("num_attention_heads", "hidden_act", "layer_norm_eps"))


class _Image(torch.nn.Module):
    """What OWL computes of images: for each patch an embedding, a shift and a scale of its scores, a box, a thing."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - one of two classes of transformers
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Take pixels (images, 3, side, side); return arrays whose first axes are (images, patches)."""
        grid = self.model.image_embedder(pixels)[0]
        patches = grid.flatten(1, 2)
        head = self.model.class_head
        classes = head.dense0(patches)
        if self.model.config.model_type == "owlv2":
            things = self.model.objectness_predictor(patches)
        else:
            things = -torch.einsum("bd,bpd->bp", classes.mean(dim=1), classes)
        classes = classes / (torch.linalg.norm(classes, dim=-1, keepdim=True) + 1e-6)
        shift, scale = head.logit_shift(patches), head.elu(head.logit_scale(patches)) + 1
        return classes, shift, scale, self.model.box_predictor(patches, grid), things


class _Text(torch.nn.Module):
    """What OWL computes of labels: a normalised row each."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - one of two classes of transformers
        super().__init__()
        self.tower = model.owlv2 if model.config.model_type == "owlv2" else model.owlvit

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Take token ids and a mask, both (labels, tokens); return rows (labels, width)."""
        pooled = self.tower.text_model(input_ids=ids, attention_mask=mask).pooler_output
        rows: torch.Tensor = self.tower.text_projection(pooled)
        return rows / torch.linalg.norm(rows, dim=-1, keepdim=True)


def export_owl(model: Any, folder: Path, name: str) -> list[Path]:  # noqa: ANN401 - one of two classes of transformers
    """Write the graphs of an OWL-ViT or OWLv2 model.

    Args:
        model: The model of transformers in evaluation mode, with attention "eager"; its weights are not written.
        folder: Where the files go.
        name: What their names begin with.

    Returns:
        The files.
    """
    use_attention_of_onnx_runtime(model.config.vision_config)
    side = model.config.vision_config.image_size
    image = export(
        _Image(model),
        (torch.zeros(1, 3, side, side),),
        {"pixels": {0: "images"}},
        ("classes", "shift", "scale", "boxes", "things"),
    )
    ids = torch.ones(2, model.config.text_config.max_position_embeddings, dtype=torch.int64)
    axes = {0: "labels", 1: "tokens"}
    text = export(_Text(model), (ids, torch.ones_like(ids)), {"ids": axes, "mask": axes}, ("rows",))
    names = Names(model)
    for graph in (image, text):
        name_as_in_checkpoint(graph, names)
    files = [write(image, folder / f"{name}.image.onnx"), write(text, folder / f"{name}.text.onnx")]
    known = {"model_type": model.config.model_type, "image": shapes(image), "text": shapes(text)}
    shorten_products(image, "vision_model.encoder")
    files.append(write(image, folder / f"{name}.image-int8.onnx"))
    known["int8"] = [one.name.removesuffix(INT8) for one in image.graph.initializer if one.name.endswith(INT8)]
    return [*files, write_description(folder, name, model.config, _ASSUMED, **known)]
