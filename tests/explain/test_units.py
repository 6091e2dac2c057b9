"""What a unit sees: foretold from the layers, and found by changing pixels."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pipeline.errors import ModelError
from pipeline.explain import units

Body = Callable[[Any], Any]


def branches(x: Any) -> Any:
    narrow = layers.Conv2D(2, 1, strides=2, name="narrow")(x)
    wide = layers.Conv2D(2, 5, strides=2, padding="same", name="wide")(x)
    return layers.Add(name="last")([narrow, wide])


BODIES: dict[str, Body] = {
    "valid": lambda x: layers.Conv2D(2, 3, name="last")(layers.Conv2D(2, 3)(x)),
    "same": lambda x: layers.Conv2D(2, 3, strides=2, padding="same", name="last")(
        layers.Conv2D(2, 5, strides=2, padding="same")(x)
    ),
    "pooled": lambda x: layers.Conv2D(2, 3, name="last")(layers.MaxPooling2D(2)(x)),
    "dilated": lambda x: layers.Conv2D(2, 3, dilation_rate=2, name="last")(x),
    "padded": lambda x: layers.Conv2D(2, 3, strides=2, name="last")(layers.ZeroPadding2D(1)(x)),
    "uneven": lambda x: layers.DepthwiseConv2D((3, 5), padding="same", name="last")(x),
    "branches": branches,
}


def network(body: Body) -> keras.Model:
    """Positive weights on positive pixels, so that every pixel that is seen counts."""
    inputs = keras.Input((23, 20, 1))
    model = keras.Model(inputs, body(inputs))
    for layer in model.layers:
        layer.set_weights([np.full(w.shape, 0.5, np.float32) for w in layer.get_weights()])
    return model


@pytest.mark.parametrize("name", BODIES)
def test_the_field_holds_exactly_the_pixels_that_matter(name: str) -> None:
    model = network(BODIES[name])
    rows, columns = units.receptive_field(model, "last")
    image = tf.Variable(np.random.default_rng(0).uniform(1, 2, (1, 23, 20, 1)).astype("float32"))
    height, width = model.output_shape[1:3]
    for unit in ((0, 0), (height // 2, width // 2), (height - 1, width - 1)):
        with tf.GradientTape() as tape:
            chosen = model(image)[0, unit[0], unit[1], 0]
        seen = np.asarray(tape.gradient(chosen, image))[0, ..., 0] != 0
        if name == "pooled":  # the largest of each window alone has a gradient
            first, last = rows.span(unit[0], 23), columns.span(unit[1], 20)
            assert not seen[: first[0]].any()
            assert not seen[first[1] :].any()
            assert not seen[:, : last[0]].any()
            continue
        found = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        for places, field, k, length in zip(found, (rows, columns), unit, (23, 20), strict=True):
            assert (places[0], places[-1] + 1) == field.span(k, length)


def test_a_layer_without_places_sees_all() -> None:
    model = network(lambda x: layers.Dense(2, name="last")(layers.Flatten()(x)))
    with pytest.raises(ModelError, match="'last' sees the whole image"):
        units.receptive_field(model, "last")
    with pytest.raises(ModelError, match=r"no such layer.*nowhere.*Known: "):
        units.receptive_field(model, "nowhere")


def test_the_patch_that_a_channel_looks_for_is_found() -> None:
    pattern = np.float32([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    inputs = keras.Input((16, 16, 1))
    conv = layers.Conv2D(2, 3, padding="same", name="crosses")
    model = keras.Model(inputs, conv(inputs))
    kernel = np.zeros((3, 3, 1, 2), np.float32)
    kernel[..., 0, 1] = pattern - pattern.mean()
    conv.set_weights([kernel, np.zeros(2, np.float32)])
    images = np.random.default_rng(0).integers(0, 60, (5, 16, 16, 1)).astype(np.uint8)
    images[3, 5:8, 9:12, 0] = 250 * pattern
    best = units.top_patches(model, "crosses", 1, images, count=2)
    assert (best[0].image, best[0].rows, best[0].columns) == (3, (5, 8), (9, 12))
    assert best[0].value > best[1].value
    with pytest.raises(ModelError, match=r"channels 0\.\.1\. Received: 2"):
        units.top_patches(model, "crosses", 2, images)
