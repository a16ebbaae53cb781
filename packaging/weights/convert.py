"""Translates a graph model of TensorFlow.js into an ONNX model, operation by operation."""

from collections.abc import Callable

import arithmetic
import convolutions
import onnx
import shapes
from builder import Builder, Operand, Tensor, dynamic
from pooling import join_padding
from tfjs import Graph, Node

# How each operation is translated. These are the ones that the shipped models have.
_TRANSLATIONS: dict[str, Callable[[Builder, Node, list[Operand]], Operand | list[Tensor]]] = {
    "Add": arithmetic.pairwise("Add"),
    "AddN": arithmetic.add_all,
    "AddV2": arithmetic.pairwise("Add"),
    "ArgMax": arithmetic.largest,
    "Cast": arithmetic.cast,
    "ConcatV2": shapes.concatenate,
    "Conv2D": convolutions.convolve,
    "Conv2DBackpropInput": convolutions.convolve_transposed,
    "DepthwiseConv2dNative": convolutions.convolve_depthwise,
    "ExpandDims": shapes.expand,
    "FloorDiv": arithmetic.divide_whole,
    "FusedDepthwiseConv2dNative": convolutions.convolve_depthwise,
    "GatherNd": arithmetic.gather,
    "Identity": lambda _, __, operands: operands[0],
    "LeakyRelu": arithmetic.leaky,
    "MaxPool": convolutions.pool,
    "Mean": arithmetic.mean,
    "Mul": arithmetic.pairwise("Mul"),
    "Pack": shapes.pack,
    "Pad": shapes.pad,
    "PadV2": shapes.pad,
    "RealDiv": arithmetic.pairwise("Div"),
    "Relu": arithmetic.activation,
    "Relu6": arithmetic.activation,
    "Reshape": shapes.reshape,
    "ResizeBilinear": convolutions.resize,
    "Sigmoid": arithmetic.single("Sigmoid"),
    "SparseToDense": shapes.zeros,
    "SplitV": shapes.split,
    "Sqrt": arithmetic.single("Sqrt"),
    "SquaredDifference": arithmetic.difference_squared,
    "Squeeze": shapes.squeeze,
    "Sub": arithmetic.pairwise("Sub"),
    "Transpose": shapes.transpose,
    "Unpack": shapes.unpack,
    "_FusedConv2D": convolutions.convolve,
    "_FusedMatMul": arithmetic.multiply_matrices,
}


def convert(graph: Graph, *, free_size: bool) -> onnx.ModelProto:
    """Translate a graph model, whose inputs and outputs keep their names.

    Args:
        graph: The model of TensorFlow.js.
        free_size: Whether the result is to take pictures of every height and width that its layers can halve. The
            model must be fully convolutional, with an input of (batch, channels, height, width).
    """
    builder = Builder()
    results: dict[str, list[Operand]] = {}
    for node in graph.nodes:
        operands = [results[name][number] for name, number in node.inputs]
        if node.operation == "Const":
            results[node.name] = [graph.constants[node.name]]
        elif node.operation == "Placeholder":
            element = arithmetic.element_type(node.type("dtype"))
            results[node.name] = [builder.input(node.name, node.shape(), element)]
        elif node.operation in _TRANSLATIONS:
            result = _TRANSLATIONS[node.operation](builder, node, operands)
            results[node.name] = list(result) if isinstance(result, list) else [result]
        else:
            raise NotImplementedError(f"the operation {node.operation} of {node.name}")
    model = builder.model({name: dynamic(results[name][0]) for name in graph.outputs}, free_size=free_size)
    join_padding(model)
    return model
