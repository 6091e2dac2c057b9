"""What can be seen inside a model: features, logits, in float and in a file."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.coloured import network, picture

from pipeline.explain import subject
from pipeline.explain.subject import Subject


def test_the_map_of_a_class_adds_up_to_its_logit(in_float: Subject) -> None:
    found = in_float.features(picture())
    assert found is not None
    features, head = found
    logits = (features @ head.weights).mean(axis=(0, 1)) + np.float32([0.1, 0.0])
    powers = np.exp(logits - logits.max())
    np.testing.assert_allclose(
        powers / powers.sum(), in_float.scores(picture()[None])[0], rtol=1e-4
    )


def test_features_of_a_file_are_those_of_the_network(in_float: Subject, in_int8: Subject) -> None:
    (ours, head), (theirs, other) = (
        one.features(picture())  # type: ignore[misc]
        for one in (in_float, in_int8)
    )
    np.testing.assert_allclose(theirs, ours, atol=0.01)
    np.testing.assert_allclose(other.weights, head.weights, atol=0.2)


@pytest.mark.parametrize("fused", [True, False])
def test_logits_are_read_before_the_softmax(fused: bool) -> None:
    model = network(fused)
    found = subject.trace(model, tf.constant(picture()[None], tf.float32))
    scores = keras.ops.softmax(found.logits)
    np.testing.assert_allclose(scores, found.scores, rtol=1e-5)
    assert not np.allclose(np.sum(found.logits), 1)
    assert model.get_layer("classes").activation is network(fused).get_layer("classes").activation
