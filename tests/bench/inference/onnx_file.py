"""A perceptron as an ONNX file, in the format's own bytes: no package that writes it is installed here."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

VARINT, BYTES = 0, 2
FLOAT, INT_ATTRIBUTE = 1, 2
IR_VERSION, OPSET = 8, 13


def perceptron(layers: nn.Sequential, width: int) -> bytes:
    """Return linear layers of one width with ReLU between, input `x` and output `y`, any batch."""
    nodes, weights, value = [], [], "x"
    for i, layer in enumerate(layers):
        made = "y" if i == len(layers) - 1 else f"v{i}"
        if isinstance(layer, nn.Linear):
            names = (f"w{i}", f"b{i}")
            weights += [_tensor(n, t) for n, t in zip(names, (layer.weight, layer.bias), strict=True)]
            nodes.append(_node("Gemm", (value, *names), made, transposed=True))
        else:
            nodes.append(_node("Relu", (value,), made))
        value = made
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, b"mlp")
    graph += b"".join(_field(5, weight) for weight in weights)
    graph += _field(11, _value("x", width)) + _field(12, _value("y", width))
    return _number(1, IR_VERSION) + _field(7, graph) + _field(8, _number(2, OPSET))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | VARINT) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | BYTES) + _varint(len(content)) + content


def _node(kind: str, inputs: Sequence[str], output: str, *, transposed: bool = False) -> bytes:
    node = b"".join(_field(1, name.encode()) for name in inputs) + _field(2, output.encode())
    node += _field(4, kind.encode())
    if transposed:
        node += _field(5, _field(1, b"transB") + _number(3, 1) + _number(20, INT_ATTRIBUTE))
    return node


def _tensor(name: str, array: torch.Tensor) -> bytes:
    dims = b"".join(_number(1, size) for size in array.shape)
    raw = array.detach().numpy().tobytes()
    return dims + _number(2, FLOAT) + _field(8, name.encode()) + _field(9, raw)


def _value(name: str, width: int) -> bytes:
    shape = _field(1, _field(2, b"batch")) + _field(1, _number(1, width))
    tensor = _number(1, FLOAT) + _field(2, shape)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))
