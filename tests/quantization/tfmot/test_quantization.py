"""Quantization-aware training: what the simulation is made of, keeps and computes."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from keras import layers

from pipeline.errors import ModelError
from pipeline.quantization.tfmot import bridge, quantization

pytestmark = pytest.mark.slow  # it is not the usual engine

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3)).astype(np.float32)
LEVELS = 0.25 * np.arange(-3, 4)


def network(**conv: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv", **conv)(layers.Rescaling(1 / 128, -1.0)(inputs))
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Softmax()(x))


def descend(twin: Any) -> None:
    """Two steps, far enough to be seen."""
    scaled = bridge.rescaled(network(), IMAGES)
    twin.compile(tf_keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy", jit_compile=False)
    for _ in range(2):
        twin.train_on_batch(scaled, np.arange(8) % 2)


def kernel(twin: Any, name: str) -> np.ndarray:
    return np.asarray(twin.get_layer(f"quant_{name}")._weight_vars[0][0])


@pytest.fixture(scope="module")
def plain() -> tuple[keras.Model, Any]:
    """A network, and its simulation without any training."""
    model = network()
    return model, quantization.quantize_aware(model, lambda _: None, IMAGES)[0]


# training


def test_the_twin_is_trained_and_the_model_stays_as_it_is() -> None:
    model = network()
    before = model.get_weights()
    twin, _ = quantization.quantize_aware(model, descend, IMAGES)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.abs(kernel(twin, "conv") - model.get_layer("conv").kernel.numpy()).max() > 1e-3


def test_zeros_stay_zeros_in_training() -> None:
    model = network()
    conv = model.get_layer("conv")
    conv.kernel.assign(np.where(np.abs(conv.kernel) < 0.1, 0.0, conv.kernel))
    before = conv.kernel.numpy()
    after = kernel(quantization.quantize_aware(model, descend, IMAGES)[0], "conv")
    np.testing.assert_array_equal(after == 0, before == 0)
    assert np.abs(after - before).max() > 1e-3


def test_weights_of_one_cluster_stay_together_in_training() -> None:
    model = network()
    conv = model.get_layer("conv")
    before = np.random.default_rng(1).choice(LEVELS, conv.kernel.shape).astype(np.float32)
    conv.kernel.assign(before)
    after = kernel(quantization.quantize_aware(model, descend, IMAGES)[0], "conv")
    assert np.abs(after - before).max() > 1e-3
    for level in LEVELS:
        assert len(np.unique(after[before == level])) == 1


def test_the_input_has_the_range_of_the_pixels(plain: tuple[keras.Model, Any]) -> None:
    _, twin = plain
    (layer,) = (one for one in twin.layers if type(one).__name__ == "QuantizeLayer")
    ends = [float(layer.quantizer_vars[name]) for name in ("min_var", "max_var")]
    assert ends == pytest.approx([-1.0, 255 / 128 - 1])


def test_a_layer_without_a_quantizer_for_its_kernel_is_an_error() -> None:
    inputs = tf_keras.Input((4,))
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(2, name="culprit")(inputs))
    with pytest.raises(ModelError, match=r"'culprit'.*Received: Dense"):
        quantization._constrain(model, {"culprit": None})


def test_ranges_of_activations_begin_as_those_of_the_float_network(tmp_path: Path) -> None:
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = layers.Dense(3, activation="tanh", name="squashed")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Dense(2, name="logits")(x))
    images = np.random.default_rng(0).integers(0, 256, (20, 12, 12, 3)).astype(np.float32)
    found: dict[str, Any] = {}

    def note(twin: Any, *_: Any) -> None:
        found.update({v.name.rpartition("/")[2]: float(v) for v in twin.weights if not v.shape})
        for layer in twin.layers:
            found.update({f"{layer.name}/{v.name}": v.numpy() for v in layer.weights})

    quantization.quantize_aware(model, note, images)

    def ends(name: str) -> list[float]:
        part = keras.Model(inputs, model.get_layer(name).output)
        halves = [np.asarray(part(half)) for half in (images[:10], images[10:])]
        return [float(np.mean([f(x) for x in halves])) for f in (np.min, np.max)]

    def noted(name: str, kind: str) -> list[float]:
        keys = [k for k in found if name in k and f"{kind}_activation_m" in k]
        return sorted(float(found[key]) for key in keys)

    assert noted("quant_conv", "post") == pytest.approx([0.0, ends("conv")[1]], rel=1e-4)
    squashed = model.get_layer("squashed")
    squashed.activation = keras.activations.linear
    assert noted("squashed", "pre") == pytest.approx(
        [min(0.0, ends("squashed")[0]), max(0.0, ends("squashed")[1])], rel=1e-3
    )


# what is asked before


def test_a_model_that_can_be_int8_is_not_refused() -> None:
    model = network()
    before = model.get_weights()
    quantization.require(model)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    "layer", [layers.ELU(name="culprit"), layers.UnitNormalization(name="culprit")]
)
def test_a_model_that_cannot_be_int8_is_refused_by_the_name_of_a_layer(layer: Any) -> None:
    inputs = keras.Input((8, 8, 3))
    with pytest.raises(ModelError, match="culprit"):
        quantization.require(keras.Model(inputs, layer(inputs)))


# what is made of it


def test_the_simulation_takes_raw_images(plain: tuple[keras.Model, Any]) -> None:
    model, twin = plain
    made = quantization.simulation(twin, model)
    expected = np.asarray(twin(bridge.rescaled(model, IMAGES), training=False))
    np.testing.assert_allclose(made.scores(IMAGES), expected, atol=1e-6)
    calls = made.calls(IMAGES)
    np.testing.assert_allclose(calls[-1].made, expected, atol=1e-6)
    assert {"conv", "norm", "relu", "logits"} <= {call.layer for call in calls}


def test_the_simulation_is_close_to_the_float_network(plain: tuple[keras.Model, Any]) -> None:
    model, twin = plain
    found = quantization.simulation(twin, model).scores(IMAGES)
    np.testing.assert_allclose(found, model(IMAGES, training=False), atol=0.02)
    assert np.abs(found - np.asarray(model(IMAGES, training=False))).max() > 0


def test_what_is_saved_takes_one_image_and_scores_it(
    plain: tuple[keras.Model, Any], tmp_path: Path
) -> None:
    model, twin = plain
    quantization.save(twin, tmp_path / "saved")
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    scaled = bridge.rescaled(model, IMAGES)
    assert serve.structured_input_signature[1]["image"].shape == (1, 8, 8, 3)
    found = serve(tf.constant(scaled[:1]))["scores"]
    np.testing.assert_allclose(found, twin(scaled[:1], training=False), atol=1e-6)


def test_the_rows_say_what_became_of_each_layer(tmp_path: Path) -> None:
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, name="conv")(layers.BatchNormalization(name="alone")(inputs))
    x = layers.AveragePooling2D(2, name="pool")(layers.BatchNormalization(name="folded")(x))
    outputs = layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Softmax(name="scores")(outputs))
    _, rows = quantization.quantize_aware(model, lambda *_: None, np.ones((4, 12, 12, 3)))
    said = {row["layer"]: (row["kind"], row["treatment"], row["reason"]) for row in rows}
    assert said["conv"] == ("Conv2D", "quantized", None)
    assert said["alone"][2] == "as a depthwise convolution of one pixel"
    assert said["folded"][2] == "part of the layer before it"
    assert said["pool"][2] == "the operator keeps the scale of its input"
    assert said["scores"] == ("Softmax", "skipped", "int8 softmax has a fixed output scale")
