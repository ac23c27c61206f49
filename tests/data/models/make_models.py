"""Make the model files beside this one: `pip install onnx tensorflow-cpu`, then run it.

They are kept, and small, because neither package can live beside the SmartRedis wheel's numpy 1. What each
computes is said where it is made.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import tensorflow as tf
from onnx import TensorProto, helper
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

HERE = Path(__file__).parent
FLOAT = TensorProto.FLOAT
BATCH = ["n", 2]


def value(name, shape=BATCH, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def graph_of(name, nodes, inputs, outputs, weights=()):
    return helper.make_graph(nodes, name, inputs, outputs, list(weights))


def onnx_file(name, nodes, inputs, outputs, weights=()):
    graph = graph_of(name, nodes, inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    model.producer_name = ""
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
    return model


def weight(name, array):
    return onnx.numpy_helper.from_array(np.asarray(array), name)


def onnx_models():
    node = helper.make_node
    # y = x + (1, 2); any number of rows
    add = [weight("w", np.array([1, 2], np.float32))]
    onnx_file("shift", [node("Add", ["x", "w"], ["y"])], [value("x")], [value("y")], add)
    # s = a + b, d = a - b
    nodes = [node("Add", ["a", "b"], ["s"]), node("Sub", ["a", "b"], ["d"])]
    onnx_file("sum_and_difference", nodes, [value("a"), value("b")], [value("s"), value("d")])
    # y = 2x, of exactly two rows and three columns
    two = [weight("w", np.array(2, np.float32))]
    fixed = [2, 3]
    onnx_file("fixed", [node("Mul", ["X", "w"], ["Y"])], [value("X", fixed)], [value("Y", fixed)], two)
    # the same in 64 bits
    wide = TensorProto.DOUBLE
    two = [weight("w", np.array(2, np.float64))]
    onnx_file(
        "double", [node("Mul", ["x", "w"], ["y"])], [value("x", BATCH, wide)], [value("y", BATCH, wide)], two
    )
    # y = x + 1 for integers
    whole = TensorProto.INT64
    one = [weight("w", np.array(1, np.int64))]
    onnx_file(
        "integer",
        [node("Add", ["x", "w"], ["y"])],
        [value("x", BATCH, whole)],
        [value("y", BATCH, whole)],
        one,
    )
    # y = x W, wide enough for bfloat16 to show
    matrix = [weight("w", np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32))]
    shape = ["n", 64]
    onnx_file("matrix", [node("MatMul", ["x", "w"], ["y"])], [value("x", shape)], [value("y", shape)], matrix)
    # the rows of x from the tenth on: none, mostly
    rows = [weight(n, np.array([v], np.int64)) for n, v in (("from", 10), ("to", 1000), ("axis", 0))]
    slice_ = [node("Slice", ["x", "from", "to", "axis"], ["y"])]
    onnx_file("from_the_tenth_row", slice_, [value("x")], [value("y", ["m", 2])], rows)
    # the sum of everything, without dimensions
    onnx_file("total", [node("ReduceSum", ["x"], ["y"], keepdims=0)], [value("x")], [value("y", [])])
    # as many zeros as the first number says
    zeros = [node("ConstantOfShape", ["n"], ["y"])]
    onnx_file("zeros", zeros, [value("n", [1], whole)], [value("y", ["m"])])
    loop()
    outside()


def loop():
    """Adds `step` to `start`, `count` times, or for ever as long as `again`."""
    node = helper.make_node
    body = graph_of(
        "body",
        [node("Identity", ["again_in"], ["again_out"]), node("Add", ["x", "step"], ["x_out"])],
        [
            value("i", [], TensorProto.INT64),
            value("again_in", [], TensorProto.BOOL),
            value("x", [1]),
        ],
        [value("again_out", [], TensorProto.BOOL), value("x_out", [1])],
    )
    onnx_file(
        "loop",
        [node("Loop", ["count", "again", "start"], ["y"], body=body)],
        [
            value("step", [1]),
            value("count", [], TensorProto.INT64),
            value("again", [], TensorProto.BOOL),
            value("start", [1]),
        ],
        [value("y", [1])],
    )


def outside():
    """A weight in another file, as a constant inside a branch has it too."""
    node = helper.make_node
    tensor = weight("w", np.array([1, 2], np.float32))
    onnx.external_data_helper.set_external_data(tensor, location="/etc/passwd", length=8)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    onnx_file("external", [node("Add", ["x", "w"], ["y"])], [value("x")], [value("y")], [tensor])
    constant = node("Constant", [], ["c"], value=tensor)
    branch = graph_of("branch", [constant], [], [value("c", [2])])
    choose = node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)
    yes = value("yes", [], TensorProto.BOOL)
    onnx_file("external_in_branch", [choose], [yes], [value("y", [2])])


def tensorflow_models():
    """`mul` = a * b and `sum` = a + b of any number of rows; the same as a SavedModel, unfrozen."""
    with tf.Graph().as_default() as graph:
        a = tf.compat.v1.placeholder(tf.float32, [None, 2], name="a")
        b = tf.compat.v1.placeholder(tf.float32, [None, 2], name="b")
        tf.multiply(a, b, name="mul")
        tf.add(a, b, name="sum")
    (HERE / "frozen.pb").write_bytes(graph.as_graph_def().SerializeToString(deterministic=True))

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def affine(x):
        return x * tf.constant([2.0, 4.0]) + 1.0

    module = tf.Module()
    module.weight = tf.Variable([1.0, 2.0])
    module.__call__ = tf.function(
        lambda x: x * module.weight, input_signature=[tf.TensorSpec([None, 2], tf.float32)]
    )
    tf.saved_model.save(module, "/tmp/saved")
    (HERE / "saved_model.pb").write_bytes(Path("/tmp/saved/saved_model.pb").read_bytes())
    # y = x * (2, 4) + 1
    frozen = convert_variables_to_constants_v2(affine.get_concrete_function())
    made = tf.lite.TFLiteConverter.from_concrete_functions([frozen], affine).convert()
    (HERE / "affine.tflite").write_bytes(made)


if __name__ == "__main__":
    onnx_models()
    tensorflow_models()
