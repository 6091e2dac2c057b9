"""A model from elsewhere, made plain: it computes the same, all of it learns, changes are told."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.errors import ModelError
from pipeline.graph import plain

SHAPE = (9, 8, 3)


def network(body: Callable[[Any], Any]) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = body(inputs)
    x = layers.GlobalAveragePooling2D()(x) if len(x.shape) == 4 else x
    model = keras.Model(inputs, layers.Dense(3, name="logits")(x))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "kernel" in weight.name or weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.2, 1, weight.shape))
    return model


def difference(model: keras.Model, made: keras.Model) -> float:
    images = np.random.default_rng(1).integers(0, 256, (4, *SHAPE)).astype(np.float32)
    one, other = (np.asarray(m(images, training=False), np.float32) for m in (model, made))
    return float(np.max(np.abs(one - other)) / np.max(np.abs(one)))


def backbone(trainable: bool = True) -> keras.Model:
    parts = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()]
    base = keras.Sequential([keras.Input(SHAPE), *parts], name="base")
    base.trainable = trainable
    return base


def kinds(model: keras.Model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers[1:]]


def test_a_plain_model_is_returned_itself() -> None:
    model = network(layers.Conv2D(4, 3))
    made = plain.of(model)
    assert (made.model is model, made.notes) == (True, ())


def single(x: Any) -> Any:
    frozen = layers.Conv2D(4, 3)
    frozen.trainable = False
    return layers.BatchNormalization(trainable=False)(frozen(x))


def deep(x: Any) -> Any:
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, backbone(trainable=False)(inputs), name="outer")(x)


@pytest.mark.parametrize(
    "body", [lambda x: backbone(trainable=False)(x, training=False), single, deep]
)
def test_frozen_layers_learn_again_and_their_number_is_told(body: Callable[[Any], Any]) -> None:
    model = network(body)
    made = plain.of(model)
    assert difference(model, made.model) < 1e-6
    assert all(layer.trainable for layer in made.model.layers)
    assert len(made.model.trainable_weights) == 6  # two kernels with biases, gamma and beta
    assert made.notes[0].startswith("2 of 3 layers with weights were frozen")
    assert len(model.trainable_weights) == 2  # the given model stays as it is


def test_normalizations_that_were_fixed_learn_their_statistics() -> None:
    model = network(lambda x: layers.BatchNormalization()(layers.Conv2D(4, 3)(x), training=False))
    made = plain.of(model)
    (note,) = made.notes
    assert note.startswith("1 batch normalizations were called with training=False")
    norm = made.model.layers[2]
    before = np.array(norm.moving_mean)
    made.model(np.ones((2, *SHAPE), np.float32), training=True)
    assert not np.allclose(before, norm.moving_mean)


def test_as_saved_leaves_layers_frozen_and_says_so() -> None:
    model = network(lambda x: backbone(trainable=False)(x, training=False))
    made = plain.of(model, "as_saved")
    assert [layer.trainable for layer in made.model.layers if layer.weights] == [False, False, True]
    assert made.notes[0].startswith("2 of 3 layers with weights are frozen as saved")
    assert difference(model, made.model) < 1e-6


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_other_precisions_become_float32(policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        model = network(lambda x: backbone()(layers.Rescaling(1 / 255)(x)))
    finally:
        keras.config.set_dtype_policy("float32")
    made = plain.of(model)
    assert {layer.compute_dtype for layer in made.model.layers} == {"float32"}
    assert {weight.dtype for weight in made.model.weights} == {"float32"}
    assert difference(model, made.model) < 0.02
    assert policy in made.notes[0]


def test_what_keras_has_quantized_is_refused_in_words() -> None:
    model = network(layers.Flatten())
    model.quantize("int8")
    with pytest.raises(ModelError, match=r"int8 weights in layer 'logits'.*Give the float model"):
        plain.of(model)


def augmented(x: Any) -> Any:
    inside = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)])
    return layers.Conv2D(4, 3)(layers.RandomContrast(0.2)(inside(x)))


def test_augmentation_is_left_out_and_named() -> None:
    model = network(augmented)
    made = plain.of(model)
    assert kinds(made.model)[0] == "Conv2D"
    assert "RandomFlip, RandomRotation, RandomContrast" in made.notes[0]
    assert difference(model, made.model) < 1e-6


def test_dropout_that_was_active_at_inference_is_told() -> None:
    made = plain.of(network(lambda x: layers.Dropout(0.5, name="mc")(x, training=True)))
    assert "training=True, mc, run as in inference" in made.notes[0]


def test_a_shared_layer_without_weights_becomes_one_for_every_call() -> None:
    act = layers.ReLU(name="act")
    shared = layers.Conv2D(3, 1, name="shared")
    model = network(lambda x: shared(act(shared(act(x)))))
    made = plain.of(model).model
    assert kinds(made).count("ReLU") == 2
    assert kinds(made).count("Conv2D") == 1  # what it has learned stays shared
    assert difference(model, made) < 1e-6


def test_images_of_any_size_stay_so() -> None:
    inputs = keras.Input((None, None, 3), dtype="uint8")
    x = layers.Conv2D(2, 3)(keras.ops.cast(inputs, "float32"))
    model = keras.Model({"image": inputs}, layers.GlobalAveragePooling2D()(keras.ops.relu(x)))
    made = plain.of(model).model
    assert made.input_shape == (None, None, None, 3)
    assert difference(model, made) < 1e-6
