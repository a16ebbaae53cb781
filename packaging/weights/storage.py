"""Stores a model's weights in fewer bytes. The model widens them by itself, once, when onnxruntime loads it."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tfjs import Array

# Smaller constants stay as they are: the names and operations that widen them would take more than is saved.
_SMALLEST = {"float16": 16, "int8": 256}


def store(model: onnx.ModelProto, storage: str) -> onnx.ModelProto:
    """Make the model that is shipped from one with float32 weights.

    With `float16` all weights are halved. With `int8`, the weights of convolutions are whole numbers from -127 to 127
    with one factor for each of their channels, and the other constants are halved.
    """
    kernels = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    constants: list[onnx.TensorProto] = []
    widening: list[onnx.NodeProto] = []
    for constant in model.graph.initializer:
        value = numpy_helper.to_array(constant)
        if value.dtype != np.float32 or value.size < _SMALLEST[storage]:
            constants.append(constant)
        elif storage == "int8" and constant.name in kernels:
            _as_bytes(constant.name, value, constants, widening)
        else:
            _halved(constant.name, value, constants, widening)
    stored = onnx.ModelProto()
    stored.CopyFrom(model)
    del stored.graph.initializer[:], stored.graph.node[:]
    stored.graph.initializer.extend(constants)
    stored.graph.node.extend([*widening, *model.graph.node])
    onnx.checker.check_model(stored)
    return stored


def _as_bytes(name: str, value: Array, constants: list[onnx.TensorProto], widening: list[onnx.NodeProto]) -> None:
    """Store the weights of a convolution as bytes, with a factor for each channel of its result."""
    factors = np.abs(value).max(axis=(1, 2, 3), keepdims=True) / np.float32(127)
    factors[factors == 0] = 1
    constants.append(numpy_helper.from_array(np.round(value / factors).astype(np.int8), f"{name}_bytes"))
    constants.append(numpy_helper.from_array(factors, f"{name}_factors"))
    widening.append(helper.make_node("Cast", [f"{name}_bytes"], [f"{name}_wide"], to=TensorProto.FLOAT))
    widening.append(helper.make_node("Mul", [f"{name}_wide", f"{name}_factors"], [name]))


def _halved(name: str, value: Array, constants: list[onnx.TensorProto], widening: list[onnx.NodeProto]) -> None:
    """Store a constant as float16. The npm package has float16 values, so nothing is lost."""
    half = value.astype(np.float16)
    if not np.array_equal(half, value):
        raise ValueError(f"{name} has values that float16 cannot hold exactly")
    constants.append(numpy_helper.from_array(half, f"{name}_half"))
    widening.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
