"""Whatever a classifier ends in, its scores stay those of the model that was given."""

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from support.heads import CUT, HEADS, network, part, pictures, wanted

from pipeline.data.datasets import Dataset
from pipeline.errors import ModelError
from pipeline.graph import ending
from pipeline.graph import scores as score
from pipeline.pretrained import heads, sources
from pipeline.pretrained.adaptation import adapt
from pipeline.tflite import convert, scoring
from pipeline.tflite.classifier import Runner

# Forms that become different operators of a file.
FILES = ("linear float32", "nested", "average", "weighted mean", "clip", "sum")
FILES = (*FILES, "sigmoid dense", "average of sigmoids", "hard sigmoid", "one sigmoid dense")
FILES = (*FILES, "one logit", "one average of sigmoids")


def ended(end: Any) -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    return keras.Model(inputs, end(layers.Flatten()(inputs)))


@pytest.mark.parametrize("name", HEADS)
def test_the_scores_are_those_of_the_model_that_was_given(name: str, digits: Dataset) -> None:
    head, model = HEADS[name], network(name, digits)
    images, labels = pictures(digits.val, head.classes)
    made, new = adapt(model, digits.image_shape, head.classes)
    expected = wanted(name, model, images)
    assert np.mean(score.classes(expected) == labels) > 0.85
    assert 0.3 < np.mean(np.max(score.each(expected), axis=-1)) < 1.9  # neither flat nor certain
    np.testing.assert_allclose(made(images.astype(np.float32)), expected, atol=1e-5)
    assert (new, ending.kind(made)) == ([], head.kind)
    assert (ending.logits(made.outputs[0]) is not None) == (name in CUT)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_the_scores_of_the_files_are_those_of_the_model(name: str, digits: Dataset) -> None:
    head, model = HEADS[name], network(name, digits)
    data = part(digits, head.classes)
    images, _ = pictures(data.val, head.classes)
    made, _ = adapt(model, data.image_shape, head.classes)
    expected = wanted(name, model, images)
    ranges = pictures(data.train, head.classes)[0].astype(np.float32)
    for content, off in ((convert.convert_float(made), 1e-5), (convert.ptq(made, ranges), 0.01)):
        runner = Runner(content)
        received = runner.scores(images)
        assert np.mean(np.abs(received - expected)) < off
        assert np.mean(score.classes(received) == score.classes(expected)) > 0.98
        assert scoring.kind(runner.graph, runner) == head.kind


def test_a_model_whose_last_layer_is_a_softmax_is_left_as_it_is(digits: Dataset) -> None:
    model = network("softmax layer", digits)
    made, _ = adapt(model, digits.image_shape, 10)
    assert [layer.name for layer in made.layers[1:]] == [layer.name for layer in model.layers[1:]]


def test_a_last_layer_that_is_called_twice_keeps_its_activation() -> None:
    dense = layers.Dense(64, activation="softmax")
    model = ended(lambda x: layers.Identity()(dense(10.0 * dense(x / 255.0))))
    pixels = np.random.default_rng(0).uniform(0, 255, (8, 8, 8, 1)).astype(np.float32)
    made, _ = adapt(model, (8, 8, 1), 64)
    np.testing.assert_allclose(made(pixels), model(pixels), atol=1e-6)


# what is refused


@pytest.mark.parametrize("units", [1, 2])
@pytest.mark.parametrize("head", ["auto", "keep"])
def test_scores_of_a_hinge_loss_are_refused(units: int, head: Any) -> None:
    model = ended(layers.Dense(units, "tanh"))
    with pytest.raises(ModelError, match=r"-1 to 1.*Received: tanh at its end.*load\.head=new"):
        adapt(model, (8, 8, 1), 2, head)
    assert adapt(model, (8, 8, 1), 2, "new")[1] == ["logits"]


def test_the_mean_of_such_scores_is_refused_too() -> None:
    def end(x: Any) -> Any:
        return layers.Average()([layers.Dense(1, "tanh")(x), layers.Dense(1, "tanh")(x)])

    with pytest.raises(ModelError, match="as for a hinge loss"):
        adapt(ended(end), (8, 8, 1), 2)


def test_a_softmax_of_one_output_is_refused() -> None:
    with pytest.raises(ModelError, match=r"the same score. Received: softmax over one output"):
        adapt(ended(layers.Dense(1, "softmax")), (8, 8, 1), 2)


def test_one_output_stands_for_two_classes_and_no_other_number() -> None:
    model = ended(layers.Dense(1, "sigmoid"))
    with pytest.raises(ModelError, match=r"outputs=\(1,\) for 3 classes"):
        adapt(model, (8, 8, 1), 3, "keep")
    assert adapt(model, (8, 8, 1), 3)[1] == ["logits"]


# what the loss of a file says


@pytest.mark.parametrize(
    ("loss", "function"),
    [
        (keras.losses.BinaryCrossentropy(from_logits=True), "sigmoid"),
        (keras.losses.BinaryCrossentropy(), ""),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), ""),
        ("mse", ""),
        (None, ""),
    ],
)
def test_logits_of_binary_cross_entropy_are_those_of_sigmoids(
    loss: Any, function: str, tmp_path: Path
) -> None:
    model = ended(layers.Dense(4))
    if loss is not None:
        model.compile("sgd", loss)
    model.save(path := tmp_path / "model.keras")
    loaded = sources.load(str(path)).model
    assert ending.of(loaded).function == function
    pixels = np.ones((2, 8, 8, 1), np.float32)
    function_of = keras.ops.sigmoid if function else np.asarray
    np.testing.assert_allclose(loaded(pixels), function_of(model(pixels)), atol=1e-6)
    made, _ = adapt(loaded, (8, 8, 1), 4)
    assert ending.kind(made) == ("sigmoids" if function else "softmax")


# what is said


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("nested", None),
        ("average", None),
        ("logits", "are logits; a softmax makes probabilities of them"),
        ("one logit", "are logits; a sigmoid makes"),
        ("log softmax", "are logarithms of probabilities; a softmax"),
        ("log sigmoid", "are logarithms of probabilities; a sigmoid"),
        ("sigmoid dense", "independent score of each class; they do not sum to one"),
        ("average of sigmoids", "trained with binary cross-entropy"),
        ("sum", "they do not sum to one; .* trained with categorical cross-entropy"),
        ("one sigmoid dense", "probability of class '1'; that of '0' is one minus it; above 0.5"),
    ],
)
def test_what_is_special_about_scores_is_said(name: str, line: str | None, digits: Dataset) -> None:
    names = digits.class_names[: HEADS[name].classes]
    told = heads.told(network(name, digits), names)
    assert told is None if line is None else re.search(line, told or "")
