"""Operations on numbers: sums, products, functions of each element, and the search for the largest."""

from collections.abc import Callable
from functools import reduce

import numpy as np
from builder import Builder, Operand, Tensor, constant, dynamic, plain
from convolutions import activate
from onnx import TensorProto
from tfjs import Node

_TYPES = {"DT_FLOAT": TensorProto.FLOAT, "DT_INT32": TensorProto.INT32}


def element_type(name: str) -> int:
    """Give ONNX's number for a type of TensorFlow."""
    return int(_TYPES[name])


def pairwise(operation: str) -> Callable[[Builder, Node, list[Operand]], Operand]:
    """Translate an operation on two tensors, element by element."""
    return lambda builder, _, operands: combine(builder, operation, operands)


def combine(builder: Builder, operation: str, operands: list[Operand]) -> Operand:
    """Apply an ONNX operation to two operands, element by element, whose shapes may differ as numpy allows."""
    tensors = [operand for operand in operands if isinstance(operand, Tensor)]
    if not tensors:
        if operation != "Add":
            raise NotImplementedError(f"{operation} of two constants")
        return np.add(constant(operands[0]), constant(operands[1]))
    rank = max(len(operand.shape) for operand in operands)
    order = max(tensors, key=lambda tensor: np.prod(tensor.stored)).order
    if any(len(tensor.shape) < rank for tensor in tensors):
        order = plain(rank)  # axes are matched from the last, which holds only in TensorFlow's own order
    arranged = [_arrange(builder, operand, order) for operand in operands]
    return builder.emit(operation, arranged, order)


def _arrange(builder: Builder, operand: Operand, order: tuple[int, ...]) -> Tensor:
    """Store an operand in an order of axes; a constant gets the axes that it lacks, of length 1, in front."""
    if isinstance(operand, Tensor):
        return builder.arranged(operand, plain(len(operand.shape)) if len(operand.shape) < len(order) else order)
    missing = len(order) - operand.ndim
    return builder.arranged(operand.reshape((1,) * missing + operand.shape), order)


def add_all(builder: Builder, _: Node, operands: list[Operand]) -> Operand:
    """Translate `AddN`."""
    return reduce(lambda total, operand: combine(builder, "Add", [total, operand]), operands)


def difference_squared(builder: Builder, _: Node, operands: list[Operand]) -> Operand:
    """Translate `SquaredDifference`."""
    difference = combine(builder, "Sub", operands)
    return combine(builder, "Mul", [difference, difference])


def divide_whole(builder: Builder, node: Node, operands: list[Operand]) -> Operand:
    """Translate `FloorDiv` of whole numbers. ONNX rounds towards zero: the same, as only positions are divided."""
    if node.type("T") != "DT_INT32":
        raise NotImplementedError(f"{node.name} divides real numbers")
    return combine(builder, "Div", operands)


def single(operation: str) -> Callable[[Builder, Node, list[Operand]], Operand]:
    """Translate an operation on each element of one tensor."""
    return lambda builder, _, operands: builder.emit(operation, operands, dynamic(operands[0]).order)


def activation(builder: Builder, node: Node, operands: list[Operand]) -> Tensor:
    """Translate `Relu` and `Relu6` where they are operations of their own."""
    return activate(builder, node.operation, dynamic(operands[0]))


def leaky(builder: Builder, node: Node, operands: list[Operand]) -> Tensor:
    """Translate `LeakyRelu`."""
    return builder.emit("LeakyRelu", operands, dynamic(operands[0]).order, alpha=node.real("alpha"))


def cast(builder: Builder, node: Node, operands: list[Operand]) -> Tensor:
    """Translate `Cast`."""
    return builder.emit("Cast", operands, dynamic(operands[0]).order, to=element_type(node.type("DstT")))


def multiply_matrices(builder: Builder, node: Node, operands: list[Operand]) -> Tensor:
    """Translate `_FusedMatMul` with a bias."""
    if node.texts("fused_ops") != ["BiasAdd"] or node.flag("transpose_a") or node.flag("transpose_b"):
        raise NotImplementedError(f"{node.name} is not a plain product with a bias")
    return builder.emit("Gemm", [builder.arranged(operands[0]), *operands[1:]])


def mean(builder: Builder, node: Node, operands: list[Operand]) -> Tensor:
    """Translate `Mean`."""
    tensor = dynamic(operands[0])
    gone = [int(axis) % len(tensor.shape) for axis in constant(operands[1])]
    if node.flag("keep_dims"):
        raise NotImplementedError(f"{node.name} keeps its axes")
    left = [stored for axis, stored in enumerate(tensor.order) if axis not in gone]
    order = tuple(sorted(left).index(stored) for stored in left)
    return builder.emit("ReduceMean", [tensor], order, axes=[tensor.order[axis] for axis in gone], keepdims=0)


def largest(builder: Builder, _: Node, operands: list[Operand]) -> Tensor:
    """Translate `ArgMax`."""
    tensor = builder.arranged(operands[0])
    axis = int(constant(operands[1])) % len(tensor.shape)
    return builder.emit("Cast", [builder.emit("ArgMax", [tensor], axis=axis, keepdims=0)], to=TensorProto.INT32)


def gather(builder: Builder, _: Node, operands: list[Operand]) -> Tensor:
    """Translate `GatherNd`."""
    places = builder.emit("Cast", [builder.arranged(operands[1])], to=TensorProto.INT64)
    return builder.emit("GatherND", [builder.arranged(operands[0]), places])
