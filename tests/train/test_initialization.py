"""LSUV: every layer's output has variance 1 on the images it is given."""

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.graph import walk
from pipeline.train import initialization
from pipeline.train.initialization import lsuv

IMAGES = np.random.default_rng(0).uniform(0, 255, (32, 8, 8, 3)).astype("float32")


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.Rescaling(1 / 128, -1.0)(inputs)
    x = layers.Conv2D(6, 3, padding="same", kernel_initializer="orthogonal", name="one")(x)
    y = layers.Conv2D(6, 3, padding="same", kernel_initializer="orthogonal", name="two")(
        layers.ReLU()(x)
    )
    x = layers.Flatten()(layers.Concatenate()([layers.Add()([x, y]), y]))
    return keras.Model(inputs, layers.Dense(5, name="logits")(x))


def test_the_output_of_every_layer_with_a_kernel_has_variance_1() -> None:
    model = network()
    names = ["one", "two", "logits"]
    probe = keras.Model(model.inputs, [model.get_layer(name).output for name in names])
    before = [float(np.std(x)) for x in probe(IMAGES)]
    assert all(abs(std - 1) > 0.05 for std in before)
    lsuv(model, IMAGES)
    assert [float(np.std(x)) for x in probe(IMAGES)] == pytest.approx([1.0] * 3, rel=1e-3)


def test_a_kernel_is_scaled_and_nothing_else_changes() -> None:
    model, fresh = network(), network()
    lsuv(model, IMAGES)
    for now, was in zip(model.weights, fresh.weights, strict=True):
        ratio = np.divide(now.numpy(), was.numpy(), where=was.numpy() != 0)[was.numpy() != 0]
        assert (ratio.size > 0) == (now.name == "kernel")
        assert np.ptp(ratio) < 1e-3 if ratio.size else not now.numpy().any()


def test_a_layer_whose_output_does_not_vary_is_left_alone() -> None:
    model = network()
    before = model.get_layer("one").kernel.numpy()
    lsuv(model, np.full_like(IMAGES, 128.0))  # zero after the rescaling
    np.testing.assert_array_equal(model.get_layer("one").kernel, before)


def test_merges_take_their_inputs_as_a_list() -> None:
    model = network()
    values = {id(model.inputs[0]): keras.ops.convert_to_tensor(IMAGES)}
    for layer, sources, output in walk.calls(model):
        values[id(output)] = initialization.call(layer, [values[id(t)] for t in sources])
    np.testing.assert_allclose(values[id(model.outputs[0])], model(IMAGES), rtol=1e-4, atol=1e-4)
