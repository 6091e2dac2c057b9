"""Ranges of activations before training: what the float network has, batch by batch."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.quantization.tfmot import quantization, ranges

pytestmark = pytest.mark.slow  # it is not the usual engine

IMAGES = np.random.default_rng(0).integers(0, 256, (25, 6, 6, 2)).astype(np.float32)


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(3, 3, padding="same", activation="relu", name="conv")(inputs)
    dead = layers.Conv2D(3, 3, padding="same", activation="relu", name="dead")(inputs)
    x = layers.Subtract(name="difference")([x, layers.Rescaling(2.0, 5.0, name="twice")(x)])
    x = layers.GlobalAveragePooling2D()(layers.Add(name="sum")([x, dead]))
    model = keras.Model(inputs, layers.Dense(2, activation="tanh", name="squashed")(x))
    model.get_layer("dead").bias.assign([-1e6] * 3)
    return model


@pytest.fixture(scope="module")
def made() -> tuple[keras.Model, Any]:
    model = network()
    return model, quantization.quantize_aware(model, lambda _: None, IMAGES)[0]


def found(twin: Any, name: str, which: str) -> list[float]:
    """Both ends of a range of a layer in the simulation."""
    layer = twin.get_layer(f"quant_{name}")
    if which == "output":
        variables = layer._output_quantizer_vars
    else:
        (activation,) = layer._quantize_activations
        variables = getattr(activation, f"_{which}_activation_vars")
    return [float(variables[end]) for end in ("min_var", "max_var")]


def expected(model: keras.Model, name: str) -> list[float]:
    """The mean over batches of the ends of each, zero among them."""
    part = keras.Model(model.inputs, model.get_layer(name).output)
    batches = [IMAGES[i : i + ranges.BATCH] for i in range(0, len(IMAGES), ranges.BATCH)]
    outputs = [np.asarray(part(batch)) for batch in batches]
    assert len(outputs) == 3
    low = np.mean([min(0.0, x.min()) for x in outputs])
    return [float(low), float(np.mean([max(0.0, x.max()) for x in outputs]))]


@pytest.mark.parametrize(
    ("name", "which"), [("conv", "post"), ("difference", "output"), ("sum", "output")]
)
def test_a_range_is_the_mean_of_what_batches_have(
    made: tuple[keras.Model, Any], name: str, which: str
) -> None:
    model, twin = made
    assert found(twin, name, which) == pytest.approx(expected(model, name), rel=1e-4)


def test_a_range_before_an_activation_is_that_of_what_it_is_given(
    made: tuple[keras.Model, Any],
) -> None:
    model, twin = made
    linear = keras.models.clone_model(model)
    linear.set_weights(model.get_weights())
    linear.get_layer("squashed").activation = keras.activations.linear
    assert found(twin, "squashed", "pre") == pytest.approx(expected(linear, "squashed"), rel=1e-3)


def test_what_is_always_zero_keeps_the_range_it_had(made: tuple[keras.Model, Any]) -> None:
    model, twin = made
    assert expected(model, "dead") == [0.0, 0.0]
    low, high = found(twin, "dead", "post")
    assert low < high


def test_the_range_of_a_layer_that_is_called_twice_holds_what_both_calls_make() -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2))
    shared = layers.Conv2D(2, 3, padding="same", name="shared")
    x = layers.Subtract()([shared(inputs), shared(layers.Rescaling(-3.0)(inputs))])
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    twin = quantization.quantize_aware(model, lambda _: None, IMAGES)[0]
    (activation,) = twin.get_layer("quant_shared")._quantize_activations
    ends = [float(v) for v in activation._post_activation_vars.values()]
    made = [np.asarray(shared(x)) for x in (IMAGES, -3 * IMAGES)]
    batches = [
        (min(m[i : i + 10].min() for m in made), max(m[i : i + 10].max() for m in made))
        for i in range(0, len(IMAGES), ranges.BATCH)
    ]
    assert sorted(ends) == pytest.approx(sorted(np.mean(batches, axis=0)), rel=1e-4)
