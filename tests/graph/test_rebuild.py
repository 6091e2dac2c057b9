"""A model made anew: the same graph on other layers, another input, or with calls wrapped."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.errors import ModelError
from pipeline.graph import rebuild, walk


def network() -> keras.Model:
    """A shared layer, an operation, and a nested model with a layer of a name that is taken."""
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([keras.Input((6, 6, 3)), layers.Conv2D(3, 3, name="conv")], name="in")
    shared, inputs = layers.Conv2D(3, 1, name="conv"), keras.Input((6, 6, 3))
    x = inner(keras.ops.relu(shared(shared(inputs))))
    return keras.Model(inputs, layers.Dense(2, name="scores")(layers.Flatten(name="flat")(x)))


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)


def test_the_same_layers_with_the_same_weights_compute_the_same() -> None:
    model = network()
    made, replay = rebuild.replayed(model, rebuild.again)
    for old, new in replay.made.values():
        assert old is not new
        new.set_weights(old.get_weights())
    x = images(6, 6, 3)
    np.testing.assert_allclose(made(x), model(x), atol=1e-6)


def test_names_are_kept_and_those_of_nested_layers_are_made_different() -> None:
    made, replay = rebuild.replayed(network(), rebuild.again)
    assert [layer.name for layer in walk.layers(made) if layer.name != "flat"][::2] == [
        "conv",
        "in_conv_0",
    ]
    assert len(replay.made) == 4  # the shared layer is one


def test_layers_can_be_replaced_on_the_way() -> None:
    def wider(layer: Any, config: dict[str, Any]) -> Any:
        more = {"units": 7} if isinstance(layer, layers.Dense) else {}
        return type(layer).from_config({**config, **more})

    made, replay = rebuild.replayed(network(), wider)
    assert made.output_shape == (None, 7)
    old = replay.origins()[id(made.get_layer("scores"))]
    assert (type(old), old.units) == (layers.Dense, 2)


def test_every_call_is_wrapped_with_a_name_of_its_own() -> None:
    model, seen = network(), []

    def wrap(call: Any, name: str) -> Any:
        seen.append(name)
        return call

    x = images(6, 6, 3)
    np.testing.assert_allclose(
        rebuild.called(model, keras.ops.convert_to_tensor(x), wrap), model(x)
    )
    assert len(set(seen)) == len(seen) == 5
    assert {"conv", "in_conv_0", "scores"} <= set(seen)


def test_on_other_images_the_weights_are_those_of_the_origins() -> None:
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="conv")(inputs))
    model = keras.Model(inputs, layers.Dense(2)(x))
    rebuilt = rebuild.on_images(model, (12, 10, 3), layers.Rescaling(0.5))
    made = keras.Model(rebuilt.inputs, rebuilt.outputs)
    rebuild.copy_weights(made, rebuilt)
    assert made.input_shape == (None, 12, 10, 3)
    np.testing.assert_array_equal(made.get_layer("conv").kernel, model.get_layer("conv").kernel)
    small = rebuild.on_images(model, (8, 8, 3), layers.Rescaling(0.5))
    same = keras.Model(small.inputs, small.outputs)
    rebuild.copy_weights(same, small)
    np.testing.assert_allclose(same(images(8, 8, 3)), model(0.5 * images(8, 8, 3)), atol=1e-6)


def test_a_kernel_for_colours_is_added_up_for_grey_images() -> None:
    inputs = keras.Input((4, 4, 3))
    conv = layers.Conv2D(2, 1, name="conv")
    model = keras.Model(inputs, conv(inputs))
    rebuilt = rebuild.on_images(model, (4, 4, 1), lambda image: image)
    made = keras.Model(rebuilt.inputs, rebuilt.outputs)
    rebuild.copy_weights(made, rebuilt, folded=conv)
    x = images(4, 4, 1)
    np.testing.assert_allclose(made(x), model(np.repeat(x, 3, -1)), atol=1e-5)


def test_images_that_do_not_fit_are_refused_in_words() -> None:
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.Conv2D(2, 5)(inputs))
    with pytest.raises(ModelError, match=r"image_shape=\(2, 2, 3\).*made for \(8, 8, 3\)"):
        rebuild.on_images(model, (2, 2, 3), lambda image: image)


def test_weights_that_depend_on_the_size_of_the_images_are_refused() -> None:
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, layers.Dense(2, name="first")(layers.Flatten()(inputs)))
    rebuilt = rebuild.on_images(model, (5, 4, 1), lambda image: image)
    with pytest.raises(ModelError, match=r"'first' fixes the size.*\(20, 2\), not \(16, 2\)"):
        rebuild.copy_weights(keras.Model(rebuilt.inputs, rebuilt.outputs), rebuilt)


@pytest.mark.parametrize(
    ("before", "found"),
    [
        (layers.Rescaling(0.5), True),
        (layers.ZeroPadding2D(1), True),
        (layers.MaxPooling2D(2), True),
        (layers.Rescaling([1.0, 2.0, 3.0]), False),
        (layers.BatchNormalization(), False),
    ],
)
def test_the_first_convolution_sees_channels_that_were_treated_alike(
    before: Any, found: bool
) -> None:
    conv, inputs = layers.Conv2D(2, 3), keras.Input((8, 8, 3))
    made = rebuild.first_convolution(keras.Model(inputs, conv(before(inputs))))
    assert (made is conv) == found


def test_two_layers_that_see_the_image_have_no_first_convolution() -> None:
    inputs = keras.Input((8, 8, 3))
    both = layers.Add()([layers.Conv2D(2, 1)(inputs), layers.Conv2D(2, 1)(inputs)])
    assert rebuild.first_convolution(keras.Model(inputs, both)) is None
