"""Operations that move, cut and join tensors without changing their numbers."""

import numpy as np
from builder import Builder, Operand, Tensor, constant, dynamic
from tfjs import Array, Node


def transpose(_: Builder, __: Node, operands: list[Operand]) -> Tensor:
    """Translate `Transpose`. Nothing is moved: only the order in which the axes are read changes."""
    tensor = dynamic(operands[0])
    order = tuple(tensor.order[axis] for axis in constant(operands[1]))
    return Tensor(tensor.name, tensor.stored, order, tensor.type)


def reshape(builder: Builder, _: Node, operands: list[Operand]) -> Tensor:
    """Translate `Reshape`. The longest axis is left to be computed: in NanoDet it depends on the picture's size."""
    shape = constant(operands[1]).astype(np.int64)
    if -1 not in shape:
        shape[np.argmax(shape)] = -1
    return builder.emit("Reshape", [builder.arranged(operands[0]), shape])


def pad(builder: Builder, _: Node, operands: list[Operand]) -> Tensor:
    """Translate `Pad`, which adds zeros, and `PadV2`, which adds a given number."""
    padded, counts, *given = operands
    tensor = dynamic(padded)
    value = given[0] if given else np.array(0, np.float32)
    by_place = constant(counts)[np.argsort(tensor.order)].astype(np.int64)
    return builder.emit("Pad", [tensor, by_place.T.reshape(-1), value], tensor.order)


def concatenate(builder: Builder, _: Node, operands: list[Operand]) -> Tensor:
    """Translate `ConcatV2`."""
    *parts, axis = operands
    order = next(part.order for part in parts if isinstance(part, Tensor))
    arranged = [builder.arranged(part, order) for part in parts]
    return builder.emit("Concat", arranged, order, axis=order[int(constant(axis))])


def split(builder: Builder, _: Node, operands: list[Operand]) -> list[Tensor]:
    """Translate `SplitV`."""
    tensor, sizes = dynamic(operands[0]), constant(operands[1]).astype(np.int64)
    axis = tensor.order[int(constant(operands[2]))]
    return builder.emit_many("Split", [tensor, sizes], len(sizes), tensor.order, axis=axis)


def squeeze(builder: Builder, node: Node, operands: list[Operand]) -> Tensor:
    """Translate `Squeeze`."""
    axes = np.array(node.integers("squeeze_dims"), np.int64)
    return builder.emit("Squeeze", [builder.arranged(operands[0]), axes])


def expand(builder: Builder, _: Node, operands: list[Operand]) -> Operand:
    """Translate `ExpandDims`."""
    return _with_axis(builder, operands[0], int(constant(operands[1])))


def unpack(builder: Builder, node: Node, operands: list[Operand]) -> list[Tensor]:
    """Translate `Unpack`, which gives the slices of a tensor along an axis."""
    tensor, axis = builder.arranged(operands[0]), node.integer("axis")
    places = range(tensor.shape[axis])
    return [builder.emit("Gather", [tensor, np.array(place, np.int64)], axis=axis) for place in places]


def pack(builder: Builder, node: Node, operands: list[Operand]) -> Tensor:
    """Translate `Pack`, which stacks tensors along a new axis."""
    axis = node.integer("axis")
    return builder.emit("Concat", [_with_axis(builder, operand, axis) for operand in operands], axis=axis)


def zeros(_: Builder, node: Node, operands: list[Operand]) -> Array:
    """Translate `SparseToDense` of an empty list of places: NanoDet has such constants, left over from its export."""
    places, shape, _values, default = (constant(operand) for operand in operands)
    if places.size:
        raise NotImplementedError(f"{node.name} has places to fill")
    return np.full(shape, default)


def _with_axis(builder: Builder, operand: Operand, axis: int) -> Operand:
    """Add an axis of length 1."""
    if isinstance(operand, Tensor):
        return builder.emit("Unsqueeze", [builder.arranged(operand), np.array([axis], np.int64)])
    return np.expand_dims(operand, axis)
