"""Export the graphs of models that ONNX Runtime runs: their structure alone, each weight named as in the checkpoint.

A graph is small, so that it is part of the package; the weights come from the authors' own safetensors files when the
model is loaded (`dinox_mcp.backends.local.checkpoints.graph`). Needs torch, transformers and onnx, and no network:
the architectures are built with random weights.

    python -m packaging.graphs            # writes dinox_mcp/backends/local/graphs/*.onnx
"""

import argparse
import json
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from safetensors import safe_open
from torch.onnx import symbolic_helper
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

FOLDER = Path(__file__).parent.parent / "dinox_mcp/backends/local/graphs"
OPSET = 18
INT8 = "/int8"
SCALE = "/scale"


@torch.library.custom_op("dinox_mcp::attention", mutates_args=())
def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int, scale: float) -> torch.Tensor:
    """Attend without a mask; all are (batch, tokens, width)."""
    split = [one.unflatten(2, (heads, -1)).transpose(1, 2) for one in (query, key, value)]
    attended = torch.nn.functional.scaled_dot_product_attention(*split, scale=scale)
    return attended.transpose(1, 2).flatten(2)


def _attention_node(graph: Any, query: Any, key: Any, value: Any, heads: Any, scale: Any) -> Any:  # noqa: ANN401
    """Write ONNX Runtime's own attention, which never holds all scores of a layer: 622 MB for OWLv2 at 960 pixels."""
    node = graph.op(
        "com.microsoft::MultiHeadAttention",
        query,
        key,
        value,
        num_heads_i=symbolic_helper._parse_arg(heads, "i"),  # noqa: SLF001 - the exporter has no other way
        scale_f=symbolic_helper._parse_arg(scale, "f"),  # noqa: SLF001
    )
    return node.setType(query.type())


def _attend(
    _module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float = 1.0,
    **_: Any,  # noqa: ANN401
) -> tuple[torch.Tensor, None]:
    """Attend as transformers' functions for attention do, which take and return (batch, heads or tokens, ...)."""
    assert attention_mask is None, "only the model of images uses this"  # noqa: S101
    heads = query.shape[1]
    joined = [one.transpose(1, 2).flatten(2) for one in (query, key, value)]
    return _attention(*joined, heads, scaling).unflatten(2, (heads, -1)), None


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
    """Write the graphs of an OWL-ViT or OWLv2 model: of images, the same in int8, and of labels.

    Args:
        model: The model of transformers in evaluation mode, with attention "eager"; its weights are not written.
        folder: Where the files go.
        name: What their names begin with.

    Returns:
        The files.
    """
    ALL_ATTENTION_FUNCTIONS["dinox"] = _attend
    torch.onnx.register_custom_op_symbolic("dinox_mcp::attention", _attention_node, OPSET)
    model.config.vision_config._attn_implementation = "dinox"  # noqa: SLF001 - transformers has no other way for one part
    side = model.config.vision_config.image_size
    image = _export(
        _Image(model),
        (torch.zeros(1, 3, side, side),),
        {"pixels": {0: "images"}},
        ("classes", "shift", "scale", "boxes", "things"),
    )
    ids = torch.ones(2, model.config.text_config.max_position_embeddings, dtype=torch.int64)
    axes = {0: "labels", 1: "tokens"}
    text = _export(_Text(model), (ids, torch.ones_like(ids)), {"ids": axes, "mask": axes}, ("rows",))
    keys = _keys(model)
    for graph in (image, text):
        _name_as_in_checkpoint(graph, model, keys)
    files = [_write(image, folder / f"{name}.image.onnx"), _write(text, folder / f"{name}.text.onnx")]
    known = {"model_type": model.config.model_type, "image": _shapes(image), "text": _shapes(text)}
    _shorten_products(image, "vision_model.encoder")
    files.append(_write(image, folder / f"{name}.image-int8.onnx"))
    known["int8"] = [one.name.removesuffix(INT8) for one in image.graph.initializer if one.name.endswith(INT8)]
    known["config"] = {part: _described(getattr(model.config, part)) for part in ("vision_config", "text_config")}
    description = folder / f"{name}.json"
    description.write_text(json.dumps(known, separators=(",", ":")) + "\n", encoding="utf-8")
    return [*files, description]


def _described(part: Any) -> dict[str, Any]:  # noqa: ANN401 - a configuration of transformers
    """Return what the shapes of the weights do not show."""
    return {key: getattr(part, key) for key in ("num_attention_heads", "hidden_act", "layer_norm_eps")}


def _shapes(graph: onnx.ModelProto) -> dict[str, list[int]]:
    return {tensor.name: list(tensor.dims) for tensor in graph.graph.initializer}


def _export(
    module: torch.nn.Module,
    arguments: tuple[torch.Tensor, ...],
    axes: dict[str, dict[int, str]],
    outputs: Sequence[str],
) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the newer exporter needs more packages, and folds weights
        path = Path(folder) / "graph.onnx"
        torch.onnx.export(
            module.eval(),
            arguments,
            str(path),
            input_names=list(axes),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            custom_opsets={"com.microsoft": 1},
            dynamo=False,
            do_constant_folding=False,  # a folded weight would no longer be that of the checkpoint
        )
        return onnx.load(path)


def _keys(model: Any) -> set[str]:  # noqa: ANN401
    """Return the names that the weights have in a checkpoint, which stores shared ones once."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, safe_serialization=True)
        with safe_open(Path(folder) / "model.safetensors", "np") as file:
            return set(file.keys())


def _name_as_in_checkpoint(graph: onnx.ModelProto, model: Any, keys: Iterable[str]) -> None:  # noqa: ANN401
    """Give each initializer its name in the checkpoint, and take its values away."""
    known = set(keys)
    tensors = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))
    by_address = {tensors[key].data_ptr(): key for key in known if key in tensors}
    names = {}
    for tensor in graph.graph.initializer:
        inner = tensor.name.partition(".")[2]
        inner = inner if inner in tensors else next(key for key in tensors if key.endswith(f".{inner}"))
        names[tensor.name] = inner if inner in known else by_address[tensors[inner].data_ptr()]
        tensor.name = names[tensor.name]
        _make_external(tensor)
    for node in graph.graph.node:
        node.input[:] = [names.get(one, one) for one in node.input]


def _make_external(tensor: TensorProto) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "checkpoint"


def _shorten_products(graph: onnx.ModelProto, part: str) -> None:
    """Replace the matrix products of a part of the model by products of bytes.

    The weight `w` (out, in) becomes the initializers `w/int8` (in, out) and `w/scale` (out,), which are computed when
    the model is loaded. What it is multiplied by is quantized anew each time, by its own range.
    """
    by_output = {node.output[0]: node for node in graph.graph.node}
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    kept = []
    for node in graph.graph.node:
        transpose = by_output.get(node.input[1]) if node.op_type == "MatMul" else None
        weight = transpose.input[0] if transpose is not None and transpose.op_type == "Transpose" else ""
        if weight in weights and part in weight:
            kept += _product_of_bytes(graph, node, weights[weight])
        else:
            kept.append(node)
    used = {name for node in kept for name in node.input}
    kept = [node for node in kept if node.op_type != "Transpose" or node.output[0] in used]
    used = {name for node in kept for name in node.input}
    del graph.graph.node[:]
    graph.graph.node.extend(kept)
    initializers = [tensor for tensor in graph.graph.initializer if tensor.name in used]
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(initializers)


def _product_of_bytes(graph: onnx.ModelProto, product: onnx.NodeProto, weight: TensorProto) -> list[onnx.NodeProto]:
    name = weight.name
    rows, columns = weight.dims
    for suffix, kind, dims in ((INT8, TensorProto.INT8, (columns, rows)), (SCALE, TensorProto.FLOAT, (rows,))):
        tensor = TensorProto(name=name + suffix, data_type=kind, dims=dims)
        _make_external(tensor)
        graph.graph.initializer.append(tensor)
    source = product.input[0]
    return [
        helper.make_node("DynamicQuantizeLinear", [source], [f"{name}/a", f"{name}/a_scale", f"{name}/a_zero"]),
        helper.make_node("MatMulInteger", [f"{name}/a", name + INT8, f"{name}/a_zero"], [f"{name}/sum"]),
        helper.make_node("Cast", [f"{name}/sum"], [f"{name}/float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}/a_scale", name + SCALE], [f"{name}/both"]),
        helper.make_node("Mul", [f"{name}/float", f"{name}/both"], list(product.output)),
    ]


def _write(graph: onnx.ModelProto, path: Path) -> Path:
    """Write a graph without what only a debugger needs."""
    slim = onnx.ModelProto()
    slim.CopyFrom(graph)
    del slim.graph.value_info[:]
    for node in slim.graph.node:
        node.ClearField("doc_string")
        node.ClearField("name")
        del node.metadata_props[:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(slim.SerializeToString())
    return path


def _owlv2_base() -> Any:  # noqa: ANN401
    from transformers import Owlv2Config, Owlv2ForObjectDetection

    config = Owlv2Config(attn_implementation="eager")
    config.vision_config.image_size, config.vision_config.patch_size = 960, 16
    return Owlv2ForObjectDetection(config)


def _owlvit_base_32() -> Any:  # noqa: ANN401
    from transformers import OwlViTConfig, OwlViTForObjectDetection

    config = OwlViTConfig(attn_implementation="eager")
    config.vision_config.image_size, config.vision_config.patch_size = 768, 32
    return OwlViTForObjectDetection(config)


ARCHITECTURES: dict[str, Callable[[], Any]] = {"owlv2-base": _owlv2_base, "owlvit-base-32": _owlvit_base_32}


def main() -> None:
    """Export all, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(ARCHITECTURES)}")
    for name in parser.parse_args().names or ARCHITECTURES:
        for path in export_owl(ARCHITECTURES[name]().eval(), FOLDER, name):
            print(f"{path.relative_to(FOLDER.parents[3])}: {path.stat().st_size / 1024:.0f} KiB")  # noqa: T201 - it is a program


if __name__ == "__main__":
    main()
