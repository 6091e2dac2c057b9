"""Every method on a network that looks for colours, so that what it looks at is known."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from support.coloured import BLUE, RED, SIDE, picture

from pipeline.explain import methods, subject
from pipeline.explain.methods import guided_backprop
from pipeline.explain.subject import Subject


def share(heat: np.ndarray, place: Any) -> float:
    """How much of the heat is within a square, or on its border."""
    rows, columns = (slice(max(0, s.start - 3), s.stop + 3) for s in place)
    return float(heat[rows, columns].sum() / heat.sum())


@pytest.mark.parametrize("name", methods.names())
@pytest.mark.parametrize(("k", "place"), [(0, RED), (1, BLUE)])
def test_the_heat_is_where_the_class_is(name: str, k: int, place: Any, in_float: Subject) -> None:
    method = methods.load(name)
    assert method.needs(in_float) is None
    heat = method.heat(in_float, picture(), k)
    assert heat.shape == (SIDE, SIDE)
    assert heat.min() >= 0
    other = BLUE if k == 0 else RED
    assert share(heat, place) > 0.9 or (
        # these say what changes the logit, and less of the other class does too
        name in ("saliency", "guided_backprop", "occlusion")
        and share(heat, place) > 2 * share(heat, other)
    )


@pytest.mark.parametrize("name", ["cam", "occlusion"])
@pytest.mark.parametrize(("k", "place"), [(0, RED), (1, BLUE)])
def test_a_file_is_explained_without_gradients(
    name: str, k: int, place: Any, in_int8: Subject
) -> None:
    method = methods.load(name)
    assert method.needs(in_int8) is None
    assert share(method.heat(in_int8, picture(), k), place) > 0.85


@pytest.mark.parametrize("name", ["saliency", "guided_backprop", "grad_cam"])
def test_what_needs_gradients_says_so_of_a_file(name: str, in_int8: Subject) -> None:
    assert methods.load(name).needs(in_int8) == "it has no gradients"


def test_grad_cam_of_a_network_with_mean_pooling_is_its_class_activation_map(
    in_float: Subject,
) -> None:
    cam, grad_cam = (methods.load(n).heat(in_float, picture(), 0) for n in ("cam", "grad_cam"))
    np.testing.assert_allclose(grad_cam / grad_cam.max(), cam / cam.max(), atol=1e-4)


def test_guided_gradients_pass_only_where_both_are_positive() -> None:
    x = tf.constant([-1.0, 2.0, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        made = guided_backprop.guided(x) * tf.constant([1.0, -1.0, 1.0])
    assert tape.gradient(made, x).numpy().tolist() == [0, 0, 1]


def test_a_network_without_mean_pooling_has_no_class_activation_map() -> None:
    inputs = keras.Input((8, 8, 1))
    outputs = layers.Dense(2)(layers.Flatten()(layers.Conv2D(2, 3)(inputs)))
    found = subject.of_keras("flat", keras.Model(inputs, outputs))
    assert "averaged over all places" in methods.load("cam").needs(found)
    assert methods.load("grad_cam").heat(found, np.zeros((8, 8, 1)), 0).shape == (8, 8)
