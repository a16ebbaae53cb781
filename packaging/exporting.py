"""What the exports of graphs share: a module of torch becomes a graph whose weights have the checkpoint's names."""

import hashlib
import json
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from safetensors.torch import load_file
from torch.onnx import symbolic_helper
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

OPSET = 18
INT8 = "/int8"
SCALE = "/scale"
_DOMAINS = {"", "com.microsoft"}


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
    assert attention_mask is None, "the operator is exported without a mask"  # noqa: S101
    heads = query.shape[1]
    joined = [one.transpose(1, 2).flatten(2) for one in (query, key, value)]
    return _attention(*joined, heads, scaling).unflatten(2, (heads, -1)), None


def use_attention_of_onnx_runtime(*parts: Any) -> None:  # noqa: ANN401 - configurations of transformers
    """Have the attention of parts of a model, by their configurations, exported as one operator."""
    ALL_ATTENTION_FUNCTIONS["dinox"] = _attend
    torch.onnx.register_custom_op_symbolic("dinox_mcp::attention", _attention_node, OPSET)
    for part in parts:
        part._attn_implementation = "dinox"  # noqa: SLF001 - transformers has no other way for one part


def export(
    module: torch.nn.Module,
    arguments: tuple[torch.Tensor, ...],
    axes: dict[str, dict[int, str]],
    outputs: Sequence[str],
    free: Mapping[str, dict[int, str]] | None = None,
) -> onnx.ModelProto:
    """Export a module.

    Args:
        module: The module.
        arguments: An example of its inputs.
        axes: The names of its inputs, in their order, each with the axes of any length.
        outputs: The names of its outputs.
        free: Those of the outputs' axes whose length the exporter does not infer.
    """
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the newer exporter needs more packages, and folds weights
        path = Path(folder) / "graph.onnx"
        torch.onnx.export(
            module.eval(),
            arguments,
            str(path),
            input_names=list(axes),
            output_names=list(outputs),
            dynamic_axes={**axes, **(free or {})},
            opset_version=OPSET,
            custom_opsets={"com.microsoft": 1},
            dynamo=False,
            do_constant_folding=False,  # a folded weight would no longer be that of the checkpoint
        )
        return onnx.load(path)


def shake(model: torch.nn.Module) -> Any:  # noqa: ANN401 - any model of transformers
    """Make all weights of a model differ: the exporter merges equal ones, which differ in a trained checkpoint."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in filter(torch.is_floating_point, model.state_dict().values()):  # buffers, too
            weight.add_(torch.randn(weight.shape, generator=generator) * 1e-3)
    return model.eval()


class Names:
    """The names that the weights of a model have in its checkpoint, where transformers may call them otherwise.

    Args:
        model: A model of transformers whose weights all differ.
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401
        tensors = dict(model.named_parameters(remove_duplicate=False)) | dict(
            model.named_buffers(remove_duplicate=False)
        )
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder, safe_serialization=True)
            saved = load_file(Path(folder) / "model.safetensors")
        by_content = {_digest(tensor): key for key, tensor in saved.items()}
        self._of = {
            name: name if name in saved else by_content.get(_digest(tensor), "") for name, tensor in tensors.items()
        }

    def __getitem__(self, exported: str) -> str:
        """Return the name in the checkpoint of a weight as the exporter calls it: within the exported module."""
        inner = exported.partition(".")[2]
        full = inner if inner in self._of else next(name for name in self._of if name.endswith(f".{inner}"))
        assert self._of[full], f"{full} is not in the checkpoint"  # noqa: S101
        return self._of[full]

    def others(self) -> Iterator[tuple[str, str]]:
        """List the weights that the model has under two names, by the one in the checkpoint, with the other."""
        return ((key, name) for name, key in self._of.items() if name != key == self._of.get(key))


def _digest(tensor: torch.Tensor) -> bytes:
    values = tensor.detach().numpy()
    return hashlib.sha256(f"{values.shape}".encode() + values.tobytes()).digest()


def name_as_in_checkpoint(graph: onnx.ModelProto, names: Names) -> None:
    """Give each initializer its name in the checkpoint, and take its values away."""
    renamed = {}
    for tensor in graph.graph.initializer:
        renamed[tensor.name] = names[tensor.name]
        tensor.name = renamed[tensor.name]
        _make_external(tensor)
    for node in graph.graph.node:
        node.input[:] = [renamed.get(one, one) for one in node.input]


def _make_external(tensor: TensorProto) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "checkpoint"


def fold(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Compute all that does not depend on weights or inputs, such as shapes: half of the nodes, or more."""
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    unknown = onnx.ModelProto()
    unknown.CopyFrom(graph)
    del unknown.graph.initializer[:]
    for name, tensor in weights.items():
        unknown.graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "graph.onnx")
        onnxruntime.InferenceSession(unknown.SerializeToString(), options, providers=["CPUExecutionProvider"])
        folded = onnx.load(options.optimized_model_filepath)
    used = {name for node in folded.graph.node for name in node.input}
    inputs = [one for one in folded.graph.input if one.name not in weights]
    del folded.graph.input[:]
    folded.graph.input.extend(inputs)
    folded.graph.initializer.extend(tensor for name, tensor in weights.items() if name in used)
    domains = [one for one in folded.opset_import if one.domain in _DOMAINS]
    del folded.opset_import[:]
    folded.opset_import.extend(domains)
    shorten_names(folded)
    return folded


def shorten_names(graph: onnx.ModelProto) -> None:
    """Number the values between nodes, and constants: their names are half of the file."""
    kept = {one.name for one in (*graph.graph.input, *graph.graph.output)} | set(shapes(graph))
    numbers: dict[str, str] = {"": ""}

    def short(name: str) -> str:
        return name if name in kept else numbers.setdefault(name, f"{len(numbers):x}")

    for node in graph.graph.node:
        node.input[:] = map(short, node.input)
        node.output[:] = map(short, node.output)
    for tensor in graph.graph.initializer:
        tensor.name = short(tensor.name)


def shapes(graph: onnx.ModelProto) -> dict[str, list[int]]:
    """Return the shape of each weight of a graph."""
    external = (one for one in graph.graph.initializer if one.data_location == TensorProto.EXTERNAL)
    return {tensor.name: list(tensor.dims) for tensor in external}


def write_folded(
    graphs: Mapping[str, onnx.ModelProto], names: Names, folder: Path, name: str
) -> tuple[list[Path], dict[str, Any]]:
    """Write graphs by their kinds, without what can be computed now; return the files, and the shapes by the kinds."""
    files, known = [], {}
    for kind, graph in graphs.items():
        name_as_in_checkpoint(graph, names)
        folded = fold(graph)
        known[kind] = shapes(folded)
        files.append(write(folded, folder / f"{name}.{kind}.onnx"))
    return files, known


def write_description(folder: Path, name: str, config: Any, assumed: Mapping[str, Iterable[str]], **known: Any) -> Path:  # noqa: ANN401
    """Write which checkpoints the graphs are of.

    Args:
        folder: Where the file goes.
        name: What its name begins with.
        config: The configuration of the model.
        assumed: What the graphs take for granted of it, and the shapes of the weights do not show, by its parts, such
            as "text_config" or "a.b"; "" is the configuration itself.
        known: What else an `Architecture` says.
    """
    described = {part: {key: getattr(_part(config, part), key) for key in keys} for part, keys in assumed.items()}
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**known, "config": described}, separators=(",", ":")) + "\n", encoding="utf-8")
    return path


def _part(config: Any, path: str) -> Any:  # noqa: ANN401 - configurations of transformers
    for key in filter(None, path.split(".")):
        config = getattr(config, key)
    return config


def shorten_products(graph: onnx.ModelProto, part: str) -> None:
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


def write(graph: onnx.ModelProto, path: Path) -> Path:
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
