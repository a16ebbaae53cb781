"""Operations on pictures: convolutions, pooling and resizing. All of them store their results as ONNX does (NCHW)."""

import numpy as np
from builder import NCHW, Builder, Operand, Tensor, constant
from tfjs import Array, Node


def convolve(builder: Builder, node: Node, operands: list[Operand]) -> Tensor:
    """Translate `Conv2D` and `_FusedConv2D`, whose weights are (height, width, channels in, channels out)."""
    return _convolve(builder, node, operands, constant(operands[1]).transpose(3, 2, 0, 1), groups=1)


def convolve_depthwise(builder: Builder, node: Node, operands: list[Operand]) -> Tensor:
    """Translate `DepthwiseConv2dNative`, whose weights are (height, width, channels, results for each channel)."""
    weights = constant(operands[1])
    height, width, channels, _ = weights.shape
    by_result = weights.transpose(2, 3, 0, 1).reshape(-1, 1, height, width)
    return _convolve(builder, node, operands, by_result, groups=channels)


def _convolve(builder: Builder, node: Node, operands: list[Operand], weights: Array, groups: int) -> Tensor:
    picture = builder.arranged(operands[0], NCHW)
    kernel, strides = weights.shape[2:], node.integers("strides")[1:3]
    if set(node.integers("dilations")) != {1}:
        raise NotImplementedError(f"{node.name} is a dilated convolution")
    fused = node.texts("fused_ops")
    bias = [constant(operands[2])] if "BiasAdd" in fused else []
    pads = _pads(node, picture.stored[2:], kernel, strides)
    result = builder.emit("Conv", [picture, weights, *bias], NCHW, group=groups, strides=strides, pads=pads)
    for name in fused:
        if name != "BiasAdd":
            result = activate(builder, name, result)
    return result


def convolve_transposed(builder: Builder, node: Node, operands: list[Operand]) -> Tensor:
    """Translate `Conv2DBackpropInput`, which enlarges: weights are (height, width, channels out, channels in)."""
    height, width = (int(side) for side in constant(operands[0])[1:3])
    weights = constant(operands[1]).transpose(3, 2, 0, 1)
    picture = builder.arranged(operands[2], NCHW)
    strides = node.integers("strides")[1:3]
    # The padding is that of the convolution which would make the small picture from the large one.
    pads = _pads(node, (height, width), weights.shape[2:], strides)
    result = builder.emit("ConvTranspose", [picture, weights], NCHW, strides=strides, pads=pads)
    if result.stored[2:] != (height, width):
        raise ValueError(f"{node.name} gives {result.stored}, not {height} x {width}")
    return result


def pool(builder: Builder, node: Node, operands: list[Operand]) -> Tensor:
    """Translate `MaxPool`."""
    picture = builder.arranged(operands[0], NCHW)
    kernel, strides = node.integers("ksize")[1:3], node.integers("strides")[1:3]
    pads = _pads(node, picture.stored[2:], kernel, strides)
    return builder.emit("MaxPool", [picture], NCHW, kernel_shape=kernel, strides=strides, pads=pads)


def resize(builder: Builder, node: Node, operands: list[Operand]) -> Tensor:
    """Translate `ResizeBilinear`. The factor is kept rather than the size, so that it fits pictures of every size."""
    if not node.flag("half_pixel_centers"):
        raise NotImplementedError(f"{node.name} does not take pixels by their centres")
    picture = builder.arranged(operands[0], NCHW)
    scales = np.array([1, 1, *(constant(operands[1]) / picture.stored[2:])], np.float32)
    mode = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return builder.emit("Resize", [picture, None, scales], NCHW, **mode)


def activate(builder: Builder, name: str, tensor: Tensor) -> Tensor:
    """Apply the function that a layer ends with, by TensorFlow's name."""
    if name == "Relu":
        return builder.emit("Relu", [tensor], tensor.order)
    if name == "Relu6":
        return builder.emit("Clip", [tensor, np.array(0, np.float32), np.array(6, np.float32)], tensor.order)
    raise NotImplementedError(f"the activation {name}")


def _pads(node: Node, sides: tuple[int, ...], kernel: tuple[int, ...] | list[int], strides: list[int]) -> list[int]:
    """Say how many pixels are added at the top, left, bottom and right of a picture.

    TensorFlow's padding "SAME" gives a result of size / stride, rounded up; an odd pixel comes at the end.
    """
    if node.text("padding") == "VALID":
        return [0, 0, 0, 0]
    totals = [
        max((-(-side // stride) - 1) * stride + length - side, 0)
        for side, length, stride in zip(sides, kernel, strides, strict=True)
    ]
    return [total // 2 for total in totals] + [total - total // 2 for total in totals]
