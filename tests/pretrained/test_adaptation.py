"""A trained network on other images and classes: what stays computes what it did."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from support.pretrained import classifier, pixels, same, varied

from pipeline.errors import ModelError
from pipeline.pretrained.adaptation import adapt, reversible
from pipeline.pretrained.pixels import named
from search_spaces import base, family


def weighted(model: keras.Model) -> list[np.ndarray]:
    """Weights without those of the last layer that has some."""
    return [w for layer in model.layers if layer.name != "logits" for w in layer.get_weights()]


def test_at_another_size_every_weight_stays() -> None:
    model = classifier()
    made, new = adapt(model, (24, 40, 3), 5)
    assert (made.input_shape, new) == ((None, 24, 40, 3), [])
    for now, then in zip(made.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(now, then)


def test_the_original_is_not_changed_and_shares_no_weight() -> None:
    model = classifier()
    made, _ = adapt(model, (16, 16, 3), 5)
    same(made(pixels(16, 16, 3)), model(pixels(16, 16, 3)))
    made.set_weights([w * 0 for w in made.get_weights()])
    assert all(w.any() for w in model.get_weights())


@pytest.mark.parametrize(
    ("first", "thrice"),
    [
        (layers.Rescaling(1 / 128, -1.0), False),
        (layers.AveragePooling2D(2, padding="same"), False),
        (layers.Rescaling([1.0, 2.0, 3.0], [0.0, 1.0, 2.0]), True),
        (layers.BatchNormalization(), True),
    ],
    ids=["scalar", "pooling", "per channel", "normalization"],
)
def test_images_of_one_channel_give_what_grey_ones_of_three_do(first: Any, thrice: bool) -> None:
    model = classifier(type(first).from_config(first.get_config()))
    made, _ = adapt(model, (16, 16, 1), 5)
    image = pixels(16, 16, 1)
    same(made(image), model(np.repeat(image, 3, axis=-1)))
    assert any(isinstance(layer, layers.Concatenate) for layer in made.layers) == thrice


@pytest.mark.parametrize(("has", "given"), [(1, 3), (3, 2), (4, 3)])
def test_other_channels_are_refused(has: int, given: int) -> None:
    with pytest.raises(ModelError, match=rf"images of {has} channels\. Received: channels={given}"):
        adapt(classifier(channels=has), (16, 16, given), 5)


@pytest.mark.parametrize(
    ("head", "classes", "imagenet", "new"),
    [
        ("auto", 5, False, []),
        ("auto", 5, True, ["logits"]),
        ("auto", 7, False, ["logits"]),
        ("keep", 5, True, []),
        ("new", 5, False, ["logits"]),
    ],
)
def test_the_head_is_kept_or_new(head: Any, classes: int, imagenet: bool, new: list[str]) -> None:
    model = classifier()
    made, names = adapt(model, (16, 16, 3), classes, head, imagenet)
    assert (names, made.output_shape) == (new, (None, classes))
    same(np.sum(made(pixels(16, 16, 3)), -1), 1)
    for now, then in zip(weighted(made), weighted(model), strict=True):
        np.testing.assert_array_equal(now, then)
    assert made.get_layer("kept").rate == 0.3
    if not new:
        same(made(pixels(16, 16, 3)), model(pixels(16, 16, 3)))


def test_a_kept_head_of_other_classes_is_refused() -> None:
    with pytest.raises(ModelError, match=r"outputs=\(5,\) for 7 classes.*load\.head=new"):
        adapt(classifier(), (16, 16, 3), 7, "keep")


def test_a_kept_head_of_logits_gets_a_softmax() -> None:
    whole = classifier()
    model = keras.Model(whole.inputs, whole.get_layer("logits").output)
    made, new = adapt(model, (16, 16, 3), 5)
    assert new == []
    same(made(pixels(16, 16, 3)), whole(pixels(16, 16, 3)))


def pointwise(x: Any) -> Any:
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return layers.Activation("softmax")(layers.Reshape((9,))(layers.Conv2D(9, 1)(x)))


@pytest.mark.parametrize(
    ("tail", "left"),
    [
        (pointwise, "Dropout"),
        (lambda x: layers.Dense(9, "softmax")(layers.Flatten()(x)), "Flatten"),
        (lambda x: layers.ReLU()(layers.BatchNormalization()(x)), "ReLU"),
        (lambda x: layers.GlobalAveragePooling2D()(layers.ReLU()(x)), "GlobalAveragePooling2D"),
    ],
    ids=["1x1 convolution", "dense softmax", "without a top", "pooled, without a top"],
)
def test_a_new_head_replaces_the_last_layer_with_classes(
    tail: Callable[[Any], Any], left: str
) -> None:
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, tail(layers.Conv2D(9, 3, name="first")(inputs)))
    made, new = adapt(model, (8, 8, 3), 4, "new")
    kinds = [type(layer).__name__ for layer in made.layers]
    assert (new, made.output_shape) == (["logits"], (None, 4))
    assert kinds[-2:] == ["Dense", "Softmax"]
    assert left in kinds
    same(made.get_layer("first").kernel, model.get_layer("first").kernel)


def test_a_nested_model_is_opened_and_layers_of_one_name_stay_apart() -> None:
    inside = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(4, 3, name="conv"), layers.ReLU()], name="body"
    )
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(2, 3, name="conv")(inside(inputs))
    x = layers.Dense(3, "softmax")(layers.GlobalAveragePooling2D()(x))
    model = varied(keras.Model(inputs, x))
    made, _ = adapt(model, (12, 12, 3), 3)
    assert not [layer for layer in made.layers if isinstance(layer, keras.Model)]
    same(made(pixels(12, 12, 3)), model(pixels(12, 12, 3)))


def test_a_layer_that_is_called_twice_and_one_with_other_arguments_stay_what_they_are() -> None:
    inputs = keras.Input((6, 6, 3))
    shared = layers.Conv2D(3, 1)
    x = shared(keras.ops.add(shared(inputs), 2.0))
    tokens = layers.Reshape((36, 3))(x)
    x = layers.MultiHeadAttention(2, 4)(tokens, value=tokens)
    model = varied(keras.Model(inputs, layers.Dense(2, "softmax")(layers.Flatten()(x))))
    made, _ = adapt(model, (6, 6, 3), 2)
    same(made(pixels(6, 6, 3)), model(pixels(6, 6, 3)))
    assert made.count_params() == model.count_params()


def test_a_layer_that_fixes_the_size_of_the_images_says_so() -> None:
    inputs = keras.Input((8, 8, 3))
    x = layers.Dense(4, name="first")(layers.Flatten()(inputs))
    model = keras.Model(inputs, layers.Dense(2, "softmax")(x))
    with pytest.raises(ModelError, match=r"'first' fixes the size.*image_shape=\(16, 16, 3\)"):
        adapt(model, (16, 16, 3), 2)


def test_images_that_are_too_small_are_refused() -> None:
    inputs = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 5)(inputs))
    model = keras.Model(inputs, layers.Dense(2, "softmax")(x))
    with pytest.raises(ModelError, match=r"cannot take such images. Received: image_shape=\(1, 1"):
        adapt(model, (1, 1, 3), 2)


class Subclassed(keras.Model):
    def call(self, x: Any) -> Any:
        return x


def test_a_model_that_is_no_graph_of_layers_is_refused() -> None:
    with pytest.raises(ModelError, match="only functional or built sequential"):
        adapt(Subclassed(), (8, 8, 3), 2)


def test_a_model_of_two_inputs_is_refused() -> None:
    inputs = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    with pytest.raises(ModelError, match="is no image classifier"):
        adapt(keras.Model(inputs, layers.Add()(inputs)), (8, 8, 3), 2)


@pytest.mark.parametrize("name", ["resnet", "mobilenet_v3", "densenet", "vit"])
def test_our_own_families_are_adapted(name: str) -> None:
    arch = family(name).sample(base.Cheapest())
    model = base.build(name, arch, (16, 16, 3), 3)
    made, new = adapt(model, (16, 16, 1), 4)
    assert (new, made.output_shape) == (["logits"], (None, 4))
    assert np.isfinite(made(pixels(16, 16, 1))).all()


@pytest.mark.parametrize(
    ("kind", "scale", "offset"), [("0..1", 1 / 255, 0.0), ("-1..1", 1 / 127.5, -1.0)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_of_other_pixels_takes_0_to_255(
    kind: Any, scale: float, offset: float, channels: int
) -> None:
    model = classifier()
    made, new = adapt(model, (16, 16, channels), 5, "keep", pixels=named(kind, None))
    image = pixels(16, 16, channels)
    colour = image if channels == 3 else np.repeat(image, 3, axis=-1)
    same(made(image), model(colour * scale + offset), atol=1e-4)
    assert new == []


@pytest.mark.parametrize("kind", ["0..1-bgr", "imagenet", "caffe"])
def test_a_network_of_other_channels_takes_r_g_b(kind: Any) -> None:
    model = classifier(layers.Rescaling(0.5))
    own = named(kind, None)
    made, _ = adapt(model, (16, 16, 3), 5, "keep", pixels=own)
    image = pixels(16, 16, 3)
    same(made(image), model(own.of(image)), atol=1e-4)
    assert reversible(model)


def test_channels_that_are_not_alike_before_the_first_convolution_cannot_be_turned() -> None:
    model = classifier(layers.Rescaling([1.0, 2.0, 3.0]))
    assert not reversible(model)
    with pytest.raises(ModelError, match="cannot be put into another order"):
        adapt(model, (16, 16, 3), 5, "keep", pixels=named("caffe", None))


def test_images_can_be_resized_within_the_model() -> None:
    model = classifier()
    made, _ = adapt(model, (24, 40, 3), 5, "keep", pixels=named("0..1", None), resizes=True)
    image = pixels(24, 40, 3)
    small = keras.ops.image.resize(image, (16, 16)) / 255
    same(made(image), model(small), atol=1e-4)
    assert made.input_shape == (None, 24, 40, 3)
    plain, _ = adapt(model, (16, 16, 3), 5, "keep", resizes=True)
    assert len(plain.layers) == len(model.layers)


def test_a_network_may_take_images_without_a_channel_axis() -> None:
    inputs = keras.Input((16, 16))
    x = layers.Conv2D(4, 3)(layers.Reshape((16, 16, 1))(inputs))
    model = keras.Model(inputs, layers.Dense(5, activation="softmax")(layers.Flatten()(x)))
    image = pixels(16, 16, 1)
    made, _ = adapt(model, (16, 16, 1), 5)
    same(made(image), model(image[..., 0]), atol=1e-4)
    with pytest.raises(ModelError, match="images of 1 channels"):
        adapt(model, (16, 16, 3), 5)
