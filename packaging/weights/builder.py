"""Collects the operations of an ONNX graph, and knows the shape of every value on the way.

TensorFlow orders the axes of a picture as batch, height, width, channels (NHWC); ONNX's convolutions want batch,
channels, height, width (NCHW). A tensor therefore says in which order its axes are stored, and its axes are moved only
where an operation needs another order. Between convolutions nothing is moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference
from tfjs import Array

OPSET = 17  # onnxruntime knows it since 1.12
_IR_VERSION = 8  # the file format that came with that opset

# Where the axes of a TensorFlow picture (NHWC) are stored when its layout is ONNX's (NCHW).
NCHW = (0, 2, 3, 1)


@dataclass(frozen=True)
class Tensor:
    """A value that depends on the model's input. Constants are plain numpy arrays, in TensorFlow's order of axes.

    Attributes:
        name: Its name in the ONNX graph.
        stored: Its shape as stored.
        order: For each of TensorFlow's axes, the stored axis that holds it.
        type: ONNX's number for the type of its elements.
    """

    name: str
    stored: tuple[int, ...]
    order: tuple[int, ...]
    type: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape in TensorFlow's order of axes."""
        return tuple(self.stored[axis] for axis in self.order)


Operand = Tensor | Array
Attribute = int | float | str | Sequence[int]


def plain(rank: int) -> tuple[int, ...]:
    """Give the order of axes that is TensorFlow's own."""
    return tuple(range(rank))


def constant(operand: Operand) -> Array:
    """Give the value of an operand that must be a constant."""
    if isinstance(operand, Tensor):
        raise NotImplementedError(f"{operand.name} depends on the model's input, where a constant is expected")
    return operand


def dynamic(operand: Operand) -> Tensor:
    """Give an operand that must depend on the model's input."""
    if not isinstance(operand, Tensor):
        raise NotImplementedError("a constant stands where only values that depend on the model's input are expected")
    return operand


class Builder:
    """An ONNX graph that is being made."""

    def __init__(self) -> None:
        self._inputs: list[onnx.ValueInfoProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def input(self, name: str, shape: Sequence[int], element: int) -> Tensor:
        """Add an input of the graph."""
        self._inputs.append(helper.make_tensor_value_info(name, element, shape))
        return Tensor(name, tuple(shape), plain(len(shape)), element)

    def constant(self, value: Array) -> Tensor:
        """Add a constant, which is stored as it is."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name))
        return Tensor(name, value.shape, plain(value.ndim), helper.np_dtype_to_tensor_dtype(value.dtype))

    def arranged(self, operand: Operand, order: tuple[int, ...] | None = None) -> Tensor:
        """Give an operand with its axes stored in an order (TensorFlow's own)."""
        order = plain(len(operand.shape)) if order is None else order
        by_place = np.argsort(order)  # for each stored axis, the axis of TensorFlow that it is to hold
        if not isinstance(operand, Tensor):
            return self.constant(operand.transpose(by_place))
        if operand.order == order:
            return operand
        return self.emit("Transpose", [operand], order, perm=[operand.order[axis] for axis in by_place])

    def emit(
        self,
        operation: str,
        operands: Sequence[Operand | None],
        order: tuple[int, ...] | None = None,
        **attributes: Attribute,
    ) -> Tensor:
        """Add an operation with one result, whose axes are stored in an order (TensorFlow's own).

        Operands are taken as they are stored; None stands for one that is left out.
        """
        return self.emit_many(operation, operands, 1, order, **attributes)[0]

    def emit_many(
        self,
        operation: str,
        operands: Sequence[Operand | None],
        results: int,
        order: tuple[int, ...] | None = None,
        **attributes: Attribute,
    ) -> list[Tensor]:
        """Add an operation with several results."""
        tensors = [self.constant(operand) if isinstance(operand, np.ndarray) else operand for operand in operands]
        inputs = [tensor.name if tensor else "" for tensor in tensors]
        number = len(self._nodes)
        outputs = [f"{operation}_{number}" if results == 1 else f"{operation}_{number}_{i}" for i in range(results)]
        node = helper.make_node(operation, inputs, outputs)
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        self._nodes.append(node)
        types = self._result_types(node, [tensor for tensor in tensors if tensor])
        made = []
        for output in outputs:
            stored = tuple(axis.dim_value for axis in types[output].tensor_type.shape.dim)
            made.append(Tensor(output, stored, order or plain(len(stored)), types[output].tensor_type.elem_type))
        return made

    def _result_types(self, node: onnx.NodeProto, tensors: list[Tensor]) -> dict[str, onnx.TypeProto]:
        """Let ONNX say which types and shapes an operation's results have."""
        names = {tensor.name for tensor in tensors}
        return shape_inference.infer_node_outputs(
            onnx.defs.get_schema(node.op_type, OPSET),
            node,
            {tensor.name: helper.make_tensor_type_proto(tensor.type, tensor.stored) for tensor in tensors},
            {constant.name: constant for constant in self._constants if constant.name in names},
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
        )

    def model(self, outputs: dict[str, Tensor], *, free_size: bool) -> onnx.ModelProto:
        """Finish the graph: give it named outputs and check it.

        Args:
            outputs: The results, by the name that they are to have.
            free_size: Whether to declare the input's height and width, and the number of rows of each output, as free.
        """
        declared = []
        for name, tensor in outputs.items():
            result = self.arranged(tensor)
            self._nodes.append(helper.make_node("Identity", [result.name], [name]))
            declared.append(helper.make_tensor_value_info(name, result.type, result.stored))
        if free_size:
            _, _, height, width = self._inputs[0].type.tensor_type.shape.dim
            height.dim_param, width.dim_param = "height", "width"
            for output in declared:
                output.type.tensor_type.shape.dim[1].dim_param = f"rows_{output.name}"
        graph = helper.make_graph(self._nodes, "model", self._inputs, declared, self._constants)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="dinox-mcp")
        onnx.checker.check_model(model)
        return model
