"""What is said of the operators of a file agrees with the file."""

import keras
import numpy as np
from keras import layers

from pipeline.export import operators
from pipeline.tflite import convert
from pipeline.tflite.read import read


def test_every_operator_has_its_costs_and_what_it_reads() -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="stem")(inputs)
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.MaxPooling2D(2, name="pool")(layers.Add(name="joined")([x, y]))
    outputs = layers.Dense(3, name="classes")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs)
    stem = model.get_layer("stem")
    kernel = np.asarray(stem.kernel).copy()
    kernel[..., 0] = 0
    stem.set_weights([kernel, np.zeros(4)])
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype("float32")
    content = convert.ptq(model, images)
    graph = read(content)
    rows = {row["kind"]: row for row in operators.rows(content, graph)}
    conv, pool, add = rows["CONV_2D"], rows["MAX_POOL_2D"], rows["ADD"]
    assert (conv["layer"], conv["window"], conv["shape"]) == ("stem", "3x3 /2", [1, 8, 8, 4])
    assert conv["macs"] == 8 * 8 * 4 * 27
    assert conv["bytes"] == 27 * 4 + 4 * 4  # weights of a byte, sums of four
    assert conv["sparsity"] is not None
    assert 0.25 <= conv["sparsity"] < 0.35
    assert conv["dtype"] == "int8"
    assert pool["window"] == "2x2 /2"
    assert {*add["reads"]} == {conv["index"], rows["DEPTHWISE_CONV_2D"]["index"]}
    assert sum(row["macs"] for row in rows.values()) == sum(op.macs for op in graph.operators)
    assert all((row["microseconds"] or 1) > 0 for row in rows.values())
    assert conv["microseconds"] is not None
