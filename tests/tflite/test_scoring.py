"""What the scores of a file are, by its operators or by what it says to noise."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from support.small import SHAPE

from pipeline.tflite import convert, scoring
from pipeline.tflite.classifier import Runner

NOISE = np.random.default_rng(0).integers(0, 256, (20, *SHAPE)).astype(np.float32)


def heads(x: Any, activation: str) -> list[Any]:
    return [layers.Dense(4, activation=activation)(x) for _ in range(2)]


ENDS = {
    "softmax": lambda x: layers.Softmax()(layers.Dense(4)(x)),
    "sigmoids": lambda x: layers.Dense(4, activation="sigmoid")(x),
    "sigmoid": lambda x: layers.Dense(1, activation="sigmoid")(x),
    "logits": lambda x: layers.Dense(4)(x),
    "softmax, averaged": lambda x: layers.Average()(heads(x, "softmax")),
    "shares": lambda x: layers.Add()(heads(x, "softmax")),
    "sigmoids, averaged": lambda x: layers.Average()(heads(x, "sigmoid")),
    "sigmoids, hard": lambda x: layers.Dense(4, activation="hard_sigmoid")(x),
    "logits, averaged": lambda x: layers.Average()(heads(x, "linear")),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_kind_of_scores_is_known_in_float_and_int8(name: str) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = layers.Flatten()(layers.Rescaling(1 / 64, -2.0)(inputs))
    model = keras.Model(inputs, ENDS[name](x))
    for content in (convert.convert_float(model), convert.ptq(model, NOISE)):
        runner = Runner(content)
        assert scoring.kind(runner.graph, runner) == name.partition(",")[0]


def test_one_score_becomes_two_and_more_stay() -> None:
    inputs = keras.Input(SHAPE)
    x = layers.Flatten()(inputs)
    for activation, expected in (("sigmoid", [0.7, 0.3]), (None, [0.4256, 0.5744])):
        content = convert.convert_float(keras.Model(inputs, layers.Dense(1, activation)(x)))
        found = scoring.each(Runner(content).graph, np.array([[0.3]]))
        np.testing.assert_allclose(found, [expected], atol=1e-4)
    content = convert.convert_float(keras.Model(inputs, layers.Dense(3)(x)))
    np.testing.assert_array_equal(scoring.each(Runner(content).graph, np.eye(3)), np.eye(3))
